"""Upscale a film: the public API behind `vsr upscale` and `vsr.upscale_video`."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from vsr.engine.animation_mode import upscale_to_animation
from vsr.engine.backend_options import BackendName, Precision, Tiling
from vsr.engine.file_mode import upscale_to_file
from vsr.engine.parallel.workers import Workers
from vsr.engine.picture_mode import upscale_to_pictures
from vsr.engine.picture_source import names_pictures
from vsr.engine.pipe_mode import upscale_pipe
from vsr.engine.result import UpscaleProgress, UpscaleResult, UpscaleStart
from vsr.engine.run import PipeFormat, RunOptions
from vsr.engine.trace import Trace
from vsr.engine.upscale_options import Rotate, UpscaleOptions
from vsr.errors import ConfigError, OutputError
from vsr.media.animation.writer import FILM_ANIMATION_SUFFIXES
from vsr.media.decode.decoder import Decoder
from vsr.media.decode.deinterlace import Deinterlace
from vsr.media.decode.part import Part
from vsr.media.decode.picture_reader import parse_rate
from vsr.media.encode.settings import EncoderSettings
from vsr.media.mux.copy_plan import AudioMode, SubtitleMode
from vsr.media.numbered_pictures import is_picture_pattern
from vsr.system.address import PIPE, is_pipe
from vsr.system.files import check_distinct

_STILL_FORMATS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

__all__ = ["UpscaleProgress", "UpscaleResult", "UpscaleStart", "upscale_film", "upscale_video"]


def upscale_video(
    source: Path | str,
    output: Path | str,
    model: Path | str | None = None,
    scale: float | None = None,
    detail: float | None = None,
    device: str = "auto",
    settings: EncoderSettings = EncoderSettings(),
    *,
    width: int | None = None,
    height: int | None = None,
    size: str | None = None,
    square_pixels: bool = False,
    backend: BackendName = "auto",
    provider: str = "auto",
    precision: Precision = "auto",
    tiling: Tiling = "auto",
    deinterlace: Deinterlace = "auto",
    rotate: Rotate = "keep",
    decoder: Decoder = "cpu",
    video: int | None = None,
    audio: AudioMode = "auto",
    subtitles: SubtitleMode = "copy",
    denoise: float | None = None,
    steady: float = 0.0,
    deblock: float = 0.0,
    grain: float = 0.0,
    part: Part | None = None,
    inverse_telecine: bool = False,
    rate: Fraction | float | str | None = None,
    overwrite: bool = False,
    resume: bool = True,
    strict: bool = False,
    pipe_format: PipeFormat = "nut",
    trace: Path | str | None = None,
    workers: int | Workers | None = None,
    cluster: str | None = None,
    stop: threading.Event | None = None,
    on_start: Callable[[UpscaleStart], None] = lambda start: None,
    watch: Callable[[UpscaleProgress], None] = lambda progress: None,
    tell: Callable[[str], None] = lambda line: None,
) -> UpscaleResult:
    """Upscale the film at `source` into `output`, frame by frame, in constant memory.

    **Size.** `scale` is any number above 0, by default 4 up to 576 lines and 2 above, or that of a
    named `model`. Instead of it, `width` and `height` in pixels set the output, one of which
    suffices, or the name of a screen to fill, `size`: "720p", "1080p", "1440p", "4k" or "8k". They
    count as players show the film, after its rotation tag. Sides are rounded to even numbers where
    chroma is subsampled. `square_pixels` enlarges one side of an anamorphic film, so that its
    pixels become square. Scales of 1, 2 and 3 are folded into a network; other sizes resample the
    output of the nearest scale bicubically.

    **Model.** `model` is a name from `vsr.list_models()` or a file. By default, it is the included
    model for the size. `detail` goes from 0, faithful,
    to 1, where a twin of the model invents texture; the model's card has its default.

    **Computing.** `device` is "cpu", "cuda", "cuda:1", "xpu", "mps", "intel-gpu" or "intel-npu";
    "auto" is a GPU if there is one. `backend` "auto" is OpenVINO on a CPU if the film is long
    enough to be worth its start-up time, else torch. "onnx" is ONNX Runtime, by an execution
    `provider` such as "cuda:1", "directml", "coreml" or "cpu". `precision` "auto" is "int8" with
    OpenVINO if the model is calibrated for it, "f16" by CUDA, else "f32". Frames that don't fit
    into memory are computed in overlapping tiles; `tiling` is "auto", "off", or the side of tiles
    in low-resolution pixels.

    **Several processes.** `device` "cuda:0,cuda:1", or "all", gives each GPU a process, and
    `workers` is a count of processes that divide the cores of the CPU. They upscale shots at the
    same time; the output has the same bytes. `workers` can also be `vsr.Workers`, which several
    films share, also at the same time in threads. `cluster` is the address of a Ray cluster, or
    "auto" for the one of this machine: each GPU has a worker or, without GPUs, each machine has
    `workers`. Processes import the main script, so that it needs `if __name__ == "__main__":`.

    **Source.** `deinterlace` applies to frames flagged as interlaced ("auto"), to all ("on"), or
    to none ("off"); "double" returns a frame for each field. `inverse_telecine` restores the
    frames of film from 3:2 pulldown. `rotate` "keep" leaves rotation to players, "apply" rotates
    the picture. `decoder` "gpu" decodes on an NVIDIA GPU where that is supported. Of several video
    streams, `video` chooses one, from 1; cover pictures don't count. `part` is a part of the film,
    such as `vsr.Part.parse(start="1:30", duration="120f")`; the output starts at time zero.

    **Pictures.** A folder of numbered pictures, or a pattern such as `frames/%05d.png`, is a source
    too: a film without sound, of `rate` frames per second, such as 24, 23.976 or "24000/1001". A
    pattern as `output` gets a picture for each frame, of 16 bits where the source has more than 8
    and the format holds them.

    **Other streams.** `audio` "auto" copies sound that the output can hold, and converts the rest:
    without loss where possible, else to AAC or Opus at a high rate. "copy" converts nothing, and
    "none" drops all sound. `subtitles` is "copy" or "none". A film that would lose all of its sound
    is an error, unless `audio` is "none".

    **Restoration.** `denoise` is the strength of the model's temporal filter: 0 is off, 0.5 as
    trained, 1 the most. `steady` is one for the output of models of single pictures: 0 is off.
    `deblock` removes blocks and ringing of codecs before the model, from 0, off, to 1.

    **Encoding.** `settings` are codec, quality and further options of the encoder. `grain` is the
    strength of film grain, from 0 to 1: noise that depends on a frame's time alone or, by av1 on
    the CPU, a description that decoders add it by.

    **Output.** Frames keep their times, and all other contents of the file are copied. What the
    output can't hold is reported to `tell` before any work; if `strict`, it is an error.
    Finished segments are kept in a folder beside the output: an interrupted run resumes from them
    and produces the same bytes, unless `resume` is False. Once `stop` is set, the run ends with
    `Interrupted` after the current segment. `-` is standard input or output; such a run can't
    resume. Nor can one into an animated .gif, .webp or .apng, which holds the picture alone. The
    output appears under its name when it is complete. `trace` is a file for a trace of
    all stages.

    `on_start` is called before the first frame; `watch` after every frame, in another thread;
    `tell` is called with messages for the user. Raises `VsrError`.
    """
    options = UpscaleOptions(
        model=str(model) if isinstance(model, Path) else model,
        scale=scale,
        width=width,
        height=height,
        size=size,
        square_pixels=square_pixels,
        detail=detail,
        device=device,
        backend=backend,
        provider=provider,
        precision=precision,
        tiling=tiling,
        settings=settings,
        deinterlace=deinterlace,
        rotate=rotate,
        decoder=decoder,
        video=video,
        audio=audio,
        subtitles=subtitles,
        denoise=denoise,
        steady=steady,
        deblock=deblock,
        grain=grain,
        part=part,
        inverse_telecine=inverse_telecine,
        rate=None if rate is None else parse_rate(rate),
    )
    run_options = RunOptions(
        overwrite=overwrite,
        resume=resume,
        strict=strict,
        pipe_format=pipe_format,
        stop=stop,
        on_start=on_start,
        on_progress=watch,
        on_message=tell,
    )
    trace_file = None if trace is None else Path(trace)
    if isinstance(workers, Workers):
        shared: AbstractContextManager[Workers] = nullcontext(workers)
    else:
        shared = Workers(device, workers, cluster)
    with shared as used:
        return upscale_film(Path(source), Path(output), options, run_options, trace_file, used)


def upscale_film(
    source: Path,
    output: Path,
    options: UpscaleOptions = UpscaleOptions(),
    run_options: RunOptions = RunOptions(),
    trace: Path | None = None,
    workers: Workers | None = None,
) -> UpscaleResult:
    """Upscale a film as `upscale_video` does, with options as objects. Raises `VsrError`.

    The device of `workers`, if given, takes the place of that of `options`.
    """
    workers = workers or Workers(options.device)
    options = replace(options, device=workers.device)
    run_options = replace(run_options, workers=workers.names)
    if output.is_dir() and output != PIPE:
        raise OutputError(f"{output}: is a folder; name a file in it")
    if output == PIPE:
        if options.settings != EncoderSettings():
            raise OutputError(
                "-: a pipe gets raw video; omit --codec, --crf, --preset, --encoder and "
                "--encoder-option"
            )
        options = replace(options, settings=EncoderSettings("raw"))
    is_pattern = output != PIPE and is_picture_pattern(output)
    _check_pictures(source, output, options, is_pattern)
    is_animation = not is_pattern and output.suffix.lower() in FILM_ANIMATION_SUFFIXES
    if is_animation and options.settings != EncoderSettings():
        raise OutputError(
            f"{output}: has no codec; omit --codec, --crf, --preset, --encoder and --encoder-option"
        )
    if options.audio == "copy" and output == PIPE and run_options.pipe_format == "y4m":
        raise OutputError("-: y4m holds video alone; --audio copy needs --format nut")
    if workers.names:
        _check_workers(source, output, is_animation, trace)
    for left_out in workers.take_left_out():
        run_options.on_message(left_out)
    if line := workers.unlike_machines(options):
        run_options.on_message(line)
    if workers.is_cluster and is_pattern:
        raise OutputError(
            f"{output}: pictures are written by one machine; leave out --cluster, or name a film"
        )
    check_distinct([trace, output], [source, Path(options.model) if options.model else None])
    with Trace(trace, run_options.overwrite) if trace else nullcontext() as spans:
        if spans is not None:
            run_options = replace(run_options, on_span=spans.add)
        if is_animation:
            return upscale_to_animation(source, output, options, run_options)
        if output == PIPE or is_pipe(source):
            return upscale_pipe(source, output, options, run_options)
        if is_pattern:
            return upscale_to_pictures(source, output, options, run_options, workers)
        return upscale_to_file(source, output, options, run_options, workers)


def _check_workers(source: Path, output: Path, is_animation: bool, trace: Path | None) -> None:
    """Raise `VsrError` where only one process can upscale."""
    if output == PIPE or is_pipe(source) or is_animation:
        what = "an animation" if is_animation else "a pipe"
        raise OutputError(
            f"{output}: {what} is upscaled by one process; leave out --workers and "
            "--cluster, and name one --device"
        )
    if trace is not None:
        raise ConfigError(f"--trace {trace}: is of one process; leave it out with several workers")


def _check_pictures(source: Path, output: Path, options: UpscaleOptions, is_pattern: bool) -> None:
    """Raise `VsrError` where pictures can't be read or written as named."""
    if is_pattern and is_pipe(source):
        raise OutputError(f"{output}: pictures can't be written from a pipe; name a file")
    if not is_pattern and output.suffix.lower() in _STILL_FORMATS:
        example = output.with_name(f"{output.stem}%05d{output.suffix}")
        raise OutputError(
            f"{output}: is one picture, and a film has many; name them by a pattern, such as "
            f"{example}"
        )
    needs_rate = not is_pattern or (options.part is not None and options.part.uses_seconds)
    if names_pictures(source) and needs_rate and options.rate is None:
        raise ConfigError(
            f"{source}: pictures have no frame rate; give --rate, such as 24 or 24000/1001"
        )

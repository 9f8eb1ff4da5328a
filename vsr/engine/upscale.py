"""Upscale a film: the public API behind `vsr upscale` and `vsr.upscale_video`."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from vsr.engine.backends import BackendName, Precision, Tiling
from vsr.engine.file_mode import upscale_to_file
from vsr.engine.pipe_mode import upscale_pipe
from vsr.engine.result import UpscaleProgress, UpscaleResult
from vsr.engine.run import PipeFormat, RunOptions
from vsr.engine.session import Rotate, UpscaleOptions
from vsr.engine.trace import Trace
from vsr.errors import OutputError
from vsr.media.decode.decoder import Decoder
from vsr.media.decode.deinterlace import Deinterlace
from vsr.media.encode.settings import EncoderSettings
from vsr.system.address import PIPE, is_pipe
from vsr.system.files import check_distinct

__all__ = ["UpscaleProgress", "UpscaleResult", "upscale_film", "upscale_video"]


def upscale_video(
    source: Path | str,
    output: Path | str,
    model: str | None = None,
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
    precision: Precision = "auto",
    tiling: Tiling = "auto",
    deinterlace: Deinterlace = "auto",
    rotate: Rotate = "keep",
    decoder: Decoder = "cpu",
    overwrite: bool = False,
    resume: bool = True,
    strict: bool = False,
    pipe_format: PipeFormat = "nut",
    profile: Path | None = None,
    stop: threading.Event | None = None,
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

    **Computing.** `backend` "auto" is OpenVINO on a CPU if the film is long enough to be worth its
    start-up time, else torch. `precision` "auto" is "int8" with OpenVINO if the model is
    calibrated for it, "f16" on a GPU, else "f32". Frames that don't fit into memory are computed
    in overlapping tiles; `tiling` is "auto", "off", or the side of tiles in low-resolution pixels.

    **Source.** `deinterlace` applies to frames flagged as interlaced ("auto"), to all ("on"), or
    to none ("off"). `rotate` "keep" leaves rotation to players, "apply" rotates the picture.
    `decoder` "gpu" decodes on an NVIDIA GPU where that is supported.

    **Output.** Frames keep their times, and all other contents of the file are copied. What the
    output can't hold is reported to `tell` before any work; if `strict`, it is an error.
    Finished segments are kept in a folder beside the output: an interrupted run resumes from them
    and produces the same bytes, unless `resume` is False. Once `stop` is set, the run ends with
    `Interrupted` after the current segment. `-` is standard input or output; such a run can't
    resume. The output appears under its name when it is complete. `profile` is a file for a trace
    of all stages.

    `watch` is called after every frame, in another thread; `tell` is called with messages for the
    user. Raises `VsrError`.
    """
    options = UpscaleOptions(
        model=model,
        scale=scale,
        width=width,
        height=height,
        size=size,
        square_pixels=square_pixels,
        detail=detail,
        device=device,
        backend=backend,
        precision=precision,
        tiling=tiling,
        settings=settings,
        deinterlace=deinterlace,
        rotate=rotate,
        decoder=decoder,
    )
    run_options = RunOptions(
        overwrite=overwrite,
        resume=resume,
        strict=strict,
        pipe_format=pipe_format,
        stop=stop,
        on_progress=watch,
        on_message=tell,
    )
    return upscale_film(Path(source), Path(output), options, run_options, profile)


def upscale_film(
    source: Path,
    output: Path,
    options: UpscaleOptions = UpscaleOptions(),
    run_options: RunOptions = RunOptions(),
    profile: Path | None = None,
) -> UpscaleResult:
    """Upscale a film as `upscale_video` does, with options as objects. Raises `VsrError`."""
    if output == PIPE:
        if options.settings != EncoderSettings():
            raise OutputError("-: a pipe gets raw video; omit --codec, --crf and --preset")
        options = replace(options, settings=EncoderSettings("raw"))
    check_distinct([profile, output], [source, Path(options.model) if options.model else None])
    with Trace(profile, run_options.overwrite) if profile else nullcontext() as trace:
        if trace is not None:
            run_options = replace(run_options, on_span=trace.add)
        if output == PIPE or is_pipe(source):
            return upscale_pipe(source, output, options, run_options)
        return upscale_to_file(source, output, options, run_options)

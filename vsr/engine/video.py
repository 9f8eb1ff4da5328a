"""Upscale a film: what `vsr upscale` and `vsr.upscale_video` do."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vsr.colour import CODE_OF_MATRIX
from vsr.engine.pipeline import StageTimes, run_stages
from vsr.engine.upscaler import Upscaler, pick_device
from vsr.errors import OutputError
from vsr.media.frame import Frame
from vsr.media.reader import AudioPacket, VideoReader
from vsr.media.writer import EncoderSettings, VideoWriter, check_output, output_info
from vsr.planes import colour_spec, planes_to_rgb, rgb_to_planes
from vsr.shots import mark_cuts
from vsr.zoo import default_model, load

Marked = tuple[Frame | AudioPacket, bool]
"""What passes between the stages, and whether it is a frame that begins a shot."""


@dataclass(frozen=True)
class Progress:
    """Where an upscaling run is."""

    frames: int
    """Written so far."""
    frame_count: int | None
    """As the source tells or lets one estimate."""
    seconds: float
    """Since the run began."""


@dataclass(frozen=True)
class Summary:
    """What an upscaling run did."""

    output: str
    model: str
    device: str
    width: int
    height: int
    frames: int
    shots: int
    audio_tracks: int
    left_out: tuple[str, ...]
    """What the source holds and the output doesn't, such as subtitles."""
    seconds: float
    first_frame_seconds: float
    """From the call to the first frame handed to the encoder."""
    stages: StageTimes

    @property
    def frames_per_second(self) -> float:
        """Over the whole run, loading included."""
        return self.frames / self.seconds


def upscale_video(
    source: Path | str,
    output: Path | str,
    model: str | None = None,
    scale: int | None = None,
    detail: float = 0.0,
    device: str = "auto",
    settings: EncoderSettings = EncoderSettings(),
    overwrite: bool = False,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Upscale the film at `source` into `output`, frame by frame, whatever its length.

    `model` is a name from `vsr.list_models()` or a file; left out, it is the one for `scale`,
    and where that is left out too, x4 up to 576 lines and x2 above. `detail` goes from 0, faithful,
    to 1, where a twin of the model invents texture. Times of frames and
    audio tracks are kept as they are. `watch` is called after every frame, in another
    thread. The output appears under its name when it is whole. Raises `VsrError`.
    """
    source, output = Path(source), Path(output)
    began = time.perf_counter()
    with VideoReader(source) as reader:
        if output.exists() and output.samefile(source):
            raise OutputError(f"{output}: is the input itself; name another output")
        check_output(output, settings, overwrite)
        name = model or default_model(scale, reader.info.height)
        upscaler = Upscaler(load(name, scale, detail), pick_device(device))
        read_as = colour_spec(reader.info)
        matrix = CODE_OF_MATRIX[read_as.matrix]
        info = output_info(reader.info, upscaler.scale, matrix, settings)
        write_as = colour_spec(info)
        count = shots = 0
        first_frame_seconds = 0.0

        def work(marked: Marked) -> Marked:
            nonlocal shots
            item, begins_shot = marked
            if not isinstance(item, Frame):
                return marked
            shots += begins_shot
            low = planes_to_rgb(item.planes, read_as, upscaler.device)
            high = upscaler.upscale(low, begins_shot)
            return Frame(rgb_to_planes(high, write_as), item.pts, item.duration), begins_shot

        with VideoWriter(output, info, reader.audio, settings, overwrite) as writer:

            def write(marked: Marked) -> None:
                nonlocal count, first_frame_seconds
                writer.write(marked[0])
                if isinstance(marked[0], Frame):
                    count += 1
                    seconds = time.perf_counter() - began
                    first_frame_seconds = first_frame_seconds or seconds
                    watch(Progress(count, info.frame_count, seconds))

            stages = run_stages(mark_cuts(reader), work, write)
        tracks, left_out = len(reader.audio), reader.left_out
    return Summary(
        output=str(output),
        model=name,
        device=str(upscaler.device),
        width=info.width,
        height=info.height,
        frames=count,
        shots=shots,
        audio_tracks=tracks,
        left_out=left_out,
        seconds=time.perf_counter() - began,
        first_frame_seconds=first_frame_seconds,
        stages=stages,
    )

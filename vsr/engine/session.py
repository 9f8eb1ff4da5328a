"""Everything needed to upscale one film: reader, model, backend, output format."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from vsr.engine.backends import BackendName, Precision, Tiling, pick_backend
from vsr.engine.output_size import OutputSize, SizeRequest, input_frame
from vsr.errors import MediaError, OutputError
from vsr.frames.yuv import alpha_to_plane, colour_spec, fill_hidden_colours
from vsr.imaging.colour import CODE_OF_MATRIX
from vsr.media.decode.completeness import ENDS_EARLY
from vsr.media.decode.conform import is_specified
from vsr.media.decode.decoder import Decoder
from vsr.media.decode.deinterlace import Deinterlace
from vsr.media.decode.reader import VideoReader
from vsr.media.decode.side_data import TIMECODE
from vsr.media.decode.survey import Survey, survey_film
from vsr.media.encode.settings import (
    EncoderSettings,
    check_frame_size,
    output_info,
    stores_aspect_ratio,
    unsupported_features,
)
from vsr.media.frame import Frame, StreamInfo
from vsr.media.mux.muxer import Dropped
from vsr.media.mux.stream_copy import CopyPlan
from vsr.media.resample import RESAMPLED_DEPTH, Resampler
from vsr.media.side_data_support import (
    unsupported_changes,
    unsupported_side_data,
    without_unsupported,
)
from vsr.models import Generator
from vsr.system.address import is_pipe
from vsr.system.machine import memory_bytes, pick_device
from vsr.zoo import choose_model, default_detail, default_scale, load

Rotate = Literal["keep", "apply"]

_QUEUE_FRAMES, _QUEUE_PIXELS = 8, 100_000_000
"""Limits of a queue between two stages: frames, and their luma samples."""
_QUEUED_BYTES = 24
"""Least memory of the queues per pixel: eight frames of three bytes."""
_HASHED_BYTES = 1 << 20
_HASHED_BLOCKS = 16


@dataclass(frozen=True)
class UpscaleOptions:
    """Options that determine the output. See `upscale.upscale_video`."""

    model: str | None = None
    scale: float | None = None
    width: int | None = None
    height: int | None = None
    size: str | None = None
    square_pixels: bool = False
    detail: float | None = None
    device: str = "auto"
    backend: BackendName = "auto"
    precision: Precision = "auto"
    tiling: Tiling = "auto"
    settings: EncoderSettings = field(default_factory=EncoderSettings)
    deinterlace: Deinterlace = "auto"
    rotate: Rotate = "keep"
    decoder: Decoder = "cpu"


class UpscaleSession:
    """Reader, model, backend and output format of one film.

    The constructor opens the film, loads the model and surveys the source; it raises `VsrError`.
    The owner closes `reader`.
    """

    def __init__(self, source: Path, options: UpscaleOptions, suffix: str) -> None:
        self.options = options
        self._size_request = SizeRequest(
            scale=options.scale,
            width=options.width,
            height=options.height,
            screen=options.size,
            square_pixels=options.square_pixels,
        )
        self.dropped = Dropped()
        self.started = time.perf_counter()
        self.device = pick_device(options.device)
        self._suffix = suffix
        self.reader = VideoReader(
            source,
            options.deinterlace,
            options.rotate == "apply",
            probe_first_frame=True,
            decoder=options.decoder,
            keep_on_gpu=self.device.type == "cuda",
            once=is_pipe(source),
        )
        try:
            source_info = self.reader.info
            generator, size = self._load(source_info)
            self.weights = _digest(generator.state_dict())
            self.scale = generator.scale
            read_as = colour_spec(source_info)
            matrix = source_info.colour.matrix
            if not is_specified(matrix):
                matrix = CODE_OF_MATRIX[read_as.matrix]
            info = output_info(source_info, (size.width, size.height), matrix, options.settings)
            self.info = replace(info, sample_aspect_ratio=size.aspect)
            self._computed = self._computed_info(source_info)
            self._check_memory()
            self._resampler: Resampler | None = None
            if self._computed != self.info:
                computed_size = (self._computed.width, self._computed.height)
                self._resampler = Resampler(computed_size, self.info)
            self.backend = pick_backend(
                name=options.backend,
                precision=options.precision,
                generator=generator,
                device=self.device,
                specs=(read_as, colour_spec(self._computed)),
                size=(source_info.height, source_info.width),
                frames=source_info.frame_count,
                tiling=options.tiling,
            )
            self.lost = unsupported_features(
                source_info, self.info, options.settings, self.reader.codec
            )
            aspect = self.info.sample_aspect_ratio
            if (
                aspect != 1
                and suffix in (".mkv", ".webm")
                and not stores_aspect_ratio(options.settings)
            ):
                codec = options.settings.codec
                self.lost.append(f"pixel aspect {aspect} ({codec} in {suffix}; h264 and hevc do)")
            self.survey = self._survey(suffix)
        except BaseException:
            self.reader.close()
            raise

    def _load(self, source: StreamInfo) -> tuple[Generator[Any], OutputSize]:
        """Choose the model and load its generator, at the scale that the requested size needs."""
        options, request = self.options, self._size_request
        frame = input_frame(source, options.settings)
        size = request.resolve(frame, default_scale(source.height))
        needed = size.network_scale(frame)
        self.model = choose_model(options.model, needed, source.height)
        own_scale = load(self.model, None, 0.0).scale
        if request.is_default and self.model == options.model:
            size = request.resolve(frame, own_scale)
            needed = size.network_scale(frame)
        scale = min(needed, own_scale)
        default = default_detail(self.model, scale)
        self.detail = default if options.detail is None else options.detail
        is_enlarged = size.width > scale * source.width or size.height > scale * source.height
        enlarged = f"{self.model} upscales by {scale}: enlarged to {size.width}x{size.height}"
        self.reader.notes += [note for note in (size.note, enlarged if is_enlarged else "") if note]
        return load(self.model, scale, self.detail), size

    def _computed_info(self, source: StreamInfo) -> StreamInfo:
        """Describe the frames that the backend computes: as written, or deeper and to resample."""
        width, height = self.scale * source.width, self.scale * source.height
        if (width, height) == (self.info.width, self.info.height):
            return self.info
        check_frame_size((width, height))
        layout = replace(self.info.layout, bit_depth=RESAMPLED_DEPTH)
        return replace(self.info, width=width, height=height, layout=layout)

    def _check_memory(self) -> None:
        """Raise `OutputError` where the queues of frames alone exceed the memory."""
        pixels = max(one.width * one.height for one in (self.info, self._computed))
        needed, memory = _QUEUED_BYTES * pixels, memory_bytes(torch.device("cpu"))
        if needed > memory:
            size = f"{self.info.width}x{self.info.height}"
            raise OutputError(
                f"frames of {size} need about {needed / 1e9:.1f} GB of memory, and this machine "
                f"has {memory / 1e9:.1f} GB; use a smaller size"
            )

    def _survey(self, suffix: str) -> Survey:
        """Survey the film; add findings to `lost` and to the reader's notes."""
        source, reader = self.reader.path, self.reader
        survey = Survey(side_data=dict(reader.side_data))  # a pipe can be read once
        if not is_pipe(source):  # a regular file may be called `-`
            survey = survey_film(source)
        self.info = without_unsupported(self.info, suffix, self.options.settings)
        self.lost += self._side_data_losses(survey)
        changed = unsupported_changes(reader.info, survey, self.info)
        self.lost += changed
        for name, seen in survey.changes.items():
            is_lost = any(line.startswith(f"{name} ") for line in changed)
            reader.announce(seen.change, None if is_lost else seen.change.line(seen.where))
        if survey.interlaced and self.options.deinterlace == "auto":
            reader.notes.append(
                "frames look interlaced but are not flagged so; use --deinterlace on to deinterlace"
            )
        return survey

    def _side_data_losses(self, survey: Survey) -> list[str]:
        tags = self.reader.container.streams[self.reader.index].metadata
        settings = self.options.settings
        return unsupported_side_data(
            self.reader.info,
            survey,
            self.info,
            self._suffix,
            settings,
            tags,
            is_rotated=self.reader.is_rotated,
        )

    def _found_late(self) -> Iterator[str]:
        """List side data that is not kept and that the survey didn't find."""
        for name, seconds in self.reader.side_data.items():
            if name not in self.survey.side_data and name != TIMECODE:
                for line in self._side_data_losses(Survey(side_data={name: seconds})):
                    if line not in self.lost:
                        yield f"not kept, from {seconds:.2f} s on: {line}"

    def submit(self, frame: Frame, begins_shot: bool) -> Callable[[], Frame]:
        """Start to upscale one frame with its alpha; the returned function waits for it."""
        planes = frame.planes
        if len(planes) > 3:
            planes = fill_hidden_colours(planes, self.reader.info.layout.bit_depth)[:3]
        pending = self.backend.submit(planes, begins_shot)

        def wait() -> Frame:
            planes = pending()
            if self._resampler is not None:
                planes = self._resampler.resample(planes)
            if self.info.layout.alpha:
                size = (self.info.height, self.info.width)
                depths = self.reader.info.layout.bit_depth, self.info.layout.bit_depth
                planes += (alpha_to_plane(frame.planes[3], size, *depths),)
            return replace(frame, planes=planes)

        return wait

    @property
    def queue_size(self) -> int:
        """Capacity of the queues between two stages in frames, lower for large frames."""
        computed = self._computed
        fit = _QUEUE_PIXELS // (computed.width * computed.height)
        return max(2, min(_QUEUE_FRAMES, fit))

    def left_out(self, copy_plan: CopyPlan | None) -> tuple[str, ...]:
        """List all contents of the source that can't be kept."""
        return (*self.lost, *(copy_plan.left_out if copy_plan else ()))

    def notes(self) -> tuple[str, ...]:
        """List all changes other than upscaling; to be called after the last frame."""
        notes = [*self.reader.notes, *self.backend.notes()]
        if self.reader.interlaced:
            action = (
                "left as they are"
                if self.options.deinterlace == "off"
                else "deinterlaced (bwdif); --deinterlace off leaves them as they are"
            )
            notes.append(f"{self.reader.interlaced} interlaced frames {action}")
        if self.reader.damage.ends_early and ENDS_EARLY not in notes:
            notes.append(ENDS_EARLY)
        if errors := self.reader.damage.read_errors:
            where = "1 position" if errors == 1 else f"{errors} positions"
            notes.append(f"the source can't be read at {where}; the rest of it is kept")
        if self.options.decoder == "gpu" and not self.reader.on_gpu:
            notes.append(f"no GPU of this machine decodes {self.reader.codec}; decoded on the CPU")
        notes += self._found_late()
        return (*notes, *self.dropped.lines())

    def identity(self) -> dict[str, Any]:
        """Describe all that the output's bytes depend on, as the journal stores it.

        Keys and values are a file format: an attribute may be renamed, but not its key, or
        unfinished work can't be resumed.
        """
        options, settings, info = self.options, self.options.settings, self.info
        changed = {}
        if info.sample_aspect_ratio != self.reader.info.sample_aspect_ratio:
            changed["aspect"] = str(info.sample_aspect_ratio)
        return changed | {
            "source": identity_of(self.reader.path),
            "weights": self.weights,
            "model": self.model,
            "scale": self.scale,
            "detail": self.detail,
            "device": self.device.type,
            "backend": self.backend.name,
            "precision": options.precision,
            "tiling": options.tiling,
            "deinterlace": options.deinterlace,
            "rotate": options.rotate,
            "decoder": options.decoder,
            "codec": settings.codec,
            "crf": settings.crf,
            "preset": settings.preset,
            "encoder": settings.encoder,
            "versions": {name: version(name) for name in ("vsr", "torch", "av")},
            "output": [info.width, info.height, info.layout.name],
        }


def identity_of(path: Path) -> str:
    """Hash a file's size and sixteen blocks of 1 MiB in it. Raises `MediaError`."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for offset in _block_offsets(size):
                file.seek(offset)
                digest.update(file.read(_HASHED_BYTES))
    except OSError as error:
        raise MediaError(f"{path}: can't be read: {error.strerror}") from error
    return digest.hexdigest()


def _block_offsets(size: int) -> Iterator[int]:
    last = max(0, size - _HASHED_BYTES)
    for index in range(_HASHED_BLOCKS):
        yield last * index // (_HASHED_BLOCKS - 1)


def _digest(weights: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()

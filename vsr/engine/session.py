"""A film, a network, and what is to come of both."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from vsr.engine.backends import BackendName, Precision, Tiling, pick_backend
from vsr.errors import MediaError
from vsr.frames.yuv import alpha_to_plane, colour_spec, without_rim
from vsr.imaging.colour import CODE_OF_MATRIX
from vsr.media.decode.conform import is_said
from vsr.media.decode.decoded import Deinterlace
from vsr.media.decode.decoder import Decoder
from vsr.media.decode.reader import ENDS_EARLY, VideoReader
from vsr.media.decode.side_data import TIMECODE
from vsr.media.decode.survey import Survey, survey_film
from vsr.media.encode.encoder import EncoderSettings, losses, output_info, says_aspect
from vsr.media.frame import Frame
from vsr.media.mux.muxer import Dropped
from vsr.media.mux.stream_copy import CopyPlan
from vsr.media.side_data_support import change_losses, held, side_data_losses
from vsr.system.address import is_pipe
from vsr.system.machine import pick_device
from vsr.zoo import choose_model, load

Rotate = Literal["keep", "apply"]

_MOST_WAITING, _MOST_WAITING_PIXELS = 8, 100_000_000
"""Frames, and luma samples of theirs, that may wait between two stages."""
_HASHED_BYTES = 1 << 20
_HASHED_PLACES = 16


@dataclass(frozen=True)
class UpscaleOptions:
    """How a film is upscaled; all of it decides what comes out. See `video.upscale_video`."""

    model: str | None = None
    scale: int | None = None
    detail: float = 0.0
    device: str = "auto"
    backend: BackendName = "auto"
    precision: Precision = "auto"
    tiling: Tiling = "auto"
    settings: EncoderSettings = field(default_factory=EncoderSettings)
    deinterlace: Deinterlace = "auto"
    rotate: Rotate = "keep"
    decoder: Decoder = "cpu"


class UpscaleSession:
    """A film, a network and what is to come of both."""

    def __init__(self, source: Path, options: UpscaleOptions, suffix: str) -> None:
        self.options = options
        self.dropped = Dropped()
        self.began = time.perf_counter()
        self.device = pick_device(options.device)
        self._suffix = suffix
        self.reader = VideoReader(
            *(source, options.deinterlace, options.rotate == "apply"),
            closely=True,
            decoder=options.decoder,
            on_card=self.device.type == "cuda",
            once=is_pipe(source),
        )
        try:
            source_info = self.reader.info
            self.model = choose_model(options.model, options.scale, source_info.height)
            generator = load(self.model, options.scale, options.detail)
            self.weights = _digest(generator.state_dict())
            self.scale = generator.scale
            read_as = colour_spec(source_info)
            told = source_info.colour.matrix
            matrix = told if is_said(told) else CODE_OF_MATRIX[read_as.matrix]
            self.info = output_info(source_info, self.scale, matrix, options.settings)
            self.backend = pick_backend(
                *(options.backend, options.precision, generator, self.device),
                specs=(read_as, colour_spec(self.info)),
                size=(source_info.height, source_info.width),
                frames=source_info.frame_count,
                tiling=options.tiling,
            )
            self.lost = losses(source_info, self.info, options.settings, self.reader.codec)
            aspect = self.info.sample_aspect_ratio
            if aspect != 1 and suffix in (".mkv", ".webm") and not says_aspect(options.settings):
                codec = options.settings.codec
                self.lost.append(f"pixel aspect {aspect} ({codec} in {suffix}; h264 and hevc do)")
            self.survey = self._survey(suffix)
        except BaseException:
            self.reader.close()
            raise

    def _survey(self, suffix: str) -> Survey:
        """Look through the film, add to `lost` and to the reader's notes what is found."""
        source, reader = self.reader.path, self.reader
        survey = Survey(side_data=dict(reader.side_data))  # a pipe can be read once
        if not is_pipe(source):  # though there may be a file called `-`
            survey = survey_film(source)
        self.info = held(self.info, suffix, self.options.settings)
        self.lost += self._side_data_losses(survey)
        changed = change_losses(reader.info, survey, self.info)
        self.lost += changed
        for what, seen in survey.changes.items():
            is_lost = any(line.startswith(f"{what} ") for line in changed)
            reader.announce(seen.change, None if is_lost else seen.change.line(seen.where))
        if survey.interlaced and self.options.deinterlace == "auto":
            reader.notes.append(
                "frames look interlaced, though nothing says so: --deinterlace on makes them whole"
            )
        return survey

    def _side_data_losses(self, survey: Survey) -> list[str]:
        tags = self.reader.container.streams[self.reader.index].metadata
        settings = self.options.settings
        return side_data_losses(
            *(self.reader.info, survey, self.info, self._suffix, settings, tags),
            is_turned=self.reader.is_turned,
        )

    def _found_late(self) -> Iterator[str]:
        """Side data that the survey didn't come by and that isn't kept."""
        for kind, seconds in self.reader.side_data.items():
            if kind not in self.survey.side_data and kind != TIMECODE:
                for line in self._side_data_losses(Survey(side_data={kind: seconds})):
                    if line not in self.lost:
                        yield f"not kept, from {seconds:.2f} s on: {line}"

    def submit(self, frame: Frame, begins_shot: bool) -> Callable[[], Frame]:
        """Begin to upscale one frame, alpha by the side; what comes back waits for it."""
        planes = frame.planes
        if len(planes) > 3:
            planes = without_rim(planes, self.reader.info.layout.bit_depth)[:3]
        begun = self.backend.submit(planes, begins_shot)

        def wait() -> Frame:
            planes = begun()
            if self.info.layout.alpha:
                depths = self.reader.info.layout.bit_depth, self.info.layout.bit_depth
                planes += (alpha_to_plane(frame.planes[3], self.scale, *depths),)
            return replace(frame, planes=planes)

        return wait

    @property
    def queue_size(self) -> int:
        """Frames that may wait between two stages: fewer where they are large."""
        fit = _MOST_WAITING_PIXELS // (self.info.width * self.info.height)
        return max(2, min(_MOST_WAITING, fit))

    def left_out(self, baggage: CopyPlan | None) -> tuple[str, ...]:
        """All that can't be kept."""
        return (*self.lost, *(baggage.left_out if baggage else ()))

    def notes(self) -> tuple[str, ...]:
        """What was done beside upscaling, now that all has been read."""
        notes = [*self.reader.notes, *self.backend.notes()]
        if self.reader.interlaced:
            made = (
                "left as they are"
                if self.options.deinterlace == "off"
                else "made whole (bwdif); --deinterlace off leaves them as they are"
            )
            notes.append(f"{self.reader.interlaced} interlaced frames {made}")
        if self.reader.damage.ends_early and ENDS_EARLY not in notes:
            notes.append(ENDS_EARLY)
        if places := self.reader.damage.read_errors:
            what = "a place" if places == 1 else f"{places} places"
            notes.append(f"the source can't be read at {what}; what follows is kept")
        if self.options.decoder == "gpu" and not self.reader.on_gpu:
            notes.append(f"no card here decodes {self.reader.codec}: the CPU did")
        notes += self._found_late()
        return (*notes, *self.dropped.lines())

    def identity(self) -> dict[str, Any]:
        """All that the output's bytes depend on, as the journal stores it.

        Keys and values are a file format: an attribute may be renamed, its key may not, or
        unfinished work can't be resumed.
        """
        options, settings, info = self.options, self.options.settings, self.info
        return {
            "source": identity_of(self.reader.path),
            "weights": self.weights,
            "model": self.model,
            "scale": self.scale,
            "detail": options.detail,
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
    """A hash of a file's size and of sixteen places in it. Raises `MediaError`."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for place in _places(size):
                file.seek(place)
                digest.update(file.read(_HASHED_BYTES))
    except OSError as error:
        raise MediaError(f"{path}: can't be read: {error.strerror}") from error
    return digest.hexdigest()


def _places(size: int) -> Iterator[int]:
    last = max(0, size - _HASHED_BYTES)
    for number in range(_HASHED_PLACES):
        yield last * number // (_HASHED_PLACES - 1)


def _digest(weights: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()

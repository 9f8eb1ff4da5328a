"""Films and folders of numbered images, found and read frame by frame."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vsr.data.rgb_frames import rgb_frames
from vsr.errors import DataError
from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import colour_spec, planes_to_rgb, unit_luma
from vsr.imaging.colour import Matrix
from vsr.imaging.tensors import on_8_bit_levels
from vsr.media.decode.reader import VideoReader
from vsr.media.frame import HDR_TRANSFERS, ColourTags, Frame
from vsr.media.image_sequence import ImageSequence, images_in
from vsr.media.picture_hdr import hdr_of
from vsr.media.still import Still
from vsr.system.folders import FILM_SUFFIXES, visible_in

_FOLDER_RATE = 25.0


class TimedFrame(NamedTuple):
    """A frame and its presentation time."""

    time: Fraction | None
    """Seconds since time zero of the film; None in a folder, which has no times."""
    picture: Tensor
    """RGB (3, H, W) in [0, 1]: on 8-bit levels, or unrounded for a film of more bits."""
    starts_shot: bool = False
    luma: Tensor | None = None
    """Luma as coded, (H, W), from 0 for black to 1 for white, not clipped; None in a folder."""

    def cropped(self, height: int, width: int) -> "TimedFrame":
        """Return the upper left part of the frame."""
        luma = None if self.luma is None else self.luma[:height, :width]
        return self._replace(picture=self.picture[:, :height, :width], luma=luma)


@dataclass(frozen=True)
class FrameSequence:
    """A film, or a folder of numbered images, that can be read frame by frame."""

    path: Path
    width: int
    height: int
    time_base: Fraction
    """Resolution of the times in seconds; 0 in a folder."""
    frame_rate: float
    """Average frames a second; 25 in a folder."""
    count: int | None
    """Frames, if the container reports them."""
    matrix: Matrix
    """Of the film's own luma; BT.709 in a folder."""
    bit_depth: int
    """Bits of the pictures; 16 in a folder of more than 8."""
    hdr: str
    """"PQ", "HLG" or "linear light"; empty for SDR."""
    read: Callable[[torch.device, bool], Iterator[TimedFrame]]
    """Frames on a device; the second argument enables the detection of cuts."""
    notes: set[str] = field(default_factory=set)
    """Conversions applied to the frames; complete once all are read."""

    @property
    def size(self) -> str:
        """Width and height, such as 1920x1080."""
        return f"{self.width}x{self.height}"


def open_sequence(path: Path) -> FrameSequence:
    """Open a film or a folder of numbered images.

    Raises `MediaError` or `DataError` where it is neither.
    """
    if path.is_dir():
        return _open_folder(path)
    with VideoReader(path) as reader:
        info = reader.info

    def frames(device: torch.device, detect_cuts: bool) -> Iterator[TimedFrame]:
        with VideoReader(path) as reader:
            spec, time_base = colour_spec(reader.info), reader.info.time_base
            for frame, starts_shot in _with_cuts(reader.frames(), detect_cuts):
                rgb = planes_to_rgb(frame.planes, spec, device)
                picture = on_8_bit_levels(rgb) if spec.bit_depth == 8 else rgb.clamp(0, 1)
                luma = unit_luma(frame.planes[0], spec, device)
                yield TimedFrame(frame.pts * time_base, picture, starts_shot, luma)

    return FrameSequence(
        path=path,
        width=info.width,
        height=info.height,
        time_base=info.time_base,
        frame_rate=float(info.frame_rate),
        count=info.frame_count,
        matrix=colour_spec(info).matrix,
        bit_depth=info.layout.bit_depth,
        hdr=hdr_transfer(info.colour),
        read=frames,
    )


def hdr_transfer(colour: ColourTags) -> str:
    """Name the HDR transfer function, "PQ" or "HLG"; empty for SDR."""
    return HDR_TRANSFERS.get(colour.transfer, "")


def hdr_of_picture(still: Still) -> str:
    """Name the HDR transfer function of a picture, or "linear light"; empty for SDR."""
    return "linear light" if still.linear else hdr_of(still)


def _open_folder(folder: Path) -> FrameSequence:
    sequence = ImageSequence.in_folder(folder)
    first = next(sequence.frames())
    height, width = first.rgb.shape[:2]
    notes: set[str] = set()

    def noted() -> Iterator[Still]:
        for still in sequence.frames():
            if still.bits > 8 * still.rgb.itemsize:
                notes.add(f"{folder.name} holds {still.bits} bits a channel, compared as 8")
            if still.rgb.dtype == np.float32 and (still.rgb.min() < 0 or still.rgb.max() > 1):
                notes.add(f"{folder.name} holds samples below 0 or above 1, which are clipped")
            yield still

    def frames(device: torch.device, detect_cuts: bool) -> Iterator[TimedFrame]:
        for picture, starts_shot in rgb_frames(noted(), device, detect_cuts):
            yield TimedFrame(None, picture, starts_shot)

    return FrameSequence(
        path=folder,
        width=width,
        height=height,
        time_base=Fraction(0),
        frame_rate=_FOLDER_RATE,
        count=len(sequence.files),
        matrix=Matrix.BT709,
        bit_depth=8 if first.rgb.dtype == np.uint8 else 16,
        hdr=hdr_of_picture(first),
        read=frames,
        notes=notes,
    )


def _with_cuts(frames: Iterator[Frame], detect_cuts: bool) -> Iterator[tuple[Frame, bool]]:
    if not detect_cuts:
        yield from ((frame, False) for frame in frames)
        return
    for frame, starts_shot in mark_cuts(frames):
        assert isinstance(frame, Frame)
        yield frame, starts_shot


def find_clips(output: Path, reference: Path) -> list[tuple[str, Path, Path]]:
    """Match an output with a reference by name: one pair, or one for each clip of two folders.

    A clip is a film, whose suffix doesn't count, or a folder of images. Raises `DataError` where a
    path doesn't exist or one folder lacks a clip of the other.
    """
    for path in (output, reference):
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    outputs, references = _clips_in(output), _clips_in(reference)
    if not outputs and not references:
        return [(output.stem if output.is_file() else output.name, output, reference)]
    for expected, actual, folder in (
        (outputs, references, reference),
        (references, outputs, output),
    ):
        missing = sorted(expected.keys() - actual.keys())
        if missing:
            raise DataError(f"{folder}: holds no clip {missing[0]!r}")
    return [(name, outputs[name], references[name]) for name in sorted(outputs)]


def _clips_in(path: Path) -> dict[str, Path]:
    """The clips in a folder of clips, by name; none where the path is a clip itself."""
    if not path.is_dir():
        return {}
    clips: dict[str, Path] = {}
    for entry in visible_in(path):
        is_film = entry.is_file() and entry.suffix.lower() in FILM_SUFFIXES
        if not is_film and not (entry.is_dir() and images_in(entry)):
            continue
        name = entry.name if entry.is_dir() else entry.stem
        if name in clips:
            raise DataError(f"{entry}: has the same name as {clips[name].name}")
        clips[name] = entry
    return clips

"""From footage to a data set: find shots, leave out what teaches nothing, keep the rest."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vsr.data.clip_codec import Planes420
from vsr.data.clip_quality import (
    DuplicateIndex,
    RejectReason,
    fault_of,
    picture_area,
    signature,
    true_share,
    whole_area,
)
from vsr.data.sources import Source, SourceType, find_sources, open_source, sample_source
from vsr.data.store import (
    Header,
    RejectedStretch,
    SourceEnd,
    SourceStart,
    Split,
    Store,
    StoredClip,
    StoreWriter,
)
from vsr.errors import DataError, MediaError, OutputError
from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import colour_spec, planes_to_rgb, rgb_to_planes
from vsr.imaging.colour import ColourSpec
from vsr.imaging.tensors import resize_bicubic
from vsr.media.frame import Frame, StreamInfo
from vsr.system.address import printable

LONGEST_PIECE = 60
_PIECE_BYTES = 256 << 20
_SAMPLED_FRAMES = 24
_SMALLEST_SIDE = 64
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class PrepareProgress:
    """Where preparing is; handed to whoever watches, some times a second."""

    source: str
    number: int
    """Of the source, from 0."""
    count: int
    frames: int
    """Of this source, so far."""
    frame_count: int | None


class _Piece(NamedTuple):
    """Consecutive frames of one shot, as they will be stored."""

    shot: int
    number: int
    planes: list[tuple[NDArray[np.uint8], ...]]

    @property
    def luma(self) -> list[NDArray[np.uint8]]:
        return [frame[0] for frame in self.planes]


def prepare(
    places: Sequence[Path],
    dataset: Path,
    header: Header,
    validation: Sequence[Path] = (),
    watch: Callable[[PrepareProgress], None] = lambda progress: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Store:
    """Add to the data set what it doesn't hold yet of the footage in `places`.

    Sources under `validation` are held back; where there are none, every so many of the
    films, by `header.val_share`. Broken sources are noted in the index and passed over.
    Interrupted anywhere, the same call goes on. `tell` hears of files that are no footage.
    Raises `DataError`, and `OutputError` where the folder can't be made.
    """
    held_out = find_sources(validation, without=dataset) if validation else []
    held_back = {source.identity() for source in held_out} if validation else None
    sources = find_sources([*places, *validation], without=dataset, tell=tell)
    store = StoreWriter(dataset, header)
    gallery = DuplicateIndex()
    for clip in store.clips():
        gallery.add(clip.hashes, clip.source, clip.shot)
    for number, source in enumerate(sources):
        identity = source.identity()
        if identity in store.finished:
            continue

        def report(
            frames: int, expected: int | None, number: int = number, name: str = source.name
        ) -> None:
            watch(PrepareProgress(name, number, len(sources), frames, expected))

        _Intake(store, gallery, source, identity, held_back).run(report)
    if not store.clips():
        reasons = {line.error for line in store.finished.values() if line.error}
        left_out = Counter(line.reason for line in store.rejected())
        why = "; ".join([*reasons, *(f"{n} {reason}" for reason, n in left_out.items())])
        raise DataError(f"{dataset}: nothing of the footage could be taken: {why or 'no frames'}")
    return store


class _Intake:
    """One source on its way into the data set."""

    def __init__(
        self,
        store: StoreWriter,
        gallery: DuplicateIndex,
        source: Source,
        identity: str,
        held_back: set[str] | None,
    ) -> None:
        self._store = store
        self._gallery = gallery
        self._source = source
        self._identity = identity
        self._held_back = held_back
        done: list[StoredClip | RejectedStretch] = [*store.clips(), *store.rejected()]
        self._done = {(line.shot, line.piece) for line in done if line.source == identity}

    def run(self, report: Callable[[int, int | None], None]) -> None:
        """Take what is worth it; a source that can't be read, or not to its end, says so."""
        frames = 0
        error = None
        try:
            info, decoded = open_source(self._source)
            begun = self._store.sources.get(self._identity) or self._begin(info)
            for piece in self._pieces(info, decoded, begun):
                frames += len(piece.planes)
                self._judge(piece, begun, info)
                report(frames, info.frame_count)
        except OutputError:
            raise
        except MediaError as caught:
            error = printable(str(caught))
        ended = SourceEnd(source=self._identity, name=self._source.name, frames=frames, error=error)
        self._store.add(ended)

    def _begin(self, info: StreamInfo) -> SourceStart:
        """Look at frames from all over the source for black bars, and at how sharp they are."""
        luma = [
            _to_8_bit(frame.planes[0], info)
            for frame in sample_source(self._source, _SAMPLED_FRAMES)
        ]
        luma = [plane for plane in luma if plane.shape == (info.height, info.width)]
        if not luma:
            raise MediaError(f"{self._source.files[0]}: no frame of it can be decoded")
        is_film = self._source.type is not SourceType.PHOTOGRAPH
        crop = picture_area(luma) if is_film else whole_area(luma[0])
        top, left, height, width = crop
        share = true_share([plane[top : top + height, left : left + width] for plane in luma])
        begun = SourceStart(
            source=self._identity,
            name=self._source.name,
            type=self._source.type.value,
            split=self._split(),
            width=info.width,
            height=info.height,
            crop=tuple(crop),
            stored=(round(height * share / 2) * 2, round(width * share / 2) * 2),
            frame_rate=str(info.frame_rate),
        )
        if min(begun.stored) < _SMALLEST_SIDE:
            size = f"{begun.stored[1]}x{begun.stored[0]}"
            raise MediaError(f"{self._source.files[0]}: its picture is but {size} pixels")
        self._store.add(begun)
        return begun

    def _split(self) -> Split:
        if self._held_back is not None:
            return "val" if self._identity in self._held_back else "train"
        share = self._store.header.val_share
        if self._source.type is SourceType.PHOTOGRAPH or share == 0:
            return "train"
        films = [s for s in self._store.sources.values() if s.type != "photograph"]
        # The second of every so many, so that two films are enough for one of each.
        return "val" if len(films) % max(2, round(1 / share)) == 1 else "train"

    def _pieces(
        self, info: StreamInfo, frames: Iterator[Frame], begun: SourceStart
    ) -> Iterator[_Piece]:
        """The shots, long ones in pieces, so that memory is bounded."""
        height, width = begun.stored
        longest = min(LONGEST_PIECE, _PIECE_BYTES // (height * width * 3 // 2))
        longest = max(longest, self._store.header.shortest)
        piece = _Piece(0, 0, [])
        for frame, cut in mark_cuts(frames):
            assert isinstance(frame, Frame)
            if piece.planes and (cut or len(piece.planes) == longest):
                yield piece
                following = (piece.shot + 1, 0) if cut else (piece.shot, piece.number + 1)
                piece = _Piece(*following, [])
            piece.planes.append(_as_stored(frame, info, begun))
        if piece.planes:
            yield piece

    def _judge(self, piece: _Piece, begun: SourceStart, info: StreamInfo) -> None:
        if (piece.shot, piece.number) in self._done:
            return
        fault: RejectReason | None = None
        hashes: tuple[str, ...] = ()
        is_film = self._source.type is not SourceType.PHOTOGRAPH
        if is_film and len(piece.planes) < self._store.header.shortest:
            fault = RejectReason.SHORT
        else:
            fault = fault_of(piece.luma)
        if fault is None:
            hashes = signature(piece.luma)
            if self._gallery.holds(hashes, self._identity, piece.shot):
                fault = RejectReason.DUPLICATE
        if fault is not None:
            self._store.add(
                RejectedStretch(
                    source=self._identity,
                    shot=piece.shot,
                    piece=piece.number,
                    frames=len(piece.planes),
                    reason=fault.value,
                )
            )
            return
        y, cb, cr = (np.stack(planes) for planes in zip(*piece.planes, strict=True))
        clip: Planes420 = (y, cb, cr)
        self._store.add_clip(clip, stored_spec(info), (begun, piece.shot, piece.number), hashes)
        self._gallery.add(hashes, self._identity, piece.shot)


def stored_spec(info: StreamInfo) -> ColourSpec:
    """How the planes of a stream's clips are to be read: its matrix and range, 8-bit 4:2:0."""
    spec = colour_spec(info)
    return ColourSpec(spec.matrix, spec.full_range)


def _as_stored(frame: Frame, info: StreamInfo, begun: SourceStart) -> tuple[NDArray[np.uint8], ...]:
    """Y, Cb and Cr of a frame, 8-bit 4:2:0, without its bars, at the size of its clips."""
    top, left, height, width = begun.crop
    as_read, as_stored = colour_spec(info), stored_spec(info)
    if as_read == as_stored:
        y, *chroma = (plane.view(np.uint8) for plane in frame.planes)
        across, down = slice(left // 2, (left + width) // 2), slice(top // 2, (top + height) // 2)
        planes = [y[top : top + height, left : left + width]]
        planes += [plane[down, across] for plane in chroma]
        if (height, width) == begun.stored:
            return tuple(planes)
        # Each plane by itself: that moves chroma by less than a quarter of its sample.
        sizes = [(begun.stored[1] // n, begun.stored[0] // n) for n in (1, 2, 2)]
        return tuple(
            np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            for plane, size in zip(planes, sizes, strict=True)
        )
    rgb = planes_to_rgb(frame.planes, as_read, _CPU)
    rgb = rgb[None, :, top : top + height, left : left + width]
    if (height, width) != begun.stored:
        rgb = resize_bicubic(rgb, begun.stored)
    return tuple(plane.view(np.uint8) for plane in rgb_to_planes(rgb[0], as_stored))


def _to_8_bit(plane: NDArray[np.uint8] | NDArray[np.uint16], info: StreamInfo) -> NDArray[np.uint8]:
    return (plane >> (info.layout.bit_depth - 8)).astype(np.uint8)

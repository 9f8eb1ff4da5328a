"""Prepare a data set from footage: find shots, reject unsuitable ones, store the rest."""

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
    find_defect,
    full_area,
    picture_area,
    signature,
    true_scale,
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
"""Frames of a clip at most."""
_PIECE_BYTES = 256 << 20
_SAMPLED_FRAMES = 24
_SMALLEST_SIDE = 64
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class PrepareProgress:
    """Progress of preparing a data set."""

    source: str
    number: int
    """Index of the source, from 0."""
    count: int
    """Sources in all."""
    frames: int
    """Frames of this source read so far."""
    frame_count: int | None
    """Frames of this source in all, if known."""


class _Piece(NamedTuple):
    """Consecutive frames of one shot, as they will be stored."""

    shot: int
    part: int
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
    """Add the footage in `places` to a data set, skipping sources that it already holds.

    Sources in `validation` are held out for validation; without any, every n-th film is, by
    `header.val_share`. Sources that can't be read are recorded in the index and skipped. An
    interrupted call is resumed by repeating it. `tell` receives a line about files that are not
    footage. Raises `DataError`, and `OutputError` where the folder can't be written.
    """
    held_out = find_sources(validation, without=dataset) if validation else []
    held_out_ids = {source.identity() for source in held_out} if validation else None
    sources = find_sources([*places, *validation], without=dataset, tell=tell)
    store = StoreWriter(dataset, header)
    duplicates = DuplicateIndex()
    for clip in store.clips():
        duplicates.add(clip.hashes, clip.source, clip.shot)
    for index, source in enumerate(sources):
        identity = source.identity()
        if identity in store.finished:
            continue

        def report(
            frames: int, expected: int | None, index: int = index, name: str = source.name
        ) -> None:
            watch(
                PrepareProgress(
                    source=name,
                    number=index,
                    count=len(sources),
                    frames=frames,
                    frame_count=expected,
                )
            )

        _Intake(store, duplicates, source, identity, held_out_ids).run(report)
    if not store.clips():
        errors = {line.error for line in store.finished.values() if line.error}
        rejected = Counter(line.reason for line in store.rejected())
        why = "; ".join(
            [*sorted(errors), *(f"{count} {reason}" for reason, count in rejected.items())]
        )
        raise DataError(f"{dataset}: no part of the footage is suitable: {why or 'no frames'}")
    return store


class _Intake:
    """Adds one source to a data set."""

    def __init__(
        self,
        store: StoreWriter,
        duplicates: DuplicateIndex,
        source: Source,
        identity: str,
        held_out: set[str] | None,
    ) -> None:
        """`held_out` are identities of validation sources; None chooses them by `val_share`."""
        self._store = store
        self._duplicates = duplicates
        self._source = source
        self._identity = identity
        self._held_out = held_out
        done: list[StoredClip | RejectedStretch] = [*store.clips(), *store.rejected()]
        self._done = {(line.shot, line.piece) for line in done if line.source == identity}

    def run(self, report: Callable[[int, int | None], None]) -> None:
        """Store the suitable clips; a read error is recorded with the end of the source."""
        frames = 0
        error = None
        try:
            info, decoded = open_source(self._source)
            start = self._store.sources.get(self._identity) or self._start(info)
            for piece in self._pieces(info, decoded, start):
                frames += len(piece.planes)
                self._add(piece, start, info)
                report(frames, info.frame_count)
        except OutputError:
            raise
        except MediaError as caught:
            error = printable(str(caught))
        end = SourceEnd(source=self._identity, name=self._source.name, frames=frames, error=error)
        self._store.add(end)

    def _start(self, info: StreamInfo) -> SourceStart:
        """Detect black bars and true resolution from frames sampled over the source."""
        luma = [
            _to_8_bit(frame.planes[0], info)
            for frame in sample_source(self._source, _SAMPLED_FRAMES)
        ]
        luma = [plane for plane in luma if plane.shape == (info.height, info.width)]
        if not luma:
            raise MediaError(f"{self._source.files[0]}: none of its frames can be decoded")
        is_film = self._source.type is not SourceType.PHOTOGRAPH
        crop = picture_area(luma) if is_film else full_area(luma[0])
        top, left, height, width = crop
        scale = true_scale([plane[top : top + height, left : left + width] for plane in luma])
        start = SourceStart(
            source=self._identity,
            name=self._source.name,
            type=self._source.type.value,
            split=self._split(),
            width=info.width,
            height=info.height,
            crop=tuple(crop),
            stored=(round(height * scale / 2) * 2, round(width * scale / 2) * 2),
            frame_rate=str(info.frame_rate),
        )
        if min(start.stored) < _SMALLEST_SIDE:
            size = f"{start.stored[1]}x{start.stored[0]}"
            raise MediaError(
                f"{self._source.files[0]}: its true size is only {size} pixels; "
                f"the shorter side must have {_SMALLEST_SIDE}"
            )
        self._store.add(start)
        return start

    def _split(self) -> Split:
        if self._held_out is not None:
            return "val" if self._identity in self._held_out else "train"
        share = self._store.header.val_share
        if self._source.type is SourceType.PHOTOGRAPH or share == 0:
            return "train"
        films = [s for s in self._store.sources.values() if s.type != "photograph"]
        # The second of every n films, so that two films suffice for one in each split.
        return "val" if len(films) % max(2, round(1 / share)) == 1 else "train"

    def _pieces(
        self, info: StreamInfo, frames: Iterator[Frame], start: SourceStart
    ) -> Iterator[_Piece]:
        """Split the frames into shots, and long shots into pieces that bound the memory."""
        height, width = start.stored
        longest = min(LONGEST_PIECE, _PIECE_BYTES // (height * width * 3 // 2))
        longest = max(longest, self._store.header.shortest)
        piece = _Piece(shot=0, part=0, planes=[])
        for frame, starts_shot in mark_cuts(frames):
            assert isinstance(frame, Frame)
            if piece.planes and (starts_shot or len(piece.planes) == longest):
                yield piece
                following = (piece.shot + 1, 0) if starts_shot else (piece.shot, piece.part + 1)
                piece = _Piece(*following, planes=[])
            piece.planes.append(_as_stored(frame, info, start))
        if piece.planes:
            yield piece

    def _add(self, piece: _Piece, start: SourceStart, info: StreamInfo) -> None:
        """Store a piece, or record why it is rejected."""
        if (piece.shot, piece.part) in self._done:
            return
        reason: RejectReason | None = None
        hashes: tuple[str, ...] = ()
        is_film = self._source.type is not SourceType.PHOTOGRAPH
        if is_film and len(piece.planes) < self._store.header.shortest:
            reason = RejectReason.SHORT
        else:
            reason = find_defect(piece.luma)
        if reason is None:
            hashes = signature(piece.luma)
            if self._duplicates.holds(hashes, self._identity, piece.shot):
                reason = RejectReason.DUPLICATE
        if reason is not None:
            self._store.add(
                RejectedStretch(
                    source=self._identity,
                    shot=piece.shot,
                    piece=piece.part,
                    frames=len(piece.planes),
                    reason=reason.value,
                )
            )
            return
        y, cb, cr = (np.stack(planes) for planes in zip(*piece.planes, strict=True))
        clip: Planes420 = (y, cb, cr)
        self._store.add_clip(
            clip,
            stored_spec(info),
            source=start,
            shot=piece.shot,
            piece=piece.part,
            hashes=hashes,
        )
        self._duplicates.add(hashes, self._identity, piece.shot)


def stored_spec(info: StreamInfo) -> ColourSpec:
    """Colour of a stream's stored clips: its matrix and range, in 8-bit 4:2:0."""
    spec = colour_spec(info)
    return ColourSpec(spec.matrix, spec.full_range)


def _as_stored(frame: Frame, info: StreamInfo, start: SourceStart) -> tuple[NDArray[np.uint8], ...]:
    """Convert a frame to Y, Cb and Cr in 8-bit 4:2:0, cropped and resized as it is stored."""
    top, left, height, width = start.crop
    source_spec, clip_spec = colour_spec(info), stored_spec(info)
    if source_spec == clip_spec:
        y, *chroma = (plane.view(np.uint8) for plane in frame.planes)
        across, down = slice(left // 2, (left + width) // 2), slice(top // 2, (top + height) // 2)
        planes = [y[top : top + height, left : left + width]]
        planes += [plane[down, across] for plane in chroma]
        if (height, width) == start.stored:
            return tuple(planes)
        # Resizing each plane separately moves chroma by less than a quarter of its sample.
        sizes = [(start.stored[1] // n, start.stored[0] // n) for n in (1, 2, 2)]
        return tuple(
            np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            for plane, size in zip(planes, sizes, strict=True)
        )
    rgb = planes_to_rgb(frame.planes, source_spec, _CPU)
    rgb = rgb[None, :, top : top + height, left : left + width]
    if (height, width) != start.stored:
        rgb = resize_bicubic(rgb, start.stored)
    return tuple(plane.view(np.uint8) for plane in rgb_to_planes(rgb[0], clip_spec))


def _to_8_bit(plane: NDArray[np.uint8] | NDArray[np.uint16], info: StreamInfo) -> NDArray[np.uint8]:
    return (plane >> (info.layout.bit_depth - 8)).astype(np.uint8)

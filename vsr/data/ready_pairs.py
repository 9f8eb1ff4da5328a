"""Prepare a data set from ready pairs: footage that has its own low-resolution version."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vsr.data.clip_codec import Planes420
from vsr.data.clip_quality import DuplicateIndex, RejectReason, signature
from vsr.data.prepare import LONGEST_PIECE, PrepareProgress, stored_spec
from vsr.data.sources import Source, SourceType, find_sources, open_source, source_info
from vsr.data.store import (
    Header,
    RejectedStretch,
    SourceEnd,
    SourceStart,
    Store,
    StoredClip,
    StoreWriter,
)
from vsr.errors import DataError, MediaError
from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import colour_spec, planes_to_rgb, rgb_to_planes
from vsr.imaging.colour import ColourSpec
from vsr.media.frame import Frame, StreamInfo

_SCALES = (2, 4)
_SCALE_SUFFIX = re.compile(r"[-_]?x[234]$", re.IGNORECASE)
"""Suffixes that data sets add to the names of low versions: 0001x4.png."""
_CPU = torch.device("cpu")


class SourcePair(NamedTuple):
    """A source and its low-resolution version."""

    low: Source
    high: Source
    scale: int

    @property
    def whole(self) -> Source:
        """A source of the files of both, whose identity covers both."""
        return Source(self.high.name, self.high.type, (*self.high.files, *self.low.files))


class _Piece(NamedTuple):
    """Consecutive frames of one shot, as they will be stored."""

    shot: int
    part: int
    high: list[tuple[NDArray[np.uint8], ...]]
    low: list[tuple[NDArray[np.uint8], ...]]


def find_pairs(low: Path, high: Path) -> list[SourcePair]:
    """Match the sources in two folders by name, ignoring suffixes.

    Raises `DataError` if the names, frame counts or sizes don't match.
    """
    lows, highs = _by_name(low), _by_name(high)
    for one, other, folder in ((highs, lows, low), (lows, highs, high)):
        unmatched = sorted(one.keys() - other.keys())
        if unmatched:
            source = one[unmatched[0]]
            more = f" (and {len(unmatched) - 1} more)" if len(unmatched) > 1 else ""
            raise DataError(f"{source.files[0]}: has no counterpart in {folder}{more}")
    return [_checked(lows[name], highs[name]) for name in sorted(highs)]


def prepare_pairs(
    pairs: Sequence[SourcePair],
    dataset: Path,
    header: Header,
    watch: Callable[[PrepareProgress], None] = lambda progress: None,
) -> Store:
    """Add ready pairs to the training split of a data set, skipping those that it already holds.

    Short shots and duplicates are rejected; frames are neither cropped nor resized. An interrupted
    call is resumed by repeating it. Raises `DataError`.
    """
    store = StoreWriter(dataset, header)
    duplicates = DuplicateIndex()
    for clip in store.clips():
        duplicates.add(clip.hashes, clip.source, clip.shot)
    for index, pair in enumerate(pairs):
        identity = pair.whole.identity()
        if identity in store.finished:
            continue
        frames, error = 0, None
        try:
            for piece in _Intake(store, duplicates, pair, identity).run():
                frames += len(piece.high)
                watch(
                    PrepareProgress(
                        source=pair.high.name,
                        number=index,
                        count=len(pairs),
                        frames=frames,
                        frame_count=None,
                    )
                )
        except MediaError as caught:
            error = str(caught)
        store.add(SourceEnd(source=identity, name=pair.high.name, frames=frames, error=error))
    if not store.clips():
        reasons = {line.error or "too short, or duplicates" for line in store.finished.values()}
        raise DataError(f"{dataset}: no pair is suitable: {'; '.join(sorted(reasons))}")
    return store


class _Intake:
    """Adds one pair to a data set."""

    def __init__(
        self, store: StoreWriter, duplicates: DuplicateIndex, pair: SourcePair, identity: str
    ) -> None:
        self._store = store
        self._duplicates = duplicates
        self._pair = pair
        self._identity = identity
        done: list[StoredClip | RejectedStretch] = [*store.clips(), *store.rejected()]
        self._done = {(line.shot, line.piece) for line in done if line.source == identity}

    def run(self) -> Iterator[_Piece]:
        """Store the pieces, yielding each when it is done."""
        _check_counts(self._pair)
        low_info, low_frames = open_source(self._pair.low)
        info, frames = open_source(self._pair.high)
        start = self._store.sources.get(self._identity) or self._start(info, low_info)
        spec = stored_spec(info)
        for piece in self._pieces((info, frames), (low_info, low_frames), start):
            if (piece.shot, piece.part) not in self._done:
                self._add(piece, start, spec)
            yield piece

    def _start(self, info: StreamInfo, low_info: StreamInfo) -> SourceStart:
        scale = self._pair.scale
        height, width = scale * (low_info.height // 2 * 2), scale * (low_info.width // 2 * 2)
        start = SourceStart(
            source=self._identity,
            name=self._pair.high.name,
            type=self._pair.high.type.value,
            split="train",
            width=info.width,
            height=info.height,
            crop=(0, 0, height, width),
            stored=(height, width),
            frame_rate=str(info.frame_rate),
        )
        self._store.add(start)
        return start

    def _pieces(
        self,
        high: tuple[StreamInfo, Iterator[Frame]],
        low: tuple[StreamInfo, Iterator[Frame]],
        start: SourceStart,
    ) -> Iterator[_Piece]:
        (info, frames), (low_info, low_frames) = high, low
        spec, size = stored_spec(info), start.stored
        low_size = (size[0] // self._pair.scale, size[1] // self._pair.scale)
        piece = _Piece(shot=0, part=0, high=[], low=[])
        for (frame, starts_shot), low_frame in zip(mark_cuts(frames), low_frames, strict=True):
            assert isinstance(frame, Frame)
            if piece.high and (starts_shot or len(piece.high) == LONGEST_PIECE):
                yield piece
                following = (piece.shot + 1, 0) if starts_shot else (piece.shot, piece.part + 1)
                piece = _Piece(*following, high=[], low=[])
            piece.high.append(_planes(frame, colour_spec(info), spec, size))
            piece.low.append(_planes(low_frame, colour_spec(low_info), spec, low_size))
        if piece.high:
            yield piece

    def _add(self, piece: _Piece, start: SourceStart, spec: ColourSpec) -> None:
        luma = [planes[0] for planes in piece.high]
        hashes = signature(luma)
        reason: RejectReason | None = None
        is_film = self._pair.high.type is not SourceType.PHOTOGRAPH
        if is_film and len(luma) < self._store.header.shortest:
            reason = RejectReason.SHORT
        elif self._duplicates.holds(hashes, self._identity, piece.shot):
            reason = RejectReason.DUPLICATE
        if reason is not None:
            self._store.add(
                RejectedStretch(
                    source=self._identity,
                    shot=piece.shot,
                    piece=piece.part,
                    frames=len(luma),
                    reason=reason.value,
                )
            )
            return
        self._store.add_clip(
            _stacked(piece.high),
            spec,
            source=start,
            shot=piece.shot,
            piece=piece.part,
            hashes=hashes,
            low=_stacked(piece.low),
        )
        self._duplicates.add(hashes, self._identity, piece.shot)


def _by_name(folder: Path) -> dict[str, Source]:
    """The sources in a folder by name, without suffixes and scale marks."""
    found: dict[str, Source] = {}
    for source in find_sources([folder]):
        name = _SCALE_SUFFIX.sub("", str(Path(source.name).with_suffix("")))
        if name in found:
            raise DataError(f"{source.files[0]}: has the same name as {found[name].files[0]}")
        found[name] = source
    return found


def _checked(low: Source, high: Source) -> SourcePair:
    """Pair two sources whose types, sizes and frame counts match; raises `DataError`."""
    where = f"{low.files[0]} and {high.files[0]}"
    if low.type is not high.type:
        raise DataError(f"{where}: one is {low.type.value}, the other {high.type.value}")
    counts = (len(low.files), len(high.files))
    if counts[0] != counts[1]:  # those of films are checked by `_check_counts`
        raise DataError(f"{where}: have {counts[0]} and {counts[1]} frames")
    small, large = source_info(low), source_info(high)
    scale = large.height // small.height
    if scale not in _SCALES or (large.height, large.width) != (
        scale * small.height,
        scale * small.width,
    ):
        raise DataError(
            f"{where}: {small.width}x{small.height} and {large.width}x{large.height}; the sides of "
            "HIGH must be 2 or 4 times those of LOW, and LOW is named first"
        )
    return SourcePair(low, high, scale)


def _check_counts(pair: SourcePair) -> None:
    """Decode two films and compare their frame counts; raises `MediaError` where they differ.

    A frame that one of them lacks would misalign all frames after it.
    """
    if pair.high.type is not SourceType.FILM:
        return
    low, high = (sum(1 for _ in open_source(source)[1]) for source in (pair.low, pair.high))
    if low != high:
        files = (pair.low.files[0], pair.high.files[0])
        raise MediaError(f"{files[0]}: has {low} frames, {files[1]} {high}")


def _planes(
    frame: Frame, spec: ColourSpec, clip_spec: ColourSpec, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], ...]:
    """Convert a frame to Y, Cb and Cr in 8-bit 4:2:0, cropped to its upper left (height, width)."""
    height, width = size
    if spec == clip_spec:
        return tuple(
            plane.view(np.uint8)[: height // n, : width // n]
            for plane, n in zip(frame.planes, (1, 2, 2), strict=True)
        )
    rgb = planes_to_rgb(frame.planes, spec, _CPU)[:, :height, :width]
    return tuple(plane.view(np.uint8) for plane in rgb_to_planes(rgb, clip_spec))


def _stacked(frames: Sequence[tuple[NDArray[np.uint8], ...]]) -> Planes420:
    y, cb, cr = (np.stack(planes) for planes in zip(*frames, strict=True))
    return y, cb, cr

"""Detect cuts between shots in a stream of frames."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from vsr.frames.gpu_surface import small_planes
from vsr.media.decode.hw_surface import Surface
from vsr.media.frame import Frame, Plane

logging.getLogger("pyscenedetect").setLevel(logging.WARNING)

_LOOK_AHEAD_FRAMES = 2
_SHORTEST_SHOT_FRAMES = 5
_ANALYSED_WIDTH = 192

LOOK_BACK_FRAMES = 2
"""Previous frames on which the detection of cuts depends after a restart."""

LOCAL_WINDOW_BEFORE, LOCAL_WINDOW_AFTER = 7, 2
"""Frames before and after a frame on which its flag of a `LocalCutDetector` depends."""

Item = TypeVar("Item")
Thumbnail = NDArray[np.uint8]


class CutMarker(Iterator[tuple[Item | Frame, bool]]):
    """Iterates over items, each with a flag: whether it is the first frame of a shot.

    PySceneDetect's adaptive detector: the first frame of a shot differs from the previous one by
    much more than the frames around it do. The detector looks two frames ahead, so up to two frames
    are buffered. Items that aren't frames keep their order.
    """

    def __init__(self, items: Iterable[Item | Frame], before: Sequence[Frame] = ()) -> None:
        """Mark `items`; `before` are the frames before them, if they don't start the film.

        Without `before`, the first frame is flagged.
        """
        self._items = iter(items)
        self._buffered: deque[tuple[int | None, Item | Frame]] = deque()
        self._seen: deque[tuple[int, Thumbnail]] = deque(
            maxlen=LOOK_BACK_FRAMES + 1 + _LOOK_AHEAD_FRAMES
        )
        self._count = 0
        self._cuts: set[int] = set() if before else {0}
        self._replay((index - len(before), _thumbnail(frame)) for index, frame in enumerate(before))

    def restart(self) -> None:
        """Discard the state, except the last two frames, like a new marker after the last item.

        The next flags don't depend on earlier ones.
        """
        self._cuts = set()
        self._replay(list(self._seen))

    def __next__(self) -> tuple[Item | Frame, bool]:
        while not (self._buffered and self._is_known(self._buffered[0][0])):
            try:
                item = next(self._items)
            except StopIteration:
                if not self._buffered:
                    raise
                break
            if isinstance(item, Frame):
                self._detect(self._count, _thumbnail(item))
                self._buffered.append((self._count, item))
                self._count += 1
            else:
                self._buffered.append((None, item))
        index, ready = self._buffered.popleft()
        return ready, index in self._cuts

    def _is_known(self, index: int | None) -> bool:
        """Whether the flag of a buffered item is final."""
        return index is None or index < self._count - _LOOK_AHEAD_FRAMES

    def _replay(self, seen: Iterable[tuple[int, Thumbnail]]) -> None:
        self._detector = AdaptiveDetector(
            window_width=_LOOK_AHEAD_FRAMES, min_scene_len=_SHORTEST_SHOT_FRAMES
        )
        for index, thumbnail in seen:
            self._detect(index, thumbnail)

    def _detect(self, index: int, thumbnail: Thumbnail) -> None:
        # The detector needs increasing positive frame numbers; real times don't matter.
        timecode = FrameTimecode(index + LOOK_BACK_FRAMES, fps=Fraction(25))
        found = self._detector.process_frame(timecode, thumbnail)
        self._cuts.update(cut.frame_num - LOOK_BACK_FRAMES for cut in found)
        if not self._seen or index > self._seen[-1][0]:
            self._seen.append((index, thumbnail))


class LocalCutDetector:
    """Detects cuts from a window of frames, so that flags don't depend on where reading starts.

    The criterion is that of `CutMarker`. A frame that meets it starts a shot unless one of the four
    frames before it meets it, too. `CutMarker` counts these frames from the last cut.
    """

    def __init__(self, first: int) -> None:
        """Expect the frames from index `first` on.

        Flags are right from the frame `LOCAL_WINDOW_BEFORE` after it on, and all of them if it is
        0, the first frame of a clip, which starts a shot.
        """
        self._next = first
        self._candidates = {0} if first == 0 else set[int]()
        self._detector = AdaptiveDetector(window_width=_LOOK_AHEAD_FRAMES, min_scene_len=0)

    def push(self, frame: Frame) -> None:
        """Analyse the next frame."""
        timecode = FrameTimecode(self._next + LOOK_BACK_FRAMES, fps=Fraction(25))
        found = self._detector.process_frame(timecode, _thumbnail(frame))
        self._candidates.update(cut.frame_num - LOOK_BACK_FRAMES for cut in found)
        self._next += 1
        oldest = self._next - _LOOK_AHEAD_FRAMES - 2 * _SHORTEST_SHOT_FRAMES
        self._candidates = {index for index in self._candidates if index > oldest}

    def is_cut(self, index: int) -> bool:
        """Return whether a shot starts at one of the last frames.

        It is final when `LOCAL_WINDOW_AFTER` more frames are analysed, or where the clip ends.
        """
        recent = range(index - _SHORTEST_SHOT_FRAMES + 1, index)
        return index in self._candidates and not self._candidates.intersection(recent)


def mark_cuts(items: Iterable[Item | Frame]) -> Iterator[tuple[Item | Frame, bool]]:
    """Flag the first frame of each shot; see `CutMarker`."""
    return CutMarker(items)


def _thumbnail(frame: Frame) -> Thumbnail:
    """Downscale a frame to a small BGR picture for the detector; its colours are approximate."""
    planes = frame.planes
    height, width = planes.size if isinstance(planes, Surface) else planes[0].shape
    rows, columns = max(8, round(height * _ANALYSED_WIDTH / width)), _ANALYSED_WIDTH
    if isinstance(planes, Surface):
        y, cb, cr = small_planes(planes, (rows, columns))
    else:
        excess = frame.bit_depth - 8
        y, cb, cr = (_small(plane, rows, columns, excess) for plane in planes[:3])
    return np.asarray(cv2.cvtColor(cv2.merge((y, cr, cb)), cv2.COLOR_YCrCb2BGR), dtype=np.uint8)


def _small(plane: Plane, rows: int, columns: int, excess: int) -> Thumbnail:
    """Downscale a plane; of uint16, the lowest `excess` bits are dropped."""
    small = cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small if small.dtype == np.uint8 else small // 2**excess, dtype=np.uint8)

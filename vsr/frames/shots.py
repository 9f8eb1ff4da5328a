"""Where one shot ends and the next begins, found while frames stream by."""

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
"""Before a place, that decide with what follows it where the next cut is."""

Item = TypeVar("Item")
Thumbnail = NDArray[np.uint8]


class CutMarker(Iterator[tuple[Item | Frame, bool]]):
    """Each item, and whether it is a frame that begins a new shot.

    PySceneDetect's adaptive detector: a frame differs from the one before it by much
    more than the frames around do. It looks two frames ahead, so that is how many
    are held; what isn't a frame keeps its place among them.
    """

    def __init__(self, items: Iterable[Item | Frame], before: Sequence[Frame] = ()) -> None:
        """Mark `items`; `before` are the frames before them, where these don't begin the film.

        The first frame counts as a beginning unless there are frames before it.
        """
        self._items = iter(items)
        self._held: deque[tuple[int | None, Item | Frame]] = deque()
        self._seen: deque[tuple[int, Thumbnail]] = deque(
            maxlen=LOOK_BACK_FRAMES + 1 + _LOOK_AHEAD_FRAMES
        )
        self._count = 0
        self._cuts: set[int] = set() if before else {0}
        self._look_from(
            (number - len(before), _thumbnail(frame)) for number, frame in enumerate(before)
        )

    def start_anew(self) -> None:
        """Forget all but the last two frames, as if a new marker began after the last item.

        What it marks from there on doesn't depend on what it marked before.
        """
        self._cuts = set()
        self._look_from(list(self._seen))

    def __next__(self) -> tuple[Item | Frame, bool]:
        while not (self._held and self._is_known(self._held[0][0])):
            try:
                item = next(self._items)
            except StopIteration:
                if not self._held:
                    raise
                break
            if isinstance(item, Frame):
                self._look(self._count, _thumbnail(item))
                self._held.append((self._count, item))
                self._count += 1
            else:
                self._held.append((None, item))
        number, ready = self._held.popleft()
        return ready, number in self._cuts

    def _is_known(self, number: int | None) -> bool:
        """Whether all that decides about the item at the front has been seen."""
        return number is None or number < self._count - _LOOK_AHEAD_FRAMES

    def _look_from(self, seen: Iterable[tuple[int, Thumbnail]]) -> None:
        self._detector = AdaptiveDetector(
            window_width=_LOOK_AHEAD_FRAMES, min_scene_len=_SHORTEST_SHOT_FRAMES
        )
        for number, thumbnail in seen:
            self._look(number, thumbnail)

    def _look(self, number: int, thumbnail: Thumbnail) -> None:
        # Frames are numbered for the detector, from above 0; their times don't matter to it.
        here = FrameTimecode(number + LOOK_BACK_FRAMES, fps=Fraction(25))
        found = self._detector.process_frame(here, thumbnail)
        self._cuts.update(cut.frame_num - LOOK_BACK_FRAMES for cut in found)
        if not self._seen or number > self._seen[-1][0]:
            self._seen.append((number, thumbnail))


def mark_cuts(items: Iterable[Item | Frame]) -> Iterator[tuple[Item | Frame, bool]]:
    """Each item, and whether it is a frame that begins a new shot; see `CutMarker`."""
    return CutMarker(items)


def _thumbnail(frame: Frame) -> Thumbnail:
    """A small BGR picture for the detector; its colours need not be exact."""
    planes = frame.planes
    height, width = planes.size if isinstance(planes, Surface) else planes[0].shape
    rows, columns = max(8, round(height * _ANALYSED_WIDTH / width)), _ANALYSED_WIDTH
    if isinstance(planes, Surface):
        y, cb, cr = small_planes(planes, (rows, columns))
    else:
        y, cb, cr = (_small(plane, rows, columns) for plane in planes[:3])
    return np.asarray(cv2.cvtColor(cv2.merge((y, cr, cb)), cv2.COLOR_YCrCb2BGR), dtype=np.uint8)


def _small(plane: Plane, rows: int, columns: int) -> Thumbnail:
    small = cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small if small.dtype == np.uint8 else small // 4, dtype=np.uint8)

"""Where one shot ends and the next begins, found while frames stream by."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from vsr.media.frame import Frame

logging.getLogger("pyscenedetect").setLevel(logging.WARNING)

_LOOK_AHEAD_FRAMES = 2
_SHORTEST_SHOT_FRAMES = 5
_ANALYSED_WIDTH = 192

Item = TypeVar("Item")


def mark_cuts(items: Iterable[Item | Frame]) -> Iterator[tuple[Item | Frame, bool]]:
    """Each item, and whether it is a frame that begins a new shot.

    PySceneDetect's adaptive detector: a frame differs from the one before it by much
    more than the frames around do. It looks two frames ahead, so that is how many
    are held; what isn't a frame keeps its place among them. The first frame counts
    as a beginning.
    """
    detector = AdaptiveDetector(
        window_width=_LOOK_AHEAD_FRAMES, min_scene_len=_SHORTEST_SHOT_FRAMES
    )
    held: deque[tuple[int, Item | Frame]] = deque()
    cuts = {0}
    count = 0
    for item in items:
        if isinstance(item, Frame):
            # Frames are numbered for the detector; their real times don't matter to it.
            here = FrameTimecode(count, fps=Fraction(25))
            found = detector.process_frame(here, _thumbnail(item))
            cuts.update(cut.frame_num for cut in found)
            held.append((count, item))
            count += 1
        else:
            held.append((-1, item))
        while held and held[0][0] < count - _LOOK_AHEAD_FRAMES:
            number, ready = held.popleft()
            yield ready, number in cuts
            cuts.discard(number)
    for number, ready in held:
        yield ready, number in cuts


def _thumbnail(frame: Frame) -> NDArray[np.uint8]:
    """A small BGR picture for the detector; its colours need not be exact."""
    height, width = frame.planes[0].shape
    size = (_ANALYSED_WIDTH, max(8, round(height * _ANALYSED_WIDTH / width)))
    planes = []
    for plane in frame.planes:
        small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        planes.append(small if small.dtype == np.uint8 else (small // 4).astype(np.uint8))
    y, cb, cr = planes
    return np.asarray(cv2.cvtColor(cv2.merge((y, cr, cb)), cv2.COLOR_YCrCb2BGR), dtype=np.uint8)

"""Analyse the fields of some of the frames that pass through a reader."""

from av.video.frame import VideoFrame

from vsr.media.decode.comb import CombFinder, FieldFinding, luma_of

_RUN, _INTERVAL = 16, 160
"""Consecutive frames to analyse, of so many: the rest passes at no cost."""


class FieldWatch:
    """Analyses runs of frames, for findings that a survey before the run could not have."""

    def __init__(self) -> None:
        self._combs = CombFinder()
        self._count = 0
        self._flagged = False

    def add(self, frame: VideoFrame) -> None:
        """Add the next decoded frame."""
        place = self._count % _INTERVAL
        self._count += 1
        self._flagged |= frame.interlaced_frame
        if place == 0:
            self._combs.start_run()
        if place < _RUN and (luma := luma_of(frame)) is not None:
            self._combs.add(luma)

    @property
    def is_flagged(self) -> bool:
        """Whether a frame is flagged as interlaced."""
        return self._flagged

    def finding(self) -> FieldFinding:
        """Decide on all frames so far."""
        return self._combs.finding()

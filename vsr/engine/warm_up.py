"""Find the frames before a part of a film that bring the network into its state.

The state is reset at each cut, so a network that starts at the last cut before the part computes
what it computes in a run over the whole film.
"""

from collections import deque
from typing import NamedTuple

from vsr.frames.shots import LOOK_BACK_FRAMES, CutMarker
from vsr.media.decode.part import PartClock
from vsr.media.decode.part_times import FoundPart, begins_late, check_not_empty
from vsr.media.decode.picture_reader import FilmReader
from vsr.media.fingerprint import FrameFingerprint, fingerprint_of
from vsr.media.frame import Frame

MAX_WARM_UP_FRAMES = 240
"""Maximum count of frames before the part that are upscaled, about ten seconds.

Within longer shots, a network starts this many frames before the part, and its rounding errors
differ. Measured with the included models, at 640x360 pixels of output: in f32, no sample differs by
more than one code value from the 17th frame on, and fewer than ten of 345,600 do after 60 frames.
But the difference never vanishes. In int8, 14 to 24 % of the samples differ by up to 9 code values
until the next cut, however long the network has run.
"""
_SEEK_SECONDS = 10
"""Before the first frame of which the cut matters, so that all of the decoder's state is right."""

NO_CUT = (
    f"no cut in the {MAX_WARM_UP_FRAMES} frames before the part: its samples may differ by a few "
    "code values from those of a whole run"
)


class WarmUp(NamedTuple):
    """The start of a part."""

    marks: tuple[FrameFingerprint, ...]
    """Fingerprints of the frames just before those that warm the network up; empty if those start
    the film."""
    first: int
    """pts of the part's first frame."""
    is_exact: bool
    """Whether the network starts at a cut, or with the film."""


def find_warm_up(
    reader: FilmReader,
    clock: PartClock,
    found: FoundPart | None,
    most: int = MAX_WARM_UP_FRAMES,
) -> WarmUp:
    """Decode the frames before a part, and find its first frame and the last cut.

    At most the last `most` frames matter. `found` is the part by its packets, if those have times.
    Only a start in seconds is sought; frames are counted from the start of the film. Raises
    `MediaError` where the film ends before.
    """
    if found is not None and found.is_seekable and not clock.part.start.in_frames:
        ticks = most / (clock.frame_rate * clock.time_base)
        reader.seek_before(found.pts[0] - round(ticks), _SEEK_SECONDS)
        if warm_up := _scan(reader, clock, most, is_sought=True):
            return warm_up
        reader.reopen()
    warm_up = _scan(reader, clock, most, is_sought=False)
    assert warm_up is not None
    return warm_up


def _scan(reader: FilmReader, clock: PartClock, most: int, is_sought: bool) -> WarmUp | None:
    """Read up to the part; None if seeking led behind the first frame that matters."""
    last: deque[Frame] = deque(maxlen=LOOK_BACK_FRAMES)
    marks: tuple[FrameFingerprint, ...] = ()
    is_warm = is_exact = False
    index = 0
    for index, (frame, is_cut) in enumerate(CutMarker(reader.frames())):
        assert isinstance(frame, Frame)
        if clock.has_started(frame.pts, index, most):
            if is_sought and index == 0 and frame.pts > clock.origin:
                return None
            if is_cut or not is_warm:
                marks = tuple(fingerprint_of(previous) for previous in last)
                is_warm, is_exact = True, is_cut
        if clock.has_started(frame.pts, index):
            check_not_empty(reader.path, clock, frame.pts)
            return WarmUp(marks, frame.pts, is_exact)
        last.append(frame)
    if is_sought:
        return None
    raise begins_late(reader.path, clock, index + 1, last[-1].pts)

"""Read numbered pictures as the frames of a film."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from vsr.errors import ConfigError, MediaError
from vsr.media.decode.conform import FormatChange
from vsr.media.decode.demuxer import Damage
from vsr.media.decode.field_mode import FieldMode
from vsr.media.decode.field_watch import FieldWatch
from vsr.media.decode.reader import VideoReader
from vsr.media.fingerprint import FrameFingerprint, fingerprint_of
from vsr.media.frame import ColourTags, Frame, StreamInfo
from vsr.media.image import read_still
from vsr.media.numbered_pictures import NumberedPictures
from vsr.media.picture_planes import (
    BT709,
    SRGB,
    metadata_of,
    picture_layout,
    planes_of_picture,
)
from vsr.media.still import Still

DEFAULT_RATE = Fraction(25)
"""Frames per second where only times of a part depend on the rate."""
_NTSC = Fraction(1000, 1001)
_NTSC_RATES = (24, 30, 48, 60, 120)
_LEAST_CLOCK = 1000
"""Ticks per second of which the clock of a film has at least this many."""
_MAX_RATE = 1000


def parse_rate(text: Fraction | float | str) -> Fraction:
    """Parse frames per second: `24`, `24000/1001`, or `23.976`, which is 24000/1001.

    Raises `ConfigError`.
    """
    try:
        rate = Fraction(str(text).strip())
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= _MAX_RATE:
        raise ConfigError(
            f"--rate {text}: is no frame rate; write frames per second, such as 24, 23.976 or "
            "24000/1001"
        )
    for whole in _NTSC_RATES:
        if rate != whole and abs(rate - whole * _NTSC) < Fraction(5, 1000):
            return whole * _NTSC
    return rate


class PictureReader:
    """Reads numbered pictures as `VideoReader` reads a film; there are no other streams.

    Planes have 15 bits in full range, see `picture_planes`. Each frame has the metadata of its
    picture. Raises `MediaError` where a picture can't be read or has changed its format.
    """

    def __init__(self, pictures: NumberedPictures, rate: Fraction | None = None) -> None:
        """Read `pictures` at `rate` frames per second; None if times don't matter."""
        self.pictures = pictures
        self.path: Path = pictures.source
        self.rate = rate
        self.notes: list[str] = []
        """Messages for the user, one line each."""
        self.damage = Damage([])
        self.side_data: dict[str, float] = {}
        self.watch: FieldWatch | None = None
        self.field_mode = FieldMode()
        self.first_pts = self.interlaced = 0
        self.is_indexed = True
        self.is_rotated = self.on_gpu = False
        self.codec = pictures.pattern.suffix.removeprefix(".")
        rate = rate or DEFAULT_RATE
        scale = -(-_LEAST_CLOCK // rate.numerator)
        self._ticks = rate.denominator * scale
        """Duration of a frame."""
        self._next = 0
        self.first: Still = self._read(0)
        """The first picture."""
        form = pictures.format
        self.info = StreamInfo(
            width=form.width,
            height=form.height,
            layout=picture_layout(form.alpha),
            colour=ColourTags(BT709, BT709, SRGB, full_range=True),
            time_base=Fraction(1, rate.numerator * scale),
            frame_rate=rate,
            frame_count=len(pictures.files),
            sample_aspect_ratio=Fraction(1),
            coded_bits=min(form.bits, 16),
        )

    def __enter__(self) -> "PictureReader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self) -> Iterator[Frame]:
        """Iterate over the frames, from the position on."""
        while self._next < len(self.pictures.files):
            index = self._next
            self._next += 1
            yield self._frame(index)

    def number_of(self, pts: int) -> int:
        """Return the number in the name of the picture at a time."""
        return self.pictures.first + pts // self._ticks

    def times(self) -> list[int]:
        """Return the pts of all frames."""
        return [index * self._ticks for index in range(len(self.pictures.files))]

    def reopen(self) -> None:
        """Read from the first picture on."""
        self._next = 0

    def seek_to_middle(self) -> None:
        """Read from the middle on."""
        self._next = len(self.pictures.files) // 2

    def seek_before(self, pts: int, seconds: int = 0) -> None:
        """Read from some seconds before `pts` on."""
        index = (pts - round(seconds / self.info.time_base)) // self._ticks
        self._next = min(max(0, index), len(self.pictures.files) - 1)

    def resume_after(self, fingerprints: Sequence[FrameFingerprint]) -> list[Frame]:
        """Return the frames with these fingerprints; the next frames are those after them.

        Raises `MediaError` where the pictures have changed.
        """
        self.reopen()
        last = []
        for fingerprint in fingerprints:
            index = fingerprint.pts // self._ticks
            frame = self._frame(index) if index < len(self.pictures.files) else None
            if frame is None or fingerprint_of(frame) != fingerprint:
                raise MediaError(f"{self.path}: its pictures have changed since the run started")
            last.append(frame)
            self._next = index + 1
        return last

    def announce(self, change: FormatChange, line: str | None) -> None:
        """Do nothing: all pictures have one format."""

    def set_bottom_first(self) -> None:
        """Do nothing: pictures have no fields."""

    def field_notes(self) -> list[str]:
        """Return no line: pictures have no fields."""
        return []

    @property
    def lead(self) -> Fraction:
        """Return 0: the first picture is at time zero."""
        return Fraction(0)

    @property
    def source_rate(self) -> Fraction:
        """Frames per second."""
        return self.info.frame_rate

    def _frame(self, index: int) -> Frame:
        still = self._read(index)
        return Frame(
            planes=planes_of_picture(still),
            pts=index * self._ticks,
            duration=self._ticks,
            bit_depth=self.info.layout.bit_depth,
            picture=metadata_of(still),
        )

    def _read(self, index: int) -> Still:
        path, form = self.pictures.files[index], self.pictures.format
        still = read_still(path)
        height, width = still.rgb.shape[:2]
        if (width, height, still.alpha is not None) != (form.width, form.height, form.alpha):
            raise MediaError(f"{path}: is {width}x{height} now, not {form}; it has changed")
        return still


FilmReader = VideoReader | PictureReader
"""A film in a file, or numbered pictures."""

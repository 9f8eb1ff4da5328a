"""Compare films of numbered pictures with their sources."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vsr.errors import MediaError
from vsr.media.decode.frame_times import frame_times
from vsr.media.decode.part import Part, PartClock
from vsr.media.decode.picture_reader import DEFAULT_RATE, FilmReader, PictureReader
from vsr.media.decode.reader import VideoReader
from vsr.media.image import read_still
from vsr.media.numbered_pictures import NumberedPictures, find_pictures, is_picture_pattern
from vsr.media.verify.finding import Finding

_ROUNDING = 2
"""Pixels by which a side may differ from the aspect ratio."""
_CLOCK = Fraction(1, 1000)
"""Seconds by which the time of a frame may be rounded, as in Matroska."""


@dataclass(frozen=True)
class _Frames:
    """The frames of a film, or numbered pictures."""

    width: int
    height: int
    bits: int
    alpha: bool
    times: Sequence[float]
    """Seconds; those of pictures are at 25 frames per second, or at that of the film."""
    pictures: NumberedPictures | None
    first: int = 0
    """Number of the first picture."""


def names_numbered(source: Path, output: Path) -> bool:
    """Whether a comparison has numbered pictures on one side or both, as patterns or folders."""
    is_folder = source.is_dir(), output.is_dir()
    is_pattern = any(is_picture_pattern(path) and not path.exists() for path in (source, output))
    return is_pattern or is_folder in ((True, False), (False, True))


def verify_numbered(source: Path, output: Path, part: Part | None = None) -> list[Finding]:
    """Compare numbered pictures with their source: a film, or such pictures.

    Either side can be a film. Counts, sizes, depths and transparency are compared, numbers of
    pictures to pictures, and times of the frames of a film. All pictures of the output are
    decoded. With a `part` of the source, the output holds its frames alone. Raises `MediaError`
    where a number is missing, or a side can't be read.
    """
    rate = _rate_of(output) if not _is_pictures(output) else None
    before, after = _read(source, rate, part), _read(output, None, None)
    return list(_findings(before, after))


def _is_pictures(path: Path) -> bool:
    return path.is_dir() or (is_picture_pattern(path) and not path.exists())


def _rate_of(film: Path) -> Fraction:
    with VideoReader(film) as reader:
        return reader.info.frame_rate


def _read(path: Path, rate: Fraction | None, part: Part | None) -> _Frames:
    reader: FilmReader
    if _is_pictures(path):
        reader = PictureReader(find_pictures(path), rate or DEFAULT_RATE)
        times = [float(pts * reader.info.time_base) for pts in reader.times()]
    else:
        reader = VideoReader(path)
        times = frame_times(path)
    with reader:
        info = reader.info
        clock = info.time_base
        chosen = list(range(len(times)))
        if part is not None:
            limits = PartClock(part, round(Fraction(times[0]) / clock), clock, info.frame_rate)
            ticks = [round(Fraction(time) / clock) for time in times]
            chosen = [index for index in chosen if limits.has_started(ticks[index], index)]
            start = ticks[chosen[0]] if chosen else 0
            chosen = [
                index
                for at, index in enumerate(chosen)
                if not limits.has_ended(ticks[index], at, start)
            ]
        pictures = reader.pictures if isinstance(reader, PictureReader) else None
        return _Frames(
            width=info.width,
            height=info.height,
            bits=info.bits,
            alpha=info.layout.alpha,
            times=[times[index] - times[chosen[0]] for index in chosen],
            pictures=pictures,
            first=pictures.first + chosen[0] if pictures and chosen else 0,
        )


def _findings(before: _Frames, after: _Frames) -> Iterator[Finding]:
    counts = len(before.times), len(after.times)
    yield Finding("frames", str(counts[0]), str(counts[1]), counts[0] == counts[1])
    expected = after.width * before.height / before.width
    kept = abs(expected - after.height) <= _ROUNDING
    sizes = [f"{side.width}x{side.height}" for side in (before, after)]
    yield Finding("frame size", sizes[0], sizes[1], kept)
    yield Finding("bits", str(before.bits), str(after.bits), after.bits >= before.bits)
    alphas = ["yes" if side.alpha else "none" for side in (before, after)]
    yield Finding("transparency", alphas[0], alphas[1], after.alpha or not before.alpha)
    if after.pictures is None:
        errors = [abs(a - b) for a, b in zip(before.times, after.times, strict=False)]
        spans = [f"0-{side.times[-1]:.4f} s" if side.times else "none" for side in (before, after)]
        yield Finding("frame times", spans[0], spans[1], max(errors, default=0) <= _CLOCK)
        return
    if before.pictures is not None:
        first = str(before.first), str(after.first)
        yield Finding("first number", first[0], first[1], first[0] == first[1])
    unreadable = [path.name for path in after.pictures.files if not _is_readable(path)]
    found = "all" if not unreadable else f"not {', '.join(unreadable[:3])}"
    yield Finding("readable pictures", "all", found, not unreadable)


def _is_readable(path: Path) -> bool:
    try:
        read_still(path)
    except MediaError:
        return False
    return True

"""Compare the contents of an output with those of its source."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from av.stream import Disposition

from vsr.media.decode.conform import Tag, is_said, same_code
from vsr.media.decode.side_data import CAPTIONS, DOLBY_VISION, SPHERICAL, STEREO, TIMECODE, WORDS
from vsr.media.decode.survey import Survey
from vsr.media.frame import StreamInfo
from vsr.media.verify.contents import FilmContents, Track, read_contents
from vsr.media.verify.finding import Finding

_PCM_TOLERANCE = Fraction(1, 50)
"""Seconds: QuickTime counts samples of PCM, while times on discs may deviate a little."""
_UNSPECIFIED_LANGUAGES = ("", "und")


def verify_film(source: Path, output: Path) -> list[Finding]:
    """Compare an upscaled film with its source.

    All packets of both files are read; of the video, only times and some frames are compared. Times
    may differ by half a tick of the coarser clock. A finding reports read errors. Raises
    `MediaError` where a file can't be read at all.
    """
    before, after = read_contents(source), read_contents(output)
    findings = []
    if (before.readable(), after.readable()) != ("whole", "whole"):
        kept = after.readable() == "whole"
        findings.append(Finding("readable", before.readable(), after.readable(), kept))
    findings += [*_video(before, after), *_side_data(before, after), *_tracks(before, after)]
    if before.chapters or after.chapters:
        told = [
            [f"{float(a):.2f}-{float(b):.2f} {t}" for a, b, t in f.chapters]
            for f in (before, after)
        ]
        kept = len(before.chapters) == len(after.chapters) and all(
            abs(one[0] - other[0]) <= Fraction(1, 1000) and one[2] == other[2]
            for one, other in zip(before.chapters, after.chapters, strict=True)
        )
        findings.append(Finding("chapters", _few(told[0]), _few(told[1]), kept))
    for key, value in sorted(before.tags.items()):
        found = _tag(after.tags, key)
        findings.append(Finding(f"tag {key}", value, found or "none", found == value))
    return findings


def _video(before: FilmContents, after: FilmContents) -> Iterator[Finding]:
    one, other = before.info, after.info
    scale = Fraction(other.width, one.width)
    turned = Fraction(other.width, one.height)
    same_shape = other.height == scale * one.height or other.height == turned * one.width
    yield Finding("frame size", _size(one), _size(other), same_shape)
    yield _same("frames", len(before.times), len(after.times))
    slack = max(one.time_base, other.time_base) / 2 + Fraction(1, 10**9)
    late = [
        abs(mine * one.time_base - theirs * other.time_base)
        for mine, theirs in zip(before.times, after.times, strict=False)
    ]
    kept = bool(late) and max(late) <= slack and len(before.times) == len(after.times)
    yield Finding("frame times", _span(before), _span(after), kept)
    finest = max(one.time_base, Fraction(1, 1000))  # Matroska's
    yield _same("clock", one.time_base, other.time_base, other.time_base <= finest)
    applied = one.display_matrix is not None and other.display_matrix is None
    turned_now = applied and other.height == turned * one.width
    aspect, found = one.sample_aspect_ratio, other.sample_aspect_ratio
    yield _same("pixel aspect", aspect, found, found == (1 / aspect if turned_now else aspect))
    turn = one.display_matrix == other.display_matrix or applied
    yield _same("display matrix", one.display_matrix, other.display_matrix, turn)
    here, there = one.layout, other.layout
    yield _same("bit depth", one.bits, other.bits, other.bits >= one.bits)
    fine = (there.across, there.down) <= (here.across, here.down)
    chroma = [f"{layout.across}x{layout.down}" for layout in (here, there)]
    yield _same("chroma subsampling", chroma[0], chroma[1], fine)
    yield _same("alpha", here.alpha, there.alpha, there.alpha >= here.alpha)
    tags: tuple[Tag, ...] = ("matrix", "primaries", "transfer")
    for tag in tags:
        mine, theirs = getattr(one.colour, tag), getattr(other.colour, tag)
        same = same_code(tag, mine, theirs) or not is_said(mine)
        yield _same(f"colour {tag}", mine, theirs, same)
    for what in ("full_range", "siting"):
        mine, theirs = getattr(one.colour, what), getattr(other.colour, what)
        yield _same(f"colour {what.replace('_', ' ')}", mine, theirs)
    if one.hdr.mastering or other.hdr.mastering:
        said = [_numbers(film.hdr.mastering) for film in (one, other)]
        yield _same("mastering display", said[0], said[1], _close(one, other))
    if one.hdr.light or other.hdr.light:
        yield _same("light level", one.hdr.light, other.hdr.light)


def _side_data(before: FilmContents, after: FilmContents) -> Iterator[Finding]:
    """Side data that the source has, in the frames that were looked through."""
    kinds = [set(film.survey.side_data) for film in (before, after)]
    for film, held in zip((before, after), kinds, strict=True):
        held |= {DOLBY_VISION} if film.info.dolby_vision else set()
        held |= {SPHERICAL} if film.info.projection else set()
        held -= {TIMECODE} if "timecode" in film.video_tags else set()
        held |= {CAPTIONS} if film.captioned else set()
    for kind in sorted(kinds[0]):
        here, there = "yes", "yes" if kind in kinds[1] else "none"
        kept = kind in kinds[1]
        if kind == CAPTIONS:
            here, there = (f"{film.captioned} pictures" for film in (before, after))
            kept = kept and _same_captions(before.survey, after.survey)
            kept = kept and 2 * after.captioned >= before.captioned  # fields have packets each
        elif kind == STEREO:
            here, there = (f"mode {film.info.stereo_mode}" for film in (before, after))
            kept = kept and here == there
        yield Finding(WORDS[kind], here, there, kept)


def _same_captions(one: Survey, other: Survey) -> bool:
    """Whether captions agree at the times, to the millisecond, at which both have some."""
    said = [
        {round(1000 * time): payload for time, payload in survey.captions.items()}
        for survey in (one, other)
    ]
    return all(said[0][time] == said[1][time] for time in said[0].keys() & said[1].keys())


def _tracks(before: FilmContents, after: FilmContents) -> Iterator[Finding]:
    left = list(after.tracks)
    counts: dict[str, int] = {}
    for track in before.tracks:
        counts[track.type] = counts.get(track.type, 0) + 1
        name = f"{track.type} {counts[track.type]} ({track.codec})"
        same = next((other for other in left if _like(track, other)), None)
        if same is None:
            yield Finding(name, _packets(track), "none", False)
            continue
        left.remove(same)
        alike = same.digest.digest() == track.digest.digest() and same.packets == track.packets
        yield Finding(f"{name} packets", _packets(track), _packets(same), alike)
        if track.first is not None and same.first is not None:
            slack = max(track.time_base, same.time_base)
            if track.codec == "pcm":
                slack = max(slack, _PCM_TOLERANCE)
            assert track.last is not None
            assert same.last is not None
            late = max(abs(same.first - track.first), abs(same.last - track.last))
            times = [f"{float(t.first or 0):.4f}-{float(t.last or 0):.4f} s" for t in (track, same)]
            yield Finding(f"{name} times", times[0], times[1], late <= slack)
        for key, value in sorted(track.tags.items()):
            if key.lower() == "handler_name" or (
                key == "language" and value in _UNSPECIFIED_LANGUAGES
            ):
                continue
            if key == "creation_time" and value == _tag(before.tags, key):
                continue  # the film says so, below
            found = _tag(same.tags, key)
            yield Finding(f"{name} {key}", value, found or "none", found == value)
        wanted = track.disposition & ~int(Disposition.default)
        has = same.disposition & ~int(Disposition.default)
        if wanted:
            said = [str(Disposition(flags)).split(".")[-1] for flags in (wanted, has)]
            yield Finding(f"{name} disposition", said[0], said[1], wanted & has == wanted)


def _like(one: Track, other: Track) -> bool:
    if one.type != other.type or one.codec != other.codec:
        return False
    languages = [track.tags.get("language", "und") for track in (one, other)]
    return languages[0] == languages[1]


def _tag(tags: dict[str, str], key: str) -> str | None:
    """A tag by its name, which some containers write in capitals."""
    return next((value for other, value in tags.items() if other.lower() == key.lower()), None)


def _same(what: str, one: object, other: object, kept: bool | None = None) -> Finding:
    return Finding(what, _say(one), _say(other), one == other if kept is None else kept)


def _say(value: object) -> str:
    return "none" if value is None else str(value)


def _close(one: StreamInfo, other: StreamInfo) -> bool:
    """Whether two mastering displays are the same, up to the roundings of AV1's numbers."""
    mine, theirs = one.hdr.mastering, other.hdr.mastering
    if mine is None or theirs is None:
        return mine == theirs
    return all(
        abs(a - b) <= max(abs(a) / 1000, Fraction(1, 10_000))
        for a, b in zip(mine, theirs, strict=True)
    )


def _numbers(values: tuple[Fraction, ...] | None) -> str:
    return "none" if values is None else " ".join(f"{float(value):g}" for value in values)


def _size(info: StreamInfo) -> str:
    return f"{info.width}x{info.height}"


def _span(film: FilmContents) -> str:
    if not film.times:
        return "none"
    first, last = (float(film.times[n] * film.info.time_base) for n in (0, -1))
    return f"{first:.4f}-{last:.4f} s"


def _packets(track: Track) -> str:
    return f"{track.packets}, {track.digest.hexdigest()}"


def _few(words: list[str]) -> str:
    return (
        ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "") or "none"
    )

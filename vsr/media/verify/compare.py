"""Compare the contents of an output with those of its source."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from av.stream import Disposition

from vsr.media.decode.conform import Tag, is_specified, same_code
from vsr.media.decode.part import Part
from vsr.media.decode.side_data import (
    CAPTIONS,
    DOLBY_VISION,
    HDR10_PLUS,
    SIDE_DATA_NAMES,
    SPHERICAL,
    STEREO,
    TIMECODE,
)
from vsr.media.frame import StreamInfo
from vsr.media.mux.copy_plan import Selection
from vsr.media.mux.languages import UNSPECIFIED, canonical
from vsr.media.verify.contents import FilmContents, Track, read_contents, upscaled_video
from vsr.media.verify.expected_frames import expected_frames
from vsr.media.verify.finding import Finding
from vsr.media.verify.shape import compare_shapes
from vsr.media.verify.sound import read_sound

_PCM_TOLERANCE = Fraction(1, 50)
"""Seconds: QuickTime counts samples of PCM, while times on discs may deviate a little."""


def verify_film(
    source: Path,
    output: Path,
    video: int | None = None,
    selection: Selection = Selection(),
    part: Part | None = None,
) -> list[Finding]:
    """Compare an upscaled film with its source, or with a `part` of the source.

    `video` is the stream that was upscaled, from 1; None for the default one. `selection` says
    which sound and subtitles the output should have. Converted sound is compared by its samples if
    both codecs are lossless, else by its loudness over time.

    All packets of both files are read; of the video, only times and some frames are compared. Times
    may differ by half a tick of the coarser clock. A frame per field and film without its 3:2
    pulldown count as kept, see `expected_frames`. A finding reports read errors. Raises
    `MediaError` where a file can't be read at all.
    """
    in_output = None if video is None else upscaled_video(source, output, video)
    after = read_contents(output, in_output)
    before = read_contents(source, video, part, after)
    findings = []
    if (before.readable(), after.readable()) != ("whole", "whole"):
        kept = after.readable() == "whole"
        findings.append(Finding("readable", before.readable(), after.readable(), kept))
    findings += [
        *_video(before, after),
        *_side_data(before, after),
        *_tracks(before, after, selection),
    ]
    if before.chapters or after.chapters:
        listed = [
            [f"{float(a):.2f}-{float(b):.2f} {t}" for a, b, t in f.chapters]
            for f in (before, after)
        ]
        kept = len(before.chapters) == len(after.chapters) and all(
            abs(one[0] - other[0]) <= Fraction(1, 1000) and one[2] == other[2]
            for one, other in zip(before.chapters, after.chapters, strict=True)
        )
        findings.append(Finding("chapters", _few(listed[0]), _few(listed[1]), kept))
    for key, value in sorted(before.tags.items()):
        found = _tag(after.tags, key)
        findings.append(Finding(f"tag {key}", value, found or "none", found == value))
    return findings


def _video(before: FilmContents, after: FilmContents) -> Iterator[Finding]:
    one, other = before.info, after.info
    shape = compare_shapes(one, other)
    yield Finding("frame size", _size(one), _size(other), shape.has_aspect)
    tolerance = max(one.time_base, other.time_base) / 2 + Fraction(1, 10**9)
    expected = expected_frames(before, after, tolerance)
    frames = f"{len(before.times)}{expected.note}"
    yield _same("frames", frames, len(after.times), len(expected.times) == len(after.times))
    errors = [
        abs(old - new * other.time_base)
        for old, new in zip(expected.times, after.times, strict=False)
    ]
    kept = bool(errors) and max(errors) <= tolerance and len(expected.times) == len(after.times)
    yield Finding("frame times", _span(before), _span(after), kept)
    finest = max(one.time_base, Fraction(1, 1000))  # Matroska's
    is_fine = other.time_base <= finest or (kept and not any(errors))
    yield _same("clock", one.time_base, other.time_base, is_fine)
    aspect, found = one.sample_aspect_ratio, other.sample_aspect_ratio
    yield _same("pixel aspect", aspect, found, shape.has_pixel_aspect)
    applied = one.display_matrix is not None and other.display_matrix is None
    same_rotation = one.display_matrix == other.display_matrix or applied
    yield _same("display matrix", one.display_matrix, other.display_matrix, same_rotation)
    old, new = one.layout, other.layout
    yield _same("bit depth", one.bits, other.bits, other.bits >= one.bits)
    is_as_fine = (new.across, new.down) <= (old.across, old.down)
    chroma = [f"{layout.across}x{layout.down}" for layout in (old, new)]
    yield _same("chroma subsampling", chroma[0], chroma[1], is_as_fine)
    yield _same("alpha", old.alpha, new.alpha, new.alpha >= old.alpha)
    tags: tuple[Tag, ...] = ("matrix", "primaries", "transfer")
    for tag in tags:
        code, found_code = getattr(one.colour, tag), getattr(other.colour, tag)
        same = same_code(tag, code, found_code) or not is_specified(code)
        yield _same(f"colour {tag}", code, found_code, same)
    for what in ("full_range", "siting"):
        value, found_value = getattr(one.colour, what), getattr(other.colour, what)
        yield _same(f"colour {what.replace('_', ' ')}", value, found_value)
    if one.hdr.mastering or other.hdr.mastering:
        values = [_joined(film.hdr.mastering) for film in (one, other)]
        yield _same("mastering display", values[0], values[1], _is_close(one, other))
    if one.hdr.light or other.hdr.light:
        yield _same("light level", one.hdr.light, other.hdr.light)


def _side_data(before: FilmContents, after: FilmContents) -> Iterator[Finding]:
    """Compare the types of side data in the surveyed frames of the source."""
    types = [set(film.survey.side_data) for film in (before, after)]
    for film, found in zip((before, after), types, strict=True):
        found |= {DOLBY_VISION} if film.info.dolby_vision else set()
        found |= {SPHERICAL} if film.info.projection else set()
        found -= {TIMECODE} if "timecode" in film.video_tags else set()
        found |= {CAPTIONS} if film.captioned else set()
    for side_data in sorted(types[0]):
        old, new = "yes", "yes" if side_data in types[1] else "none"
        kept = side_data in types[1]
        if side_data == CAPTIONS:
            old, new = (f"{film.captioned} pictures" for film in (before, after))
            same = _are_same if len(before.times) == len(after.times) else _have_same_text
            kept = kept and same(before.survey.captions, after.survey.captions)
            kept = kept and 2 * after.captioned >= before.captioned  # each field may have a packet
        elif side_data == HDR10_PLUS:
            kept = kept and _are_same(before.survey.hdr10_plus, after.survey.hdr10_plus)
        elif side_data == STEREO:
            old, new = (f"mode {film.info.stereo_mode}" for film in (before, after))
            kept = kept and old == new
        yield Finding(SIDE_DATA_NAMES[side_data], old, new, kept)


def _are_same(one: dict[Fraction, bytes], other: dict[Fraction, bytes]) -> bool:
    """Whether side data are equal at the times, to the millisecond, when both films have some."""
    mine, theirs = (
        {round(1000 * time): payload for time, payload in found.items()} for found in (one, other)
    )
    return all(mine[time] == theirs[time] for time in mine.keys() & theirs.keys())


def _have_same_text(one: dict[Fraction, bytes], other: dict[Fraction, bytes]) -> bool:
    """Whether captions are equal, one after the other, where frames are not one for one."""
    texts = [b"".join(payload for _, payload in sorted(found.items())) for found in (one, other)]
    length = min(map(len, texts))
    return texts[0][:length] == texts[1][:length]


def _tracks(before: FilmContents, after: FilmContents, selection: Selection) -> Iterator[Finding]:
    dropped = {"audio": selection.audio == "none", "subtitle": selection.subtitles == "none"}
    for media_type in dropped:
        if dropped[media_type]:
            counts = [sum(t.type == media_type for t in film.tracks) for film in (before, after)]
            yield _same(f"{media_type} tracks", counts[0], counts[1], not counts[1])
    kept = [track for track in before.tracks if not dropped.get(track.type)]
    pairs = _pairs(kept, after.tracks, selection)
    numbers: dict[str, int] = {}
    for track in kept:
        numbers[track.type] = numbers.get(track.type, 0) + 1
        name = f"{track.type} {numbers[track.type]} ({track.codec})"
        same = pairs.get(track.index)
        if same is None:
            is_empty = before.excerpt is not None and not track.packets
            yield Finding(name, _packets(track), "none", is_empty)
        elif _has_codec(track, same):
            findings = list(_same_packets(name, track, same))
            if track.codec == "pcm" and not all(finding.kept for finding in findings):
                filled = _converted(name, before, track, after, same)  # gaps may be silence
                findings = [filled] if filled.kept else findings
            yield from findings
            yield from _same_tags(name, track, same, before.tags)
        else:
            yield _converted(name, before, track, after, same)
            yield from _same_tags(name, track, same, before.tags)


def _pairs(tracks: list[Track], others: list[Track], selection: Selection) -> dict[int, Track]:
    """Find the track of the output for each of the source, by its index.

    Sound that may be converted is paired with the first unmatched sound in its language. What is
    left is paired without its language, which may be lost.
    """
    pairs: dict[int, Track] = {}
    unmatched = list(others)
    tests = [_matches, _has_codec]
    if selection.audio == "auto":
        tests = [_matches, _may_be_converted, _has_codec, _are_sounds]
    for test in tests:
        for track in tracks:
            same = next((other for other in unmatched if test(track, other)), None)
            if track.index not in pairs and same is not None:
                pairs[track.index] = same
                unmatched.remove(same)
    return pairs


def _converted(
    name: str, before: FilmContents, track: Track, after: FilmContents, other: Track
) -> Finding:
    """Compare sound of two codecs."""
    one, two = read_sound(before, track.index), read_sound(after, other.index)
    kept = one is not None and two is not None and one.is_converted_to(two)
    return Finding(f"{name} converted", str(one), str(two), kept)


def _same_packets(name: str, track: Track, same: Track) -> Iterator[Finding]:
    is_equal = same.digest.digest() == track.digest.digest() and same.packets == track.packets
    yield Finding(f"{name} packets", _packets(track), _packets(same), is_equal)
    if track.first is not None and same.first is not None:
        tolerance = max(track.time_base, same.time_base)
        if track.codec == "pcm":
            tolerance = max(tolerance, _PCM_TOLERANCE)
        assert track.last is not None
        assert same.last is not None
        error = max(abs(same.first - track.first), abs(same.last - track.last))
        times = [f"{float(t.first or 0):.4f}-{float(t.last or 0):.4f} s" for t in (track, same)]
        yield Finding(f"{name} times", times[0], times[1], error <= tolerance)


def _same_tags(
    name: str, track: Track, same: Track, film_tags: dict[str, str]
) -> Iterator[Finding]:
    """Compare tags and disposition of two tracks."""
    for key, value in sorted(track.tags.items()):
        if key.lower() == "handler_name" or (key == "language" and value in UNSPECIFIED):
            continue
        if key == "creation_time" and value == _tag(film_tags, key):
            continue  # reported among the tags of the film
        found = _tag(same.tags, key)
        kept = found == value
        if key == "language" and found:
            kept = canonical(found) == canonical(value)
        yield Finding(f"{name} {key}", value, found or "none", kept)
    expected = track.disposition & ~int(Disposition.default)
    actual = same.disposition & ~int(Disposition.default)
    if expected:
        names = [str(Disposition(flags)).split(".")[-1] for flags in (expected, actual)]
        kept = expected & actual == expected
        yield Finding(f"{name} disposition", names[0], names[1], kept)


def _matches(one: Track, other: Track) -> bool:
    return _has_codec(one, other) and _language(one) == _language(other)


def _has_codec(one: Track, other: Track) -> bool:
    return (one.type, one.codec) == (other.type, other.codec)


def _may_be_converted(one: Track, other: Track) -> bool:
    return _are_sounds(one, other) and _language(one) == _language(other)


def _are_sounds(one: Track, other: Track) -> bool:
    return one.type == other.type == "audio"


def _language(track: Track) -> str:
    return canonical(track.tags.get("language", "und"))


def _tag(tags: dict[str, str], key: str) -> str | None:
    """Look up a tag by its name; some containers write names in capitals."""
    return next((value for other, value in tags.items() if other.lower() == key.lower()), None)


def _same(what: str, one: object, other: object, kept: bool | None = None) -> Finding:
    return Finding(what, _text(one), _text(other), one == other if kept is None else kept)


def _text(value: object) -> str:
    return "none" if value is None else str(value)


def _is_close(one: StreamInfo, other: StreamInfo) -> bool:
    """Whether two mastering displays are equal, up to rounding in AV1's metadata."""
    expected, actual = one.hdr.mastering, other.hdr.mastering
    if expected is None or actual is None:
        return expected == actual
    return all(
        abs(a - b) <= max(abs(a) / 1000, Fraction(1, 10_000))
        for a, b in zip(expected, actual, strict=True)
    )


def _joined(values: tuple[Fraction, ...] | None) -> str:
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


def _few(items: list[str]) -> str:
    return (
        ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "") or "none"
    )

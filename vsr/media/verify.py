"""Prove that an upscaled film has all that its source has, side by side."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition, Stream

from vsr.media.decode.conform import Tag, is_said, same_code
from vsr.media.decode.reader import ENDS_EARLY, VideoReader, moved
from vsr.media.decode.side_data import CAPTIONS, DOLBY_VISION, SPHERICAL, STEREO, TIMECODE, WORDS
from vsr.media.decode.stream_choice import is_chapters
from vsr.media.decode.survey import Survey, survey_film
from vsr.media.frame import StreamInfo
from vsr.media.mux.stream_copy import global_tags, stream_tags
from vsr.media.packet_content import AUDIO_LAYERS, Content

_PCM_SLACK = Fraction(1, 50)
"""Seconds: QuickTime counts samples of PCM, where discs may tell times that are a little apart."""
_UNSAID = ("", "und")
_CAPTIONS = b"GA94\x03"
"""With which captions begin in MPEG-2, H.264, HEVC and AV1 (ATSC A/53 Part 4)."""


@dataclass(frozen=True)
class Finding:
    """One thing that was compared."""

    what: str
    source: str
    output: str
    kept: bool


@dataclass
class _Track:
    """A stream beside the video, as it is held in one of the files."""

    kind: str
    codec: str
    tags: dict[str, str]
    disposition: int
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=8))
    packets: int = 0
    first: Fraction | None = None
    last: Fraction | None = None
    tick: Fraction = Fraction(0)
    content: Content | None = None
    """What gives the content of its packets; None of an attachment."""
    cues: list[tuple[Fraction, bytes]] = field(default_factory=list)
    """Of text: when each begins, and what it says."""

    def add(self, content: bytes, begin: Fraction | None, end: Fraction | None) -> None:
        """Take in one packet."""
        self.packets += 1
        self.digest.update(len(content).to_bytes(8, "big") + content)
        if begin is not None:
            self.first = begin if self.first is None else self.first
            self.last = end

    def add_cues(self) -> None:
        """Take in all text; what begins at once is one, whether it came in one packet or more."""
        begun: dict[Fraction, list[bytes]] = {}
        for begin, content in self.cues:
            begun.setdefault(begin, []).append(content)
        for begin, lines in sorted(begun.items()):
            words = b"{\\r}\n".join(lines).decode(errors="replace")
            self.add(_styled(words).encode(), begin, begin)


@dataclass
class _Film:
    """What a file holds."""

    info: StreamInfo
    times: list[int]
    tracks: list[_Track]
    chapters: list[tuple[Fraction, Fraction, str]]
    """From, to, in seconds, and what it is called."""
    tags: dict[str, str]
    survey: Survey
    captioned: int = 0
    """Packets of the video that hold captions."""
    video_tags: dict[str, str] = field(default_factory=dict)
    is_cut_short: bool = False
    """Whether it can't be read to its end."""
    read_errors: int = 0
    """Places where reading failed, and went on behind."""

    def readable(self) -> str:
        """How far it could be read, in words."""
        if self.is_cut_short:
            return "not to its end"
        if self.read_errors:
            return f"but for {self.read_errors} place{'s' if self.read_errors > 1 else ''}"
        return "whole"


def verify_film(source: Path, output: Path) -> list[Finding]:
    """Compare an upscaled film with its source: what of it was kept, and what wasn't.

    Both are read whole; of the video only times are, and some frames. Times may differ by
    half a tick of the coarser clock. Where reading fails on the way, a finding says so. Raises
    `MediaError` where a file can't be read at all.
    """
    before, after = _read(source), _read(output)
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


def table(findings: list[Finding]) -> str:
    """The findings, a line each, those that were lost marked."""
    rows = [("", "", "source", "output")]
    rows += [
        ("ok" if finding.kept else "LOST", finding.what, finding.source, finding.output)
        for finding in findings
    ]
    widths = [max(len(_short(row[column])) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(
            _short(cell).ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def _video(before: _Film, after: _Film) -> Iterator[Finding]:
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


def _side_data(before: _Film, after: _Film) -> Iterator[Finding]:
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


def _tracks(before: _Film, after: _Film) -> Iterator[Finding]:
    left = list(after.tracks)
    counts: dict[str, int] = {}
    for track in before.tracks:
        counts[track.kind] = counts.get(track.kind, 0) + 1
        name = f"{track.kind} {counts[track.kind]} ({track.codec})"
        same = next((other for other in left if _like(track, other)), None)
        if same is None:
            yield Finding(name, _packets(track), "none", False)
            continue
        left.remove(same)
        alike = same.digest.digest() == track.digest.digest() and same.packets == track.packets
        yield Finding(f"{name} packets", _packets(track), _packets(same), alike)
        if track.first is not None and same.first is not None:
            slack = max(track.tick, same.tick)
            if track.codec == "pcm":
                slack = max(slack, _PCM_SLACK)
            assert track.last is not None
            assert same.last is not None
            late = max(abs(same.first - track.first), abs(same.last - track.last))
            times = [f"{float(t.first or 0):.4f}-{float(t.last or 0):.4f} s" for t in (track, same)]
            yield Finding(f"{name} times", times[0], times[1], late <= slack)
        for key, value in sorted(track.tags.items()):
            if key.lower() == "handler_name" or (key == "language" and value in _UNSAID):
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


def _read(path: Path) -> _Film:
    with VideoReader(path, closely=True) as reader:
        info, index, lead = reader.info, reader.index, reader.lead
        is_cut_short = ENDS_EARLY in reader.notes
    survey = survey_film(path)
    with VideoReader(path, closely=False) as reader:
        container = reader.container
        video = container.streams[index]
        tracks = {
            stream.index: _track(stream)
            for stream in container.streams
            if stream.index != index and not is_chapters(stream) and not _is_timecode(stream)
        }
        times, captioned = _packets_of(reader, tracks, lead)
        chapters = [
            (
                Fraction(chapter["start"] * (chapter["time_base"] or 1)) + lead,
                Fraction(chapter["end"] * (chapter["time_base"] or 1)) + lead,
                chapter["metadata"].get("title", ""),
            )
            for chapter in container.chapters()
        ]
        return _Film(
            info=info,
            times=times or _frames_of(path),
            tracks=list(tracks.values()),
            chapters=chapters,
            tags=global_tags(container),
            survey=survey,
            captioned=captioned,
            video_tags=dict(video.metadata),
            is_cut_short=is_cut_short or reader.damage.ends_early,
            read_errors=reader.damage.read_errors,
        )


def _packets_of(
    reader: VideoReader, tracks: dict[int, _Track], lead: Fraction
) -> tuple[list[int], int]:
    """Take in all packets, moved as the film is; the video's times, and its packets with captions.

    There are no times unless all of its packets have one.
    """
    times, all_say, captioned = [], True, 0
    texts = {index for index, track in tracks.items() if track.codec == "text"}
    for packet in reader.packets():
        moved(packet, lead)
        if packet.stream_index == reader.index:
            all_say = all_say and packet.pts is not None
            if packet.pts is not None and not packet.is_discard:
                times.append(packet.pts)
            captioned += _CAPTIONS in bytes(packet)
        elif track := tracks.get(packet.stream_index):
            _take(track, packet, packet.stream_index in texts)
    for index in texts:
        tracks[index].add_cues()
    return sorted(times) if all_say else [], captioned


def _frames_of(path: Path) -> list[int]:
    """The times of decoded frames, for want of those of packets."""
    with VideoReader(path, closely=True) as reader:
        return [frame.pts for frame in reader.frames()]


def _take(track: _Track, packet: Any, is_text: bool) -> None:
    time = None if packet.pts is None else packet.pts * packet.time_base
    if is_text:
        if content := _text(packet):  # none in what fills gaps in mp4
            track.cues.append((time or Fraction(0), content))
        return
    assert track.content is not None
    content = track.content.of(packet)
    if not track.content.is_pcm:
        track.add(content, time, time)
        return
    # Where packets end is the container's choice.
    track.packets += len(content)
    track.digest.update(content)
    if time is not None:
        track.first = time if track.first is None else track.first
        track.last = time + track.content.seconds


def _text(packet: Any) -> bytes:
    """What a subtitle says, however it is coded."""
    try:
        found = packet.stream.codec_context.decode2(packet)
    except av.error.FFmpegError:
        return bytes(packet)
    lines = [rect.dialogue for rect in (found or ()) if hasattr(rect, "dialogue")]
    return b"\n".join(lines).strip()


def _styled(line: str) -> str:
    """A line of ASS, each stretch of it after the styles that it is shown in.

    Decoders end a style in ways of their own: by the opposite, or by ending all.
    """
    said, now, written = "", frozenset[str](), frozenset[str]()
    for part in re.split(r"(\{[^}]*\})", line):
        if part.startswith("{"):
            for name, value in re.findall(r"\\([a-z]+)([^\\}]*)", part):
                kept = {style for style in now if not style.startswith(f"\\{name}=")}
                now = frozenset() if name == "r" else frozenset(kept)
                if name != "r" and value != "0":
                    now |= {f"\\{name}={value}"}
        elif part:
            said += ("" if now == written else "{" + "".join(sorted(now)) + "}") + part
            written = now
    return said


def _track(stream: Stream) -> _Track:
    codec = stream.codec_context.name if stream.codec_context else stream.name or ""
    if codec in ("subrip", "srt", "mov_text", "text"):
        codec = "text"
    if codec in AUDIO_LAYERS:
        codec = "mpeg"
    kind: str = stream.type
    if stream.disposition & Disposition.attached_pic:
        kind = "picture"
    content = None if stream.type == "attachment" else Content(stream)
    if content is not None and content.is_pcm:
        codec = "pcm"
    track = _Track(
        kind,
        codec,
        stream_tags(stream),
        int(stream.disposition),
        tick=stream.time_base or Fraction(0),
        content=content,
    )
    if stream.type == "attachment":
        track.digest.update(stream.data)  # type: ignore[attr-defined]
        track.packets = 1
        track.codec = stream.metadata.get("filename", "")
    return track


def _like(one: _Track, other: _Track) -> bool:
    if one.kind != other.kind or one.codec != other.codec:
        return False
    languages = [track.tags.get("language", "und") for track in (one, other)]
    return languages[0] == languages[1]


def _is_timecode(stream: Stream) -> bool:
    return stream.type == "data" and "timecode" in stream.metadata


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


def _span(film: _Film) -> str:
    if not film.times:
        return "none"
    first, last = (float(film.times[n] * film.info.time_base) for n in (0, -1))
    return f"{first:.4f}-{last:.4f} s"


def _packets(track: _Track) -> str:
    return f"{track.packets}, {track.digest.hexdigest()}"


def _few(words: list[str]) -> str:
    return (
        ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "") or "none"
    )


def _short(text: str) -> str:
    return text if len(text) <= 44 else f"{text[:41]}..."

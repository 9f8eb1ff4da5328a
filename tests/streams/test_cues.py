"""Subtitles that overlap, into MP4."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from tests.helpers.ffmpeg import ffmpeg, film, needs_ffmpeg, seconds
from vsr.engine.upscale import upscale_video
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.mux.muxer import Dropped
from vsr.media.mux.stream_copier import StreamCopier
from vsr.media.mux.writer import VideoWriter
from vsr.media.verify import verify_film

pytestmark = needs_ffmpeg

FAST = EncoderSettings(preset="ultrafast")
OVERLAP = (
    (0.1, 0.5, "long"),
    (0.3, 0.4, "at once"),
    (0.35, 0.6, "a third"),
    (0.7, 0.79, "last"),
)


def with_cues(folder: Path, cues: tuple[tuple[float, float, str], ...], *more: object) -> Path:
    """A film with sound and these subtitles."""
    lines = [
        f"{number}\n{clock(begin)} --> {clock(end)}\n{text}\n"
        for number, (begin, end, text) in enumerate(cues, 1)
    ]
    words = folder / "words.srt"
    words.write_text("\n".join(lines))
    base = film(folder / "base.mkv", *more)
    ffmpeg("-i", base, "-i", words, "-map", "0", "-map", "1", "-c", "copy", "-c:s", "srt",
           folder / "in.mkv")  # fmt: skip
    return folder / "in.mkv"


def clock(time: float) -> str:
    return f"00:00:{int(time):02},{round(time % 1 * 1000):03}"


def read_cues(path: Path) -> list[tuple[float, float, str]]:
    """Begin, end and text of each subtitle."""
    reported = ffmpeg("-i", path, "-map", "0:s", "-f", "srt", "-")
    found = []
    for block in reported.strip().split("\n\n"):
        _, span, *text = block.split("\n")
        begin, end = map(seconds, span.split(" --> "))
        found.append((begin, end, "\n".join(text)))
    return found


def upscaled(source: Path, output: Path, model: Path) -> Path:
    upscale_video(source, output, str(model), device="cpu", settings=FAST, strict=True)
    assert all(finding.kept for finding in verify_film(source, output))
    return output


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_cues_that_overlap_begin_when_they_did(
    tmp_path: Path, tiny_model: Path, suffix: str
) -> None:
    output = upscaled(with_cues(tmp_path, OVERLAP), tmp_path / f"out{suffix}", tiny_model)
    found = read_cues(output)
    assert [(begin, text) for begin, _, text in found] == [(b, t) for b, _, t in OVERLAP]
    ends = [end for _, end, _ in found]
    assert ends == pytest.approx([0.3, 0.35, 0.6, 0.79], abs=0.0011)


def test_cues_that_begin_at_once_become_one_of_several_lines(
    tmp_path: Path, tiny_model: Path
) -> None:
    cues = ((0.1, 0.4, "<i>one</i>"), (0.1, 0.3, "two"), (0.5, 0.7, "three"))
    output = upscaled(with_cues(tmp_path, cues), tmp_path / "out.mp4", tiny_model)
    assert [(begin, text) for begin, _, text in read_cues(output)] == [
        (0.1, "<i>one</i>\ntwo"),
        (0.5, "three"),
    ]


def test_cues_that_follow_at_once_are_not_delayed(tmp_path: Path, tiny_model: Path) -> None:
    cues = tuple((n / 10, (n + 1) / 10, f"cue {n}") for n in range(1, 7))
    output = upscaled(with_cues(tmp_path, cues), tmp_path / "out.mp4", tiny_model)
    assert [begin for begin, _, _ in read_cues(output)] == [begin for begin, _, _ in cues]


def test_matroska_keeps_the_overlap(tmp_path: Path, tiny_model: Path) -> None:
    output = upscaled(with_cues(tmp_path, OVERLAP), tmp_path / "out.mkv", tiny_model)
    assert read_cues(output) == [(begin, end, text) for begin, end, text in OVERLAP]


def with_broken_cue(folder: Path) -> Path:
    """A film with three subtitles, of which the second says that it is longer than it is."""
    source = with_cues(folder, ((0.1, 0.2, "one"), (0.3, 0.4, "two"), (0.5, 0.6, "three")))
    path = folder / "broken.mp4"
    with av.open(str(source)) as whole, av.open(str(path), "w") as output:
        video, words = whole.streams.video[0], whole.streams.subtitles[0]
        copy = output.add_stream_from_template(video)
        text: Any = output.add_stream("mov_text")
        decoder: Any = words.codec_context
        decoder.open(strict=False)
        text.codec_context.subtitle_header = decoder.subtitle_header
        text.time_base = Fraction(1, 1000)
        samples = iter((b"\0\3one", b"\0\2", b"\0\5three"))
        for packet in whole.demux(video, words):
            if packet.size and packet.stream == video:
                packet.stream = copy
                output.mux(packet)
            elif packet.size:
                sample = av.Packet(next(samples))
                sample.pts = sample.dts = packet.pts
                sample.duration, sample.time_base = packet.duration, packet.time_base
                sample.stream = text
                output.mux(sample)
    return path


def test_a_subtitle_that_can_not_be_decoded_is_reported(tmp_path: Path, tiny_model: Path) -> None:
    source, output = with_broken_cue(tmp_path), tmp_path / "o.mkv"
    summary = upscale_video(source, output, str(tiny_model), device="cpu", settings=FAST)
    assert "1 subtitle could not be converted: left out" in summary.notes
    assert [text for _, _, text in read_cues(output)] == ["one", "three"]


def test_a_subtitle_lost_while_a_pipe_is_read_is_counted(tmp_path: Path) -> None:
    with VideoReader(with_broken_cue(tmp_path)) as reader:
        with VideoWriter(tmp_path / "o.mkv", reader.info, reader, FAST) as writer:
            for item in reader:
                writer.write(item)
        assert writer.dropped == Dropped(broken=0, unconverted=1)
    assert [text for _, _, text in read_cues(tmp_path / "o.mkv")] == ["one", "three"]


def test_subtitles_that_can_not_be_encoded_are_reported(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(words: object) -> None:
        raise av.error.InvalidDataError(1, "words that can't be encoded")

    original = StreamCopier.__init__

    def without_encoder(copier: StreamCopier, *args: Any, **options: Any) -> None:
        original(copier, *args, **options)
        if copier._mode == "text":
            encoder = SimpleNamespace(encode_subtitle=refuse)
            copier._copy = SimpleNamespace(codec_context=encoder, time_base=copier._copy.time_base)

    monkeypatch.setattr(StreamCopier, "__init__", without_encoder)
    source, output = with_cues(tmp_path, OVERLAP), tmp_path / "o.mp4"
    summary = upscale_video(source, output, str(tiny_model), device="cpu", settings=FAST)
    assert "4 subtitles could not be converted: left out" in summary.notes

"""Encode films with Debian's ffmpeg, and describe them with Debian's ffprobe."""

import json
import shutil
import subprocess
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs Debian's ffmpeg")

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-pix_fmt", "yuv420p")


def ffmpeg_output(*arguments: object) -> bytes:
    """Run ffmpeg; its standard output."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def ffmpeg(*arguments: object) -> str:
    """Run ffmpeg; its standard output as text, with \\n at the ends of lines."""
    return ffmpeg_output(*arguments).decode().replace("\r\n", "\n")


def pictures(seconds: float = 0.8, size: str = "64x48", rate: str = "25") -> tuple[str, ...]:
    """Arguments of a test picture as input."""
    return ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}")


def tone(seconds: float = 0.8, hertz: int = 440) -> tuple[str, ...]:
    """Arguments of a sine tone as input."""
    source = f"sine=frequency={hertz}:sample_rate=48000:duration={seconds}"
    return ("-f", "lavfi", "-i", source)


def film(path: Path, *more: object, seconds: float = 0.8, sound: str = "aac") -> Path:
    """A film of H.264 at 25 frames per second with one tone; `more` are ffmpeg's arguments."""
    ffmpeg(*pictures(seconds), *tone(seconds), *X264, "-c:a", sound, *more, path)
    return path


def probe(path: Path, *what: str) -> dict[str, Any]:
    """Sections of ffprobe's report on a file, such as "streams" or "packets"."""
    shown = [f"-show_{name}" for name in (what or ("streams",))]
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_data_hash", "md5", *shown]
    done = subprocess.run(
        [*command, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def streams(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The streams of a type, such as "audio", or all."""
    return [s for s in probe(path)["streams"] if kind in (None, s.get("codec_type", "data"))]


def packets(path: Path, index: int) -> list[dict[str, Any]]:
    """The packets of one stream with hashes, in file order, without empty ones."""
    found = probe(path, "packets")["packets"]
    return [p for p in found if p["stream_index"] == index and int(p["size"]) > 0]


def times(path: Path, index: int) -> list[float]:
    """Presentation times of a stream's packets in order; every packet must have one."""
    return sorted(float(packet["pts_time"]) for packet in packets(path, index))


def samples(path: Path, which: str = "0:a:0") -> str:
    """A hash of the decoded samples of a sound track."""
    return ffmpeg("-i", path, "-map", which, "-c:a", "pcm_s32le", "-f", "md5", "-")


def seconds(text: str) -> float:
    """A time such as 00:00:01,250 of SubRip."""
    hours, minutes, rest = text.replace(",", ".").split(":")
    return float(Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(rest))


def side_data_types(path: Path) -> Counter[str]:
    """How many frames and streams have each type of side data, by ffprobe."""
    film = probe(path, "streams", "frames")
    items = [*film["frames"], *film["streams"]]
    return Counter(
        data["side_data_type"] for item in items for data in item.get("side_data_list", [])
    )

"""Folders, pipes and proofs, by the real command."""

import io
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.cli import complaint, vsr
from tests.helpers.films import AudioTrack, scenes, write_film


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of variable rate, with sound."""
    pts = [0, 512, 1024, 1100, 3000, 3001, 9000, 12_800]
    path = tmp_path_factory.mktemp("films") / "a.mp4"
    return write_film(path, scenes(64, 48, [8]), pts=pts, audio=[AudioTrack("aac", 440)])


def through_pipe(film: Path, model: Path, *options: str) -> bytes:
    command = [sys.executable, "-m", "vsr", "upscale", "-", "-", "--model", str(model), *options]
    done = subprocess.run(command, input=film.read_bytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_folder_keeps_its_tree_goes_on_past_bad_films_and_skips_what_is_done(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    source, output = tmp_path / "tapes", tmp_path / "larger"
    (source / "1999" / "summer").mkdir(parents=True)
    (source / "one.mp4").write_bytes(film.read_bytes())
    (source / "1999" / "summer" / "two.mp4").write_bytes(film.read_bytes())
    (source / "1999" / "broken.mp4").write_bytes(b"not a film")
    (source / "notes.txt").write_text("not a film either")
    done = vsr("upscale", source, output, "--model", tiny_model)
    assert done.returncode == 1
    assert f"vsr: {source}/1999/broken.mp4: can't be read as video" in done.stderr
    assert f"{output}: 2 films upscaled, 0 already present, 1 failed" in done.stdout
    made = sorted(str(p.relative_to(output)) for p in output.rglob("*") if p.is_file())
    assert made == ["1999/summer/two.mp4", "one.mp4"]
    again = vsr("upscale", source, output, "--model", tiny_model)
    assert "0 films upscaled, 2 already present, 1 failed" in again.stdout


def test_what_of_a_folder_is_not_written_becomes_mkv(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "in").mkdir()
    write_film(tmp_path / "in" / "a.avi", scenes(64, 48, [3]))
    assert vsr("upscale", tmp_path / "in", tmp_path / "out", "--model", tiny_model).returncode == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mkv"]


def test_two_films_for_one_name_are_refused(film: Path, tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.avi", "a.mpg"):
        (tmp_path / "in" / name).write_bytes(film.read_bytes())
    line = complaint("upscale", tmp_path / "in", tmp_path / "out", "--model", tiny_model)
    assert "would both become" in line


@pytest.mark.slow
def test_a_pipe_keeps_times_and_sound(film: Path, tiny_model: Path) -> None:
    made = through_pipe(film, tiny_model)
    opened = av.open(io.BytesIO(made), "r"), av.open(str(film), "r")
    with opened[0] as output, opened[1] as source:
        assert output.format.name == "nut"
        times: list[list[Fraction]] = []
        sounds: list[list[bytes]] = []
        for container in (source, output):
            video, sound = container.streams.video[0], container.streams.audio[0]
            shown: dict[int, list[Fraction]] = {video.index: [], sound.index: []}
            sounds.append([])
            for packet in container.demux(video, sound):
                if packet.size and packet.pts is not None:
                    shown[packet.stream_index].append(packet.pts * packet.time_base)
                    if packet.stream is sound:
                        sounds[-1].append(bytes(packet))
            # NUT knows no times before zero, where this sound begins: all is moved alike.
            begin = shown[sound.index][0]
            times.append([time - begin for time in sorted(shown[video.index])])
        assert len(times[0]) == 8
        assert max(abs(a - b) for a, b in zip(*times, strict=True)) < Fraction(1, 10_000)
        assert sounds[0] == sounds[1]


@pytest.mark.slow
def test_standard_input_is_read_where_a_file_is_called_like_it(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    (tmp_path / "-").touch()
    command = [sys.executable, "-m", "vsr", "upscale", "-", "b.mkv", "--model", str(tiny_model)]
    with film.open("rb") as source:
        done = subprocess.run(command, stdin=source, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.mkv").exists()


@pytest.mark.slow
def test_a_pipe_carries_y4m(film: Path, tiny_model: Path) -> None:
    made = through_pipe(film, tiny_model, "--format", "y4m")
    head, rest = made.split(b"\n", 1)
    assert head.startswith(b"YUV4MPEG2 W256 H192 F")
    assert b"C420" in head
    assert len(rest) == 8 * (len(b"FRAME\n") + 256 * 192 * 3 // 2)
    picture = np.frombuffer(rest[6 : 6 + 256 * 192], dtype=np.uint8)
    assert picture.std() > 10


@pytest.mark.slow
def test_a_pipe_that_holds_no_film_is_one_line(tiny_model: Path) -> None:
    command = [sys.executable, "-m", "vsr", "upscale", "-", "-", "--model", str(tiny_model)]
    done = subprocess.run(command, input=b"nothing of use", capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"vsr: standard input: can't be read as video")
    assert done.stderr.count(b"\n") == 1


def test_verify_proves_what_was_kept_and_names_what_was_not(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    output = tmp_path / "b.mp4"
    assert vsr("upscale", film, output, "--model", tiny_model).returncode == 0
    proof = vsr("verify", film, output)
    assert proof.returncode == 0, proof.stdout + proof.stderr
    assert "audio 1 (aac) packets" in proof.stdout
    assert "LOST" not in proof.stdout
    mute = write_film(tmp_path / "mute.mp4", scenes(256, 192, [8]))
    lost = vsr("verify", film, mute)
    assert lost.returncode == 1
    assert "lost or changed: frame times, audio 1 (aac)" in lost.stderr
    findings = json.loads(vsr("verify", film, output, "--json").stdout)
    assert all(finding["kept"] for finding in findings)
    assert {"what", "source", "output", "kept"} == set(findings[0])


def test_a_trace_shows_what_each_stage_did(film: Path, tmp_path: Path, tiny_model: Path) -> None:
    trace = tmp_path / "trace.json"
    options = ("--model", tiny_model, "--trace", trace)
    done = vsr("upscale", film, tmp_path / "b.mp4", *options)
    assert done.returncode == 0, done.stderr
    assert "is the limit)" in done.stdout
    events = json.loads(trace.read_text())
    names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M"}
    assert sorted(names.values()) == ["decode", "encode", "upscale"]
    for thread, stage in names.items():
        busy = [e for e in events if e["tid"] == thread and e["name"] == stage]
        assert {e["args"]["frame"] for e in busy} >= set(range(8))
        assert all(e["dur"] >= 0 for e in busy)
    again = complaint("upscale", film, tmp_path / "c.mp4", *options)
    assert again == f"vsr: {trace}: exists; use --overwrite to replace it\n"
    assert not (tmp_path / "c.mp4").exists()
    folder = complaint("upscale", film.parent, tmp_path / "out", *options)
    assert folder == "vsr: --trace is of one film; name a film, not a folder\n"

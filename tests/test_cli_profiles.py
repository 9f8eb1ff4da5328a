"""Profiles: sets of options in TOML files."""

import json
import subprocess
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

import vsr
from tests.helpers.cli import complaint
from tests.helpers.cli import vsr as run
from tests.helpers.films import scenes, write_film
from vsr.cli.options import apply_profile
from vsr.cli.upscale import upscale_command
from vsr.engine import profile

NAMES = ("anime", "clean", "dvd", "phone", "vhs", "web")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames of 32x24."""
    return write_film(tmp_path_factory.mktemp("films") / "a.mp4", scenes(32, 24, [3]))


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def stream_of(film: Path) -> dict[str, object]:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries",
               "stream=codec_name,width,height", str(film)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    stream: dict[str, object] = json.loads(done.stdout)["streams"][0]
    return stream


def test_each_key_of_profiles_is_an_option_of_upscale() -> None:
    options = {one.name for one in upscale_command.params if isinstance(one, click.Option)}
    keys = set(profile._profile_type().model_fields) - {"summary"}
    assert keys <= options
    assert {"scale", "model", "detail", "deinterlace", "denoise", "deblock", "crf"} <= keys


def test_all_included_profiles_are_listed() -> None:
    listed = run("profiles").stdout.splitlines()
    assert tuple(line.split()[0] for line in listed[::2]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_included_profiles_have_values_of_options(name: str) -> None:
    params = {option.name: option for option in upscale_command.params}
    values = profile.read_profile(name)
    assert len(values) >= 4
    with click.Context(upscale_command) as context:
        for key, value in values.items():
            params[key].type_cast_value(context, str(value))
    assert vsr.load_profile(name)


def test_a_profile_sets_options_and_the_command_line_takes_precedence(
    film: Path, tmp_path: Path
) -> None:
    mine = written(tmp_path / "mine.toml", 'scale = 2\ncodec = "ffv1"\ndetail = 0.25\n')
    for options, expected, detail in (
        ((), {"codec_name": "ffv1", "width": 64, "height": 48}, 0.25),
        (("--scale", 4), {"codec_name": "ffv1", "width": 128, "height": 96}, 0.25),
        (("--detail", 0, "--codec", "hevc"), {"codec_name": "hevc", "width": 64, "height": 48}, 0),
    ):
        command = ("upscale", film, tmp_path / "a.mkv", "--overwrite", "--json", *options)
        done = run(*command, "--profile", mine)
        assert done.returncode == 0, done.stderr
        assert stream_of(tmp_path / "a.mkv") == expected
        assert json.loads(done.stdout)["detail"] == detail


def test_python_gives_the_same_bytes(film: Path, tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.toml", 'crf = 30\nscale = 2\ndeblock = 0.5\ntile = "off"\n')
    assert run("upscale", film, tmp_path / "a.mp4", "--profile", mine).returncode == 0
    options = vsr.load_profile(str(mine))
    assert options["tiling"] == "off"
    assert options["settings"] == vsr.EncoderSettings(crf=30)
    vsr.upscale_video(film, tmp_path / "b.mp4", **options)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_options_of_an_encoder_are_ignored_with_another_codec(film: Path, tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.toml", 'scale = 2\ncodec = "h264"\npreset = "slow"\ncrf = 20\n')
    done = run("upscale", film, tmp_path / "a.webm", "--profile", mine)
    assert done.returncode == 0, done.stderr
    assert stream_of(tmp_path / "a.webm")["codec_name"] == "av1"


def test_naming_the_codec_of_a_profile_keeps_its_quality(tmp_path: Path) -> None:
    mine = str(written(tmp_path / "mine.toml", "crf = 20\n"))
    for codec, crf in (("h264", 20), ("hevc", None)):
        arguments = ["a.mp4", "b.mp4", "--profile", mine, "--codec", codec]
        with upscale_command.make_context("upscale", arguments) as context:
            assert apply_profile(context.params, ".mp4")["crf"] == crf


def test_a_named_model_takes_the_place_of_scale_and_detail(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    mine = written(tmp_path / "mine.toml", "scale = 2\ndetail = 0.5\n")
    options = ("--profile", mine, "--model", tiny_model)
    assert run("upscale", film, tmp_path / "a.mp4", *options).returncode == 0
    assert stream_of(tmp_path / "a.mp4")["width"] == 128


def test_a_printed_profile_is_a_profile(tmp_path: Path) -> None:
    copy = written(tmp_path / "copy.toml", run("profiles", "vhs").stdout)
    assert vsr.load_profile(str(copy)) == vsr.load_profile("vhs")
    assert "# " in copy.read_text()


def test_plans_and_pictures_take_profiles(film: Path, tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.toml", 'scale = 2\ndetail = 1.0\ndeinterlace = "on"\n')
    plan = json.loads(run("plan", film, "--profile", mine, "--json").stdout)
    assert (plan["width"], plan["detail"]) == (64, 1.0)
    Image.fromarray(np.full((6, 9, 3), 80, np.uint8)).save(tmp_path / "a.png")
    done = run("image", tmp_path / "a.png", tmp_path / "b.png", "--profile", mine)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size == (18, 12)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("scael = 2", "unknown key scael; did you mean scale?"),
        ("detail = 3", "detail = 3: Input should be less than or equal to 1"),
        ("grain = nan", "grain = nan: Input should be a finite number"),
        ('deinterlace = "maybe"', "deinterlace = 'maybe': Input should be"),
        ("crf = 99", "crf = 99: 99 is not in the range 0<=x<=63."),
        ("scale = ", "not valid TOML"),
        ("", "no such file or directory"),
    ],
)
def test_a_profile_that_is_wrong_is_one_line(
    film: Path, tmp_path: Path, text: str, line: str
) -> None:
    mine = tmp_path / "mine.toml"
    if text:
        written(mine, text)
    said = complaint("upscale", film, tmp_path / "a.mp4", "--profile", mine)
    assert said.lower().startswith(f"vsr: {mine}: {line}".lower())
    assert not (tmp_path / "a.mp4").exists()


def test_an_unknown_name_lists_the_profiles(film: Path, tmp_path: Path) -> None:
    said = complaint("upscale", film, tmp_path / "a.mp4", "--profile", "vsh")
    expected = "unknown profile 'vsh'; there are: anime, clean, dvd, phone, vhs, web; or name a"
    assert said.startswith(f"vsr: {expected}")

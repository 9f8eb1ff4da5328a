"""Options of jobs: the same as those of the command line."""

from typing import Any

import pytest
from pydantic import ValidationError

from vsr.cli.options import parse_film_options
from vsr.cli.upscale import upscale_command
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import VsrError
from vsr.web.options import JobOptions

NOT_OF_THE_FILM = {
    "sources",
    "output",
    "workers",
    "cluster",
    "strict",
    "no_resume",
    "pipe_format",
    "trace",
    "watches",
    "json_progress",
    "overwrite",
    "as_json",
}

NOT_OF_JOBS = {
    "decoder",
    "device",
    "duration",
    "encoder",
    "encoder_option",
    "precision",
    "provider",
    "rate",
    "square_pixels",
    "tile",
}
"""Options of the machine, which the server's owner chooses, and some for experts."""
OTHER_NAMES = {"from_time": "start", "to_time": "end"}


def of_command_line(options: JobOptions) -> UpscaleOptions:
    """What `vsr upscale` makes of the arguments."""
    words = [*options.arguments(), "in.mp4", f"out{options.suffix}"]
    # The command keeps its help option: here it gets the same one as from `vsr`.
    with upscale_command.make_context(
        "upscale", words, help_option_names=["-h", "--help"]
    ) as context:
        film = {k: v for k, v in context.params.items() if k not in NOT_OF_THE_FILM}
        return UpscaleOptions(**parse_film_options(options.suffix, film))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"scale": 1.5, "detail": 0.25, "denoise": 0, "deblock": 0.5, "grain": 0.1},
        {"width": 640, "height": 480, "codec": "hevc", "crf": 20, "preset": "fast"},
        {"size": "1080p", "container": "webm", "audio": "none", "subtitles": "none", "video": 2},
        {"model": "best", "deinterlace": "double", "rotate": "apply", "inverse_telecine": True},
        {"start": "1:30", "end": 100.5, "backend": "torch", "container": "mkv"},
        {"steady": 0.5, "backend": "onnx"},
        {"profile": "vhs"},
        {"profile": "vhs", "scale": 3, "crf": 10},
        {"profile": "dvd", "codec": "hevc", "container": "mkv"},
        {"profile": "web", "container": "webm"},
        {"profile": "anime", "model": "tiny-x2"},
    ],
)
def test_options_are_those_of_the_command_line(values: dict[str, Any]) -> None:
    options = JobOptions.model_validate(values)
    assert options.upscale_options() == of_command_line(options)


def test_each_option_of_the_film_is_one_of_jobs_or_known_to_be_none() -> None:
    names = {OTHER_NAMES.get(str(one.name), str(one.name)) for one in upscale_command.params}
    assert names - NOT_OF_THE_FILM == set(JobOptions.model_fields) - {"container"} | NOT_OF_JOBS


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"scale": 2, "width": 640}, "exclude each other"),
        ({"size": "9k"}, "unknown; use one of"),
        ({"container": "webm", "codec": "h264"}, "doesn't support h264"),
        ({"crf": 60}, "lower is better"),
        ({"preset": "warp"}, "unknown preset"),
        ({"start": "soon"}, "is no time"),
        ({"start": 5, "end": 4}, "not after"),
        ({"model": "huge"}, "unknown model"),
        ({"profile": "none"}, "unknown profile"),
    ],
)
def test_errors_are_those_of_the_engine(values: dict[str, Any], line: str) -> None:
    with pytest.raises(VsrError, match=line):
        JobOptions.model_validate(values).upscale_options()


@pytest.mark.parametrize(
    "values",
    [
        {"model": "/etc/passwd"},
        {"model": "../model.safetensors"},
        {"model": "model.safetensors"},
        {"profile": "/etc/passwd"},
        {"profile": "mine.toml"},
        {"model": "--help"},
        {"device": "cuda:0"},
        {"encoder_option": ["x264-params=log=1"]},
        {"scale": float("inf")},
        {"scale": 0},
        {"detail": 1.1},
        {"width": 0},
    ],
)
def test_paths_and_other_options_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        JobOptions.model_validate(values)

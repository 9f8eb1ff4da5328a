"""The help of commands with many options."""

import click
import pytest

from tests.helpers.cli import vsr
from vsr.cli.plan import plan_command
from vsr.cli.sections import _SECTIONS
from vsr.cli.upscale import upscale_command

OWN = {"strict", "no_resume", "pipe_format", "trace", "watches", "json_progress", "overwrite",
       "as_json", "container", "preview"}  # fmt: skip


@pytest.mark.parametrize("command", [upscale_command, plan_command])
def test_each_option_of_films_is_in_one_section(command: click.Command) -> None:
    names = {param.name for param in command.params if isinstance(param, click.Option)}
    listed = [name for section in _SECTIONS.values() for name in section]
    assert sorted(listed) == sorted(name for name in names - OWN if name)
    lines = vsr(command.name, "--help").stdout.splitlines()
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == [f"{title}:" for title in (*_SECTIONS, "Run and output")]
    shown = [line.split()[0] for line in lines if line.startswith("  --")]
    assert len(shown) == len(set(shown)) == len(names)

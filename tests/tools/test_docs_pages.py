"""The generated parts of the documentation, and what it says about the code."""

import re
from pathlib import Path

import click
import docs_pages
import pytest

import vsr.zoo
from vsr.cli import cli
from vsr.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"


def test_every_option_of_every_command_is_documented() -> None:
    page = docs_pages.commands()
    for section in page.split("\n## ")[1:]:
        assert "\n```\nvsr " in section  # an example
    for name, command in cli.commands.items():
        section = page.split(f"## `vsr {name}`\n")[1].split("\n## ")[0]
        parts = command.commands.values() if isinstance(command, click.Group) else [command]
        for option in (param for part in parts for param in part.params):
            if isinstance(option, click.Option):
                assert f"`{option.opts[0]}" in section


def test_every_key_of_a_recipe_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", docs_pages.configuration(), re.MULTILINE)
    definitions = TrainConfig.model_json_schema()["$defs"]
    keys = {key for name in definitions for key in definitions[name].get("properties", {})}
    assert {key for key, _ in rows} == keys
    assert ("learning_rate", "") not in rows


def test_a_key_has_its_type_bounds_and_default() -> None:
    assert "| `batch` | integer, > 0 | `8` |" in docs_pages.configuration()
    assert "| `dataset` | string | required |" in docs_pages.configuration()
    assert "\n### `[[training.stages]]`\n" in docs_pages.configuration()


def test_every_card_is_on_the_page_of_models() -> None:
    page = docs_pages.models()
    for card in vsr.zoo.list_models():
        assert f"## `{card.name}`" in page
        assert all(f"- {source}" in page for source in card.data)


def test_the_page_of_models_says_which_frames_were_scored_and_the_default_detail() -> None:
    sections = dict(part.split("`\n", 1) for part in docs_pages.models().split("## `")[1:])
    assert "| default of `--detail` | 0.5 |" in sections["base-x4"]
    assert "| `bi` | 16 | 29.07 |" in sections["base-x4"]
    assert "| default of `--detail` | 0 |" in sections["tiny-x2"]
    assert "| `bi` | 16 | 29.03 |" in sections["tiny-x4"]


def test_requests_are_replaced_and_other_text_is_kept() -> None:
    page = docs_pages.on_page_markdown("before\n\n<!-- generated: scores -->\n\nafter\n")
    assert page.startswith("before\n\n| model | scale |")
    assert page.endswith("|\n\n\nafter\n")
    with pytest.raises(KeyError, match="nothing"):
        docs_pages.on_page_markdown("<!-- generated: nothing -->")


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://example.org/a.js"></script>',
        '<link href="https://example.org/a.css" rel="stylesheet">',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        "<img alt=x src=https://example.org/a.png>",
    ],
)
def test_a_page_that_loads_from_another_host_is_an_error(tmp_path: Path, text: str) -> None:
    page = tmp_path / "a.html"
    page.write_text('<a href="https://example.org">a link</a>')
    docs_pages.on_post_build({"site_dir": tmp_path})
    page.write_text(text)
    with pytest.raises(RuntimeError, match="loads from another host"):
        docs_pages.on_post_build({"site_dir": tmp_path})


@pytest.mark.parametrize("way", ["a frame", "a training clip", "a model file"])
def test_the_stops_of_a_walk_exist_in_the_code(way: str) -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    section = text.split(f"\n## The way of {way}\n")[1].split("\n## ")[0]
    stops = re.findall(r"^\d+\. \*\*`([\w.]+)`\*\*", section, re.MULTILINE)
    assert 5 <= len(stops) <= 10
    code = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("vsr/**/*.py"))
    for stop in stops:
        for name in stop.split("."):
            assert re.search(rf"^\s*(?:def|class) {name}\b", code, re.MULTILINE), stop


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, command in cli.commands.items():
        names = command.commands if isinstance(command, click.Group) else [""]
        for subcommand in names:
            assert f"`vsr {name} {subcommand}".rstrip() in readme


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_to_files_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert len(links) > 5
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []

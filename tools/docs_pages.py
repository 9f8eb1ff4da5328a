"""MkDocs hook: the parts of the documentation that are generated from the code.

A page requests one by a comment on a line of its own: `<!-- generated: commands -->` for the
command line, `configuration` for all keys of recipes, `models` for the cards of the included
models, and `scores` for the README's table.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import vsr.zoo
from vsr.cli import cli
from vsr.cli.sections import SectionedCommand
from vsr.training.config import TrainConfig
from vsr.zoo import Card

ROOT = Path(__file__).parents[1]
_REQUEST = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_SCORES = re.compile(r"<!-- scores -->\n(.*?)<!-- end of scores -->", re.DOTALL)
_LOADED_BY_PAGE = re.compile(
    r"""<(?:script|img|iframe)\b[^>]*\ssrc=["']?https?://"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|icon))[^>]*\bhref=["']?https?://"""
    r"""|(?:@import\s+|url\()["']?https?://"""
)
"""What a browser would load from another host when it opens a page."""

Schema = Mapping[str, Any]


def on_page_markdown(markdown: str, **context: Any) -> str:
    """Insert the generated parts of a page. Called by MkDocs. Raises KeyError for unknown ones."""
    return _REQUEST.sub(lambda request: GENERATED[request.group(1)](), markdown)


def on_post_build(config: Any, **context: Any) -> None:
    """Check that the site works offline. Called by MkDocs. Raises RuntimeError if not."""
    for path in sorted(Path(config["site_dir"]).rglob("*")):
        if path.suffix in (".html", ".css"):
            found = _LOADED_BY_PAGE.search(path.read_text(encoding="utf-8"))
            if found:
                raise RuntimeError(f"{path}: loads from another host: {found.group()}")


def commands() -> str:
    """Write a section for each command: its description, examples, usage and options."""
    return "\n\n".join(_command_sections(cli, click.Context(cli, info_name="vsr")))


def configuration() -> str:
    """Write a section for each table of a recipe, with a row for each key."""
    schema = TrainConfig.model_json_schema()
    return "\n".join(_table_sections(schema, schema["$defs"], path=""))


def models() -> str:
    """Write a section for each included model: what its card says."""
    return "\n\n".join(_card_section(card) for card in vsr.zoo.list_models())


def scores() -> str:
    """Return the table of scores in the README."""
    found = _SCORES.search((ROOT / "README.md").read_text(encoding="utf-8"))
    if found is None:
        raise RuntimeError("README.md: lacks its table of scores")
    return found.group(1)


GENERATED: dict[str, Callable[[], str]] = {
    "commands": commands,
    "configuration": configuration,
    "models": models,
    "scores": scores,
}


def _command_sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the section of a command, then those of its subcommands."""
    if context.parent is not None:
        yield f"{'#' * (2 + context.command_path.count(' ') - 1)} `{context.command_path}`"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        is_example = paragraph.startswith("\b\n")
        text = paragraph.removeprefix("\b\n")
        # Joined to one line, since a line that starts with "- " would be a list.
        yield f"```\n{text}\n```" if is_example else " ".join(text.split())
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            subcontext = click.Context(child, parent=context, info_name=name)
            yield from _command_sections(child, subcontext)
        return
    pieces = command.collect_usage_pieces(context)
    yield f"Usage: `{' '.join([context.command_path, *pieces])}`"
    if isinstance(command, SectionedCommand):
        for title, section in command.option_sections(context):
            yield _option_table(title, section)
        return
    options = [option for option in command.params if isinstance(option, click.Option)]
    records = [option.get_help_record(context) for option in options]
    if rows := [record for record in records if record]:
        yield _option_table("option", rows)


def _option_table(title: str, records: Sequence[tuple[str, str]]) -> str:
    rows = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records]
    return "\n".join([f"| {title} | |", "|---|---|", *rows])


def _table_sections(schema: Schema, definitions: Schema, path: str) -> Iterator[str]:
    """Yield the section of one class, then those of the classes that its keys hold."""
    rows, children = [], []
    for key, value in schema["properties"].items():
        names = list(_class_names(value, definitions))
        if names:
            is_list = value.get("type") == "array"
            children += [(f"{path}.{key}".lstrip("."), name, is_list) for name in names]
        if not path and names:
            continue
        rows.append(
            f"| `{key}` | {_type(value, definitions)} | {_default(value, key, schema)} "
            f"| {_cell(value.get('description', ''))} |"
        )
    if path:
        yield f"\n{_cell(schema.get('description', ''))}\n"
        yield "| key | type | default | |\n|---|---|---|---|"
        yield from rows
    for child, name, is_list in children:
        definition = definitions[name]
        selector = definition["properties"].get("kind", {}).get("const")
        level = "##" if "." not in child else "###"
        title = f"`[[{child}]]`" if is_list else f"`[{child}]`"
        yield f"\n{level} {title}" + (f', `kind = "{selector}"`' if selector else "")
        yield from _table_sections(definition, definitions, child)


def _class_names(value: Schema, definitions: Schema) -> Iterator[str]:
    """Yield the configuration classes that a key can hold."""
    name = value.get("$ref", "").rpartition("/")[2]
    if name and "properties" in definitions[name]:
        yield name
    for part in (*value.get("anyOf", ()), *value.get("oneOf", ()), *_items(value)):
        yield from _class_names(part, definitions)


def _items(value: Schema) -> tuple[Schema, ...]:
    return (value["items"],) if "items" in value else tuple(value.get("prefixItems", ()))


def _type(value: Schema, definitions: Schema) -> str:
    """Describe the type of a key in the terms of TOML, with its bounds."""
    if name := value.get("$ref", "").rpartition("/")[2]:
        definition = definitions[name]
        return "table" if "properties" in definition else _type(definition, definitions)
    choices = value.get("anyOf") or value.get("oneOf")
    if choices:
        parts = [_type(part, definitions) for part in choices if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    values = value.get("enum") or ([value["const"]] if "const" in value else [])
    if values:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in values)
    if value.get("type") == "array":
        types = dict.fromkeys(_type(item, definitions) for item in _items(value))
        return f"list of {' or '.join(types)}" if types else "list"
    return f"{value.get('type', 'table')}{_bounds(value)}"


def _bounds(value: Schema) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    bounds = [f"{sign} {value[key]:g}" for key, sign in signs.items() if key in value]
    if "multipleOf" in value:
        bounds.append(f"multiple of {value['multipleOf']}")
    return f", {', '.join(bounds)}" if bounds else ""


def _default(value: Schema, key: str, schema: Schema) -> str:
    if key in schema.get("required", ()):
        return "required"
    if isinstance(value.get("default"), dict):
        return "see below"
    default = value.get("default")
    return "" if default is None else f"`{json.dumps(default)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _card_section(card: Card) -> str:
    lines = [
        f"## `{card.name}`\n",
        f"{card.summary}\n",
        "| | |\n|---|---|",
        f"| scale | x{card.scale} |",
        f"| default of `--detail` | {card.default_detail:g} |",
        f"| weights | {card.parameters:,} |",
        f"| multiply-accumulates per input pixel | {card.multiplies_per_pixel:,} |",
        f"| licence of the weights | {card.licence} |",
        f"| training | {card.iterations:,} iterations, {card.minutes:g} minutes, {card.machine} |",
        f"| recipe | `{card.recipe}` |",
        "\n| degradation | frames | PSNR-Y dB | bicubic | SSIM-Y | bicubic | tOF px | bicubic |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {score.frames or 'all'} | {score.psnr_y:.2f} | {score.bicubic_psnr_y:.2f} "
        f"| {score.ssim_y:.4f} | {score.bicubic_ssim_y:.4f} "
        f"| {score.tof:.3f} | {score.bicubic_tof:.3f} |"
        for name, score in card.scores.items()
    ]
    lines += ["\nTraining data:\n", *(f"- {source}" for source in card.data)]
    lines += ["\nHeld-out films:\n", *(f"- {film}" for film in card.validation)]
    return "\n".join(lines)

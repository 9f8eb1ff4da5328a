"""Help of commands with many options, in sections."""

from collections.abc import Iterator

import click

_SECTIONS = {
    "Size and model": (
        "profile",
        "scale",
        "width",
        "height",
        "size",
        "square_pixels",
        "model",
        "detail",
    ),
    "Part of the film": ("from_time", "to_time", "duration"),
    "Restoration": (
        "deinterlace",
        "inverse_telecine",
        "denoise",
        "steady",
        "deblock",
        "grain",
        "rotate",
    ),
    "Streams": ("video", "rate", "audio", "subtitles"),
    "Encoding": ("codec", "crf", "preset", "encoder", "encoder_option"),
    "Computing": (
        "device",
        "workers",
        "cluster",
        "backend",
        "provider",
        "precision",
        "tile",
        "decoder",
    ),
}
"""Options by section, in the order of the help. All others follow under "Run and output"."""
_OTHERS = "Run and output"


class SectionedCommand(click.Command):
    """A command whose help shows its options in sections."""

    def option_sections(self, ctx: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Yield the title of each section, and the names and help of its options."""
        records = {
            param.name: record
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
            and (record := param.get_help_record(ctx)) is not None
        }
        for title, names in _SECTIONS.items():
            if rows := [records.pop(name) for name in names if name in records]:
                yield title, rows
        yield _OTHERS, list(records.values())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of options for each section."""
        for title, rows in self.option_sections(ctx):
            with formatter.section(title):
                formatter.write_dl(rows)

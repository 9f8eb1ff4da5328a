"""One result of a comparison, and a table of them."""

from collections.abc import Sequence
from dataclasses import dataclass

_MAX_WIDTH = 44
"""Characters of a cell of the table."""


@dataclass(frozen=True)
class Finding:
    """One property of a film or picture, in the source and in the output."""

    what: str
    source: str
    output: str
    kept: bool


def format_findings(findings: Sequence[Finding]) -> str:
    """Format findings as a table, one line each, with lost properties marked."""
    rows = [("", "", "source", "output")]
    rows += [
        ("ok" if finding.kept else "LOST", finding.what, finding.source, finding.output)
        for finding in findings
    ]
    widths = [max(len(_shortened(row[column])) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(
            _shortened(cell).ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_WIDTH else f"{text[: _MAX_WIDTH - 3]}..."

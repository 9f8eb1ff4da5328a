"""Render HTML pages with packaged styles and scripts; importing this needs no torch."""

import json
from html import escape
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
"""Folder of the styles and scripts of pages."""


def render_page(title: str, body: str, asset_name: str, assets: str | None = None) -> str:
    """Render a page with `assets/{asset_name}.css` and `.js`, embedded or linked.

    They are linked where `assets` is the address of their folder: the page then has neither scripts
    nor styles of its own, as strict content security policies demand.
    """
    names = ("page.css", f"{asset_name}.css")
    script = f"{asset_name}.js"
    if assets is None:
        style = f"<style>\n{''.join(map(asset, names))}</style>"
        code = f"<script>\n{asset(script)}</script>"
    else:
        style = "\n".join(f'<link rel="stylesheet" href="{assets}/{name}">' for name in names)
        code = f'<script src="{assets}/{script}"></script>'
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
{style}
</head>
<body>
{body}
{code}
</body>
</html>
"""


def as_script_data(value: object) -> str:
    """Serialise as JSON that is safe inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def asset(name: str) -> str:
    """Read a packaged part of a page."""
    return (ASSETS / name).read_text(encoding="utf-8")

"""`vsr serve`: the engine in a browser."""

import importlib.util
from pathlib import Path
from typing import Any

import click

from vsr.cli.streams import print_message
from vsr.errors import ConfigError

_FOLDER = click.Path(path_type=Path)


@click.command("serve")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at. Any but this machine's own needs --token.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8765,
    show_default=True,
    help="Port to listen at. 0: a free one.",
)
@click.option(
    "--root",
    "roots",
    type=_FOLDER,
    multiple=True,
    metavar="DIR",
    help="Folder whose films can be chosen, with its subfolders; repeatable. It is only read.",
)
@click.option(
    "--data",
    type=_FOLDER,
    metavar="DIR",
    help="Folder of uploads, outputs and the queue. Default: ~/.local/share/vsr/serve.",
)
@click.option(
    "--token",
    envvar="VSR_TOKEN",
    metavar="T",
    help="Secret that each request must hold; better set as VSR_TOKEN.",
)
@click.option(
    "--host-name",
    "host_names",
    multiple=True,
    metavar="NAME[:PORT]",
    help="Further name of this server in addresses, such as that of a reverse proxy; repeatable.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Change a limit, such as upload_bytes=50_000_000_000; repeatable.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
def serve_command(
    host: str,
    port: int,
    roots: tuple[Path, ...],
    data: Path | None,
    token: str | None,
    host_names: tuple[str, ...],
    limits: tuple[str, ...],
    opens: bool,
) -> None:
    """Upscale films in a browser, on this machine.

    Drop films on the page or choose them from folders, compare models on a frame, and queue films.
    The queue survives a restart. The same is an HTTP API. Ctrl-C ends it.

    \b
    vsr serve --open
    vsr serve --root ~/Videos --root /mnt/tapes
    VSR_TOKEN=$(openssl rand -hex 16) vsr serve --host 0.0.0.0
    """
    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
        raise ConfigError("vsr serve needs further packages; install them: pip install 'vsr[web]'")
    from vsr.system.cache import data_folder
    from vsr.web.server import serve
    from vsr.web.settings import make_settings, parse_limits

    settings = make_settings(
        data or data_folder("serve"),
        host,
        port,
        roots=roots,
        token=token,
        host_names=host_names,
        limits=parse_limits(limits),
    )

    def on_start(bound: Any) -> None:
        address = bound.address
        print_message(f"{address} serves {', '.join(bound.all_roots)}; Ctrl-C ends it")
        if opens:
            import webbrowser

            webbrowser.open(address + (f"?token={token}" if token else ""))

    serve(settings, on_start)

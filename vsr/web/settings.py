"""Settings of the server, and its limits."""

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from vsr.config import Config, parse
from vsr.errors import ConfigError
from vsr.system.files import make_folder
from vsr.web.names import clean_name

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine that no other machine reaches."""
OWN_ROOTS = ("uploads", "outputs")
"""Names of the server's own folders."""
_LEAST_TOKEN = 16
"""Characters of a token."""


class Limits(Config):
    """Limits of what clients can ask for; each has a clear refusal."""

    upload_bytes: int = Field(default=200 * 10**9, ge=1)
    """Largest file to upload."""
    uploads: int = Field(default=16, ge=1)
    """Uploads that are incomplete at the same time."""
    unfinished_jobs: int = Field(default=100, ge=1)
    """Jobs that are running, waiting or paused."""
    kept_jobs: int = Field(default=1000, ge=1)
    """Finished jobs in the list; older ones are removed from it, and their outputs stay."""
    preview_bytes: int = Field(default=2 * 10**9, ge=10**6)
    """Previews on disk; the least recently used are removed."""
    free_bytes: int = Field(default=2 * 10**9, ge=0)
    """Least free disk space: below it, no upload and no job starts."""
    json_bytes: int = Field(default=64 * 1024, ge=1024)
    """Largest body of a request, except for uploads."""
    requests: int = Field(default=64, ge=1)
    """Requests that are answered at the same time; others get 503."""
    transfers: int = Field(default=32, ge=1)
    """Uploads and downloads at the same time, in addition to `requests`; others get 503."""
    listeners: int = Field(default=32, ge=1)
    """Open streams of events."""
    connections: int = Field(default=400, ge=1)
    """Open connections; those beyond get 503."""
    header_seconds: float = Field(default=15.0, gt=0)
    """Time for the headers of a request."""
    body_seconds: float = Field(default=30.0, gt=0)
    """Time for the body of a request, in addition to that at the least rate."""
    body_rate: int = Field(default=10_000, ge=1)
    """Least average bytes per second of a body."""
    stalled_seconds: float = Field(default=60.0, gt=0)
    """Time without progress after which a connection ends whose client doesn't read."""
    listed_files: int = Field(default=5000, ge=1)
    """Files and folders in the listing of one folder."""


class ServerSettings(Config):
    """Settings of a server."""

    data: Path
    """Folder of the server's own files: database, uploads and outputs."""
    host: str = "127.0.0.1"
    """Address to listen at."""
    port: int = Field(default=8765, ge=0, le=65_535)
    """Port to listen at."""
    roots: Mapping[str, Path] = Field(default_factory=dict)
    """Folders whose films can be chosen, by name; see `name_roots`."""
    token: str | None = None
    """Secret that each request must hold; None on loopback only."""
    host_names: tuple[str, ...] = ()
    """Further values of the Host header, such as the name of a reverse proxy."""
    limits: Limits = Field(default_factory=Limits)
    """Limits of what clients can ask for."""

    @property
    def is_loopback(self) -> bool:
        """Whether no other machine can reach the server."""
        return is_loopback(self.host)

    @property
    def all_roots(self) -> dict[str, Path]:
        """All folders by name: those of the server and those of the user."""
        return {name: self.data / name for name in OWN_ROOTS} | dict(self.roots)

    @property
    def address(self) -> str:
        """URL of the page."""
        host = "localhost" if self.host in ("0.0.0.0", "::", "127.0.0.1", "::1") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


def make_settings(
    data: Path,
    host: str,
    port: int,
    roots: Sequence[Path] = (),
    token: str | None = None,
    host_names: Sequence[str] = (),
    limits: Limits = Limits(),
) -> ServerSettings:
    """Check what a user asked for, and create the data folder. Raises `VsrError`."""
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host}: other machines can reach it; add --token, or set VSR_TOKEN, to a "
            f"secret of {_LEAST_TOKEN} characters or more"
        )
    if token is not None and not (
        len(token) >= _LEAST_TOKEN and token.isascii() and token.isprintable() and " " not in token
    ):
        raise ConfigError(
            f"--token: use {_LEAST_TOKEN} or more ASCII characters without spaces, such as those "
            "of `openssl rand -hex 16`"
        )
    settings = ServerSettings(
        data=data.absolute(),
        host=host,
        port=port,
        roots=name_roots(roots),
        token=token,
        host_names=tuple(name.lower() for name in host_names),
        limits=limits,
    )
    for name in OWN_ROOTS:
        make_folder(settings.data / name)
    return settings


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def name_roots(folders: Sequence[Path]) -> dict[str, Path]:
    """Name folders after their last part, with a number where that is taken.

    Raises `ConfigError` where a folder doesn't exist.
    """
    named: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"--root {folder}: no such folder")
        resolved = folder.resolve()
        base = name = clean_name(resolved.name) or "root"
        number = 2
        while name in named or name in OWN_ROOTS:
            name, number = f"{base}-{number}", number + 1
        named[name] = resolved
    return named


def parse_limits(assignments: Sequence[str]) -> Limits:
    """Parse `NAME=NUMBER`. Raises `ConfigError`."""
    values: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--limit {assignment}: write NAME=NUMBER")
        values[name.strip()] = value.strip()
    return parse(values, Limits, "--limit")

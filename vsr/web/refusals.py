"""Errors of clients, beside those of the engine."""

import shlex
from pathlib import PurePosixPath

from vsr.errors import VsrError


class NotFound(VsrError):
    """A reference names nothing that the server shows."""


class Conflict(VsrError):
    """A request doesn't fit the state of what it is about."""


class WrongOffset(Conflict):
    """A chunk of an upload starts at another byte than the next one."""

    def __init__(self, given: int, offset: int) -> None:
        """`offset` is that of the next byte."""
        super().__init__(f"the next chunk starts at {offset}, not at {given}")
        self.offset = offset


class Refused(VsrError):
    """A limit of the server is reached."""

    def __init__(self, text: str, status: int) -> None:
        """`status` is the HTTP status, 413 or 429."""
        super().__init__(text)
        self.status = status


class PictureRefused(VsrError):
    """A picture was named where a film is wanted."""

    def __init__(self, file: str) -> None:
        """`file` is the reference of the picture."""
        name = PurePosixPath(file)
        command = shlex.join(("vsr", "image", name.name, f"{name.stem}-large.png"))
        super().__init__(f"{file}: is a picture, not a film; upscale it in a terminal: {command}")

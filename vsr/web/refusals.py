"""Errors of clients, beside those of the engine."""

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


class Busy(VsrError):
    """As much is going on as the server allows; the same request may succeed later."""

"""Errors as JSON: `{"error": "one line"}`."""

import logging
import sqlite3
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vsr.config import Config
from vsr.errors import VsrError
from vsr.web.refusals import Conflict, NotFound, Refused, WrongOffset
from vsr.web.services import services_of

_log = logging.getLogger(__name__)


class Error(Config):
    """An error of a request."""

    error: str
    """One line that says what, where, and what to do."""
    offset: int | None = None
    """Of an upload: where the next chunk starts."""


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Error, "description": "The request is refused"},
    503: {"model": Error, "description": "Too many requests at once, or the disk is full"},
}
"""Responses of all routes, for the OpenAPI document."""


def describe_errors(document: dict[str, Any]) -> None:
    """State in an OpenAPI document that all errors are JSON, also of routes that send files.

    FastAPI describes them with the media type of the route's other responses.
    """
    for operations in document["paths"].values():
        for operation in operations.values():
            for status in map(str, ERRORS):
                content = operation["responses"][status]["content"]
                if "application/json" not in content:
                    content["application/json"] = content.popitem()[1]


def add_error_handlers(app: FastAPI) -> None:
    """Answer all errors of clients with a status of 4xx and one line."""
    app.add_exception_handler(VsrError, _answer_vsr_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    for failure in (OSError, sqlite3.Error):
        app.add_exception_handler(failure, _answer_disk)


def status_of(error: VsrError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, NotFound):
        return 404
    return 409 if isinstance(error, Conflict) else 400


async def _answer_vsr_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, VsrError)
    text = services_of(request).roots.shorten(str(error))
    extra = {} if not isinstance(error, WrongOffset) else {"offset": error.offset}
    return _answer(status_of(error), text, **extra)


async def _answer_nobody(request: Request, error: Exception) -> JSONResponse:
    return _answer(400, "the client left before the end of its request")


async def _answer_disk(request: Request, error: Exception) -> JSONResponse:
    """The disk is full, or a folder of the server was removed: the log has the rest."""
    _log.error("%s %s", request.method, request.url.path, exc_info=error)
    reason = error.strerror if isinstance(error, OSError) else error
    return _answer(503, f"a folder of the server can't be used: {reason}", {"retry-after": "10"})


async def _answer_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _answer(error.status_code, str(error.detail), error.headers)


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    """Describe the first problem, and count the others."""
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    text = f"{where}: {first['msg'].removeprefix('Value error, ')}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return _answer(422, text + more)


def _answer(status: int, text: str, headers: Any = None, **extra: int) -> JSONResponse:
    line = " ".join(text.encode("utf-8", errors="backslashreplace").decode().split())
    return JSONResponse({"error": line, **extra}, status, headers)

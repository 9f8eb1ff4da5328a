"""Answers that are files, or parts of files."""

from os import stat
from pathlib import Path

from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.responses import FileResponse, JSONResponse
from starlette.types import Message, Receive, Scope, Send

from vsr.web.refusals import NotFound

_RANGE_ERRORS = {
    400: "Range: use bytes=FIRST-LAST",
    416: "Range: starts after the end of the file",
}


class FileAnswer(FileResponse):
    """A file; Range and If-Range are supported, and errors are JSON as in all of the API."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file; raises `NotFound` if it was removed meanwhile."""
        try:
            self.stat_result = await run_sync(stat, self.path)
        except OSError as error:
            raise NotFound(f"{Path(self.path).name}: was removed") from error
        self.set_stat_headers(self.stat_result)
        is_refused = False

        async def send_part(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start" and message["status"] in _RANGE_ERRORS:
                is_refused, status = True, message["status"]
                size = Headers(raw=message["headers"]).get("content-range")
                headers = {"content-range": size} if size else None
                answer = JSONResponse({"error": _RANGE_ERRORS[status]}, status, headers)
                await answer(scope, receive, send)
            elif not is_refused:
                await send(message)

        await super().__call__(scope, receive, send_part)

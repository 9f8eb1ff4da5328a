"""An HTTP client of an application in the tests' own process."""

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI

from vsr.web.app import create_app
from vsr.web.settings import Limits, ServerSettings

ADDRESS = "http://127.0.0.1:8765"


class Client:
    """Sends requests one after another, each in an event loop of its own."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def request(
        self, method: str, path: str, raises: bool = True, **options: Any
    ) -> httpx.Response:
        """Send a request; `path` is taken as it is. Errors of the application are raised."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=raises)
            async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


def with_limits(settings: ServerSettings, **limits: float) -> Client:
    """A client of a server with other limits."""
    changed = Limits.model_validate(limits)
    return Client(create_app(settings.model_copy(update={"limits": changed})))

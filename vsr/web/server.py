"""Run the application: bind the port, serve until Ctrl-C."""

import asyncio
import json
import signal
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from filelock import FileLock, Timeout
from uvicorn.protocols.http.h11_impl import H11Protocol

from vsr.errors import ConfigError
from vsr.web.app import create_app
from vsr.web.events import EventHub
from vsr.web.guard import SAFETY_HEADERS
from vsr.web.settings import Limits, ServerSettings

_BACKLOG = 1024
"""Connections that wait to be accepted."""
_GRACE_SECONDS = 5
"""Time for open requests at the end."""


def _final_answer(status: HTTPStatus, line: str) -> bytes:
    """Encode an answer after which the connection ends."""
    body = json.dumps({"error": line}).encode()
    headers = SAFETY_HEADERS | {
        "connection": "close",
        "content-length": str(len(body)),
        "content-type": "application/json",
        "retry-after": "1",
    }
    lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _protocol(limits: Limits) -> type[H11Protocol]:
    """Return HTTP/1.1 that closes surplus connections, and those of slow clients."""
    too_many = _final_answer(
        HTTPStatus.SERVICE_UNAVAILABLE, "too many connections; try again in a second"
    )

    class Protocol(H11Protocol):
        timer: asyncio.TimerHandle | None = None
        stall: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            # asyncio sets it for some sockets only; without it, each answer waits 40 ms for an ACK.
            connection: socket.socket = transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self.connections) > limits.connections:
                transport.write(too_many)
                transport.close()
            self.watch_headers()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.watch_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self.stop_timer()
            self.stop_stall()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self.stall = self.loop.call_later(limits.stalled_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self.stop_stall()
            super().resume_writing()

        def send_400_response(self, msg: str) -> None:
            """Refuse what isn't HTTP, unless another answer was started."""
            if self.conn.our_state is h11.IDLE:
                self.transport.write(_final_answer(HTTPStatus.BAD_REQUEST, msg))
            self.transport.close()

        def watch_headers(self) -> None:
            """Run the timer while no request is being answered."""
            if self.cycle is not None and not self.cycle.response_complete:
                self.stop_timer()
            elif self.timer is None:
                self.timer = self.loop.call_later(limits.header_seconds, self.transport.close)

        def stop_timer(self) -> None:
            if self.timer is not None:
                self.timer.cancel()
            self.timer = None

        def stop_stall(self) -> None:
            if self.stall is not None:
                self.stall.cancel()
            self.stall = None

    return Protocol


class _Server(uvicorn.Server):
    """A server that ends the streams of events, which have no end of their own."""

    def __init__(self, config: uvicorn.Config, hub: EventHub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close all connections."""
        self._hub.close()
        await super().shutdown(sockets)


def serve(settings: ServerSettings, on_start: Callable[[ServerSettings], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    `on_start` is called once connections are accepted, with the port that was chosen for port 0.
    Raises `VsrError` where the port or the data folder is in use.
    """
    lock = FileLock(settings.data / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"{settings.data}: another vsr serve uses it; name another --data") from (
            error
        )
    with lock, _bind(settings) as bound:
        settings = settings.model_copy(update={"port": bound.getsockname()[1]})
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            http=_protocol(settings.limits),
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        previous = {  # uvicorn handles the signals, and raises them again at the end
            number: signal.signal(number, lambda *_: None)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            asyncio.run(
                _run(_Server(config, app.state.services.hub), bound, lambda: on_start(settings))
            )
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


async def _run(server: uvicorn.Server, bound: socket.socket, on_start: Callable[[], None]) -> None:
    async def call_when_started() -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        on_start()

    starting = asyncio.create_task(call_when_started())
    try:
        await server.serve([bound])
    finally:
        starting.cancel()


def _bind(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server(
            (settings.host, settings.port), family=family, backlog=_BACKLOG, reuse_port=False
        )
    except OSError as error:
        reason = str(error.strerror or error).lower()
        raise ConfigError(
            f"--port {settings.port}: can't listen at {settings.host}: {reason}"
        ) from error

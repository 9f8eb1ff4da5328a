"""Server-sent events: what changes, to each client that listens."""

import asyncio
from collections.abc import AsyncIterator, Callable

from pydantic import BaseModel

from vsr.config import Config

HEARTBEAT_SECONDS = 15.0
"""Time without an event after which a comment keeps the connection open."""


class Removed(Config):
    """Something that is no longer listed."""

    job: str
    """The job."""


class EventHub:
    """Delivers events to all listeners.

    A listener that is slow gets the latest state alone: of several events about one object, the
    newest replaces the others. So its memory is bounded by the count of objects.
    """

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()
        self._is_closed = False

    @property
    def listeners(self) -> int:
        """Count of open streams."""
        return len(self._listeners)

    def publish(self, event: str, key: str, data: BaseModel) -> None:
        """Send an event about the object `key`. Call it in the event loop."""
        if self._listeners:
            text = encode_event(event, data.model_dump_json(by_alias=True))
            for listener in self._listeners:
                listener.put(f"{event}:{key}", text)

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        for listener in self._listeners:
            listener.wake.set()

    async def stream(self, snapshot: Callable[[], str]) -> AsyncIterator[str]:
        """Yield events as text: first `snapshot`, then those that follow it."""
        listener = _Listener()
        self._listeners.add(listener)
        try:
            yield snapshot()
            while not self._is_closed:
                try:
                    await asyncio.wait_for(listener.wake.wait(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield ": \n\n"
                for text in listener.take():
                    yield text
        finally:
            self._listeners.discard(listener)


class _Listener:
    """Events that one client hasn't received yet, in order."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._waiting: dict[str, str] = {}

    def put(self, key: str, text: str) -> None:
        self._waiting.pop(key, None)
        self._waiting[key] = text
        self.wake.set()

    def take(self) -> list[str]:
        texts, self._waiting = list(self._waiting.values()), {}
        if texts:
            self.wake.clear()
        return texts


def encode_event(event: str, data: str) -> str:
    """Encode an event; `data` is JSON on one line."""
    return f"event: {event}\ndata: {data}\n\n"

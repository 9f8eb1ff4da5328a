"""Three stages in three threads: decode, upscale, encode, joined by short queues."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """Another stage has failed or the run was called off: leave quietly."""


@dataclass
class StageTimes:
    """Seconds a stage was busy, rather than waiting for its neighbours."""

    decode: float = 0.0
    upscale: float = 0.0
    encode: float = 0.0


class Pipe(Generic[T]):
    """A bounded queue that either side can close."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._broken = False

    def put(self, item: T) -> None:
        """Wait for room, then append; raises `Stopped` once the pipe is broken."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._most or self._broken)
            if self._broken:
                raise Stopped
            self._items.append(item)
            self._changed.notify_all()

    def end(self) -> None:
        """No more will come; what is there can still be read."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def break_(self) -> None:
        """Wake both sides and let nothing more through."""
        with self._changed:
            self._broken = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended or self._broken)
                if self._broken:
                    raise Stopped
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


def run_stages(
    source: Iterable[T],
    work: Callable[[T], T],
    sink: Callable[[T], None],
    most_waiting: int = 8,
) -> StageTimes:
    """Pass every item of `source` through `work` to `sink`, in order, each stage at its own pace.

    `work` runs in the calling thread, `source` and `sink` in one thread each. At most
    `most_waiting` items wait between two stages. The first error of any stage stops
    all three and is raised here.
    """
    decoded: Pipe[T] = Pipe(most_waiting)
    upscaled: Pipe[T] = Pipe(most_waiting)
    times = StageTimes()
    errors: list[BaseException] = []

    def fail(error: BaseException) -> None:
        errors.append(error)
        decoded.break_()
        upscaled.break_()

    def guarded(stage: Callable[[], None]) -> None:
        try:
            stage()
        except Stopped:
            pass
        except BaseException as error:
            fail(error)

    def decode() -> None:
        began = time.perf_counter()
        for item in source:
            times.decode += time.perf_counter() - began
            decoded.put(item)
            began = time.perf_counter()
        decoded.end()

    def upscale() -> None:
        for item in decoded:
            began = time.perf_counter()
            result = work(item)
            times.upscale += time.perf_counter() - began
            upscaled.put(result)
        upscaled.end()

    def encode() -> None:
        for item in upscaled:
            began = time.perf_counter()
            sink(item)
            times.encode += time.perf_counter() - began

    threads = [
        threading.Thread(target=guarded, args=(stage,), name=f"vsr-{stage.__name__}")
        for stage in (decode, encode)
    ]
    for thread in threads:
        thread.start()
    guarded(upscale)
    try:
        for thread in threads:
            thread.join()
    except (KeyboardInterrupt, SystemExit) as interrupt:  # while the last frames were encoded
        fail(interrupt)
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return times

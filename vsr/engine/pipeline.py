"""Three stages in three threads: decode, upscale, encode, joined by short queues."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

S = TypeVar("S")
T = TypeVar("T")

StageName = Literal["decode", "upscale", "encode"]
Kind = Literal["busy", "starved", "blocked"]
Watch = Callable[[StageName, Kind, int, float, float], None]
"""Told of each span of a stage's time: of what kind, for which item, from when to when."""


class Stopped(Exception):
    """Another stage has failed or the run was called off: leave quietly."""


@dataclass
class StageTime:
    """Seconds of a stage, by what it did."""

    busy: float = 0.0
    starved: float = 0.0
    """Waiting for something to do; a device at work counts as that for the stage after it."""
    blocked: float = 0.0
    """Waiting for room to put what is done."""


@dataclass
class StageTimes:
    """What each stage's time went into."""

    decode: StageTime = field(default_factory=StageTime)
    upscale: StageTime = field(default_factory=StageTime)
    encode: StageTime = field(default_factory=StageTime)

    @property
    def limit(self) -> StageName:
        """The stage that the others wait for."""
        if self.encode.starved < 0.1 * self.encode.busy:
            return "encode"
        here = self.upscale
        return "decode" if here.starved > here.busy + here.blocked else "upscale"


class _Clock:
    """Adds up the time of one stage."""

    def __init__(self, stage: StageName, times: StageTimes, watch: Watch | None) -> None:
        self._stage, self._watch = stage, watch
        self._time: StageTime = getattr(times, stage)
        self._began = time.perf_counter()

    def lap(self, kind: Kind, number: int) -> None:
        """What has passed since the last lap went into this."""
        now = time.perf_counter()
        setattr(self._time, kind, getattr(self._time, kind) + now - self._began)
        if self._watch is not None:
            self._watch(self._stage, kind, number, self._began, now)
        self._began = now


class StageQueue(Generic[T]):
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
    source: Iterable[S],
    work: Callable[[S], Callable[[], T]],
    sink: Callable[[T], None],
    queue_size: int = 8,
    watch: Watch | None = None,
) -> StageTimes:
    """Pass every item of `source` through `work` to `sink`, in order, each stage at its own pace.

    `work` begins an item and gives what waits for it; that is called before `sink`, in its
    thread. `work` runs in the calling thread, `source` and `sink` in one thread each. At most
    `queue_size` items wait between two stages. The first error of any stage stops
    all three and is raised here.
    """
    decoded: StageQueue[S] = StageQueue(queue_size)
    upscaled: StageQueue[Callable[[], T]] = StageQueue(queue_size)
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
        clock, number = _Clock("decode", times, watch), -1
        for number, item in enumerate(source):
            clock.lap("busy", number)
            decoded.put(item)
            clock.lap("blocked", number)
        clock.lap("busy", number + 1)
        decoded.end()

    def upscale() -> None:
        clock = _Clock("upscale", times, watch)
        for number, item in enumerate(decoded):
            clock.lap("starved", number)
            begun = work(item)
            clock.lap("busy", number)
            upscaled.put(begun)
            clock.lap("blocked", number)
        upscaled.end()

    def encode() -> None:
        clock = _Clock("encode", times, watch)
        for number, begun in enumerate(upscaled):
            item = begun()
            clock.lap("starved", number)
            sink(item)
            clock.lap("busy", number)

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

"""Three stages in three threads, connected by bounded queues: decode, upscale, encode."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

S = TypeVar("S")
T = TypeVar("T")

StageName = Literal["decode", "upscale", "encode"]
Activity = Literal["busy", "starved", "blocked"]
SpanObserver = Callable[[StageName, Activity, int, float, float], None]
"""Called with each span of a stage's time: stage, activity, index of the item, start, end."""


class Stopped(Exception):
    """Ends a stage after another stage has failed or the run was interrupted."""


@dataclass
class StageTime:
    """Seconds of a stage, by activity."""

    busy: float = 0.0
    starved: float = 0.0
    """Time waiting for input; time waiting for the GPU is charged to the next stage."""
    blocked: float = 0.0
    """Time waiting for room in the output queue."""

    def __add__(self, other: "StageTime") -> "StageTime":
        return StageTime(
            busy=self.busy + other.busy,
            starved=self.starved + other.starved,
            blocked=self.blocked + other.blocked,
        )


@dataclass
class StageTimes:
    """Times of all stages."""

    decode: StageTime = field(default_factory=StageTime)
    upscale: StageTime = field(default_factory=StageTime)
    encode: StageTime = field(default_factory=StageTime)

    def add(self, other: "StageTimes") -> None:
        """Add the times of another process."""
        self.decode += other.decode
        self.upscale += other.upscale
        self.encode += other.encode

    def take(self) -> "StageTimes":
        """Return the times, and count from zero on.

        While stages run, what they add at the same moment may be lost.
        """
        taken = StageTimes()
        for own, other in (
            (self.decode, taken.decode),
            (self.upscale, taken.upscale),
            (self.encode, taken.encode),
        ):
            other.busy, own.busy = own.busy, 0.0
            other.starved, own.starved = own.starved, 0.0
            other.blocked, own.blocked = own.blocked, 0.0
        return taken

    @property
    def limit(self) -> StageName:
        """The bottleneck: the stage that the others wait for."""
        if self.encode.starved < 0.1 * self.encode.busy:
            return "encode"
        upscale = self.upscale
        return "decode" if upscale.starved > upscale.busy + upscale.blocked else "upscale"


class _Clock:
    """Measures the time of one stage."""

    def __init__(self, stage: StageName, times: StageTimes, on_span: SpanObserver | None) -> None:
        self._stage, self._on_span = stage, on_span
        self._time: StageTime = getattr(times, stage)
        self._last = time.perf_counter()

    def lap(self, activity: Activity, index: int) -> None:
        """Charge the time since the last lap to an activity."""
        now = time.perf_counter()
        setattr(self._time, activity, getattr(self._time, activity) + now - self._last)
        if self._on_span is not None:
            self._on_span(self._stage, activity, index, self._last, now)
        self._last = now


class StageQueue(Generic[T]):
    """A bounded queue that either side can close.

    `queue.Queue.shutdown` does the same from Python 3.13 on.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._broken = False

    def put(self, item: T) -> None:
        """Wait for room, then append; raises `Stopped` once the queue is broken."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._size or self._broken)
            if self._broken:
                raise Stopped
            self._items.append(item)
            self._changed.notify_all()

    def end(self) -> None:
        """Close the input side; items in the queue can still be read."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def break_(self) -> None:
        """Discard all items and raise `Stopped` on both sides."""
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
    on_span: SpanObserver | None = None,
    times: StageTimes | None = None,
) -> StageTimes:
    """Pass every item of `source` through `work` to `sink`, in order and concurrently.

    `work` submits an item and returns a function that waits for its result; that function is
    called in the thread of `sink`. `work` runs in the calling thread, `source` and `sink` run in
    one thread each. Each queue between two stages holds at most `queue_size` items. The first
    error of any stage stops all three and is raised. Times are added to `times`, and returned.
    """
    decoded: StageQueue[S] = StageQueue(queue_size)
    upscaled: StageQueue[Callable[[], T]] = StageQueue(queue_size)
    times = StageTimes() if times is None else times
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
        clock, index = _Clock("decode", times, on_span), -1
        for index, item in enumerate(source):
            clock.lap("busy", index)
            decoded.put(item)
            clock.lap("blocked", index)
        clock.lap("busy", index + 1)
        decoded.end()

    def upscale() -> None:
        clock = _Clock("upscale", times, on_span)
        for index, item in enumerate(decoded):
            clock.lap("starved", index)
            pending = work(item)
            clock.lap("busy", index)
            upscaled.put(pending)
            clock.lap("blocked", index)
        upscaled.end()

    def encode() -> None:
        clock = _Clock("encode", times, on_span)
        for index, pending in enumerate(upscaled):
            item = pending()
            clock.lap("starved", index)
            sink(item)
            clock.lap("busy", index)

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
    except (KeyboardInterrupt, SystemExit) as interrupt:  # while the last frames are encoded
        fail(interrupt)
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return times

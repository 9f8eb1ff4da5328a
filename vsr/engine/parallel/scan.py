"""Read a film ahead of the workers, and divide its pending segments into chains."""

import threading
from collections.abc import Callable, Iterator, Sequence

from vsr.engine.parallel.pool import Chain, PlannedSegment
from vsr.engine.pipeline import Stopped
from vsr.engine.resume.journal import SegmentStart
from vsr.engine.resume.segments import SegmentFrame
from vsr.engine.segment_run import PendingFrames, Span
from vsr.media.decode.demuxer import Damage


def find_chains(span: Span, damage: Damage) -> Iterator[Chain]:
    """Divide the segments of a span into chains; `damage` grows while its frames are read."""
    chain: list[PlannedSegment] = []
    start: SegmentStart | None = None
    count = first = 0

    def planned(end: SegmentFrame | None) -> PlannedSegment:
        assert start is not None
        damaged = tuple(
            pts for pts in list(damage.pts) if pts >= first and (end is None or pts < end.frame.pts)
        )
        return PlannedSegment(start, count, damaged)

    for item in span:
        if item.warms_up:
            continue
        if item.start is not None:
            if start is not None:
                chain.append(planned(item))
                if item.begins_shot:
                    yield Chain(tuple(chain), item.start)
                    chain = []
            start, count, first = item.start, 0, item.frame.pts
        count += 1
    if start is not None:
        chain.append(planned(span.following))
        yield Chain(tuple(chain), span.following.start if span.following else None)


class Scanner:
    """Finds chains in a thread of its own, a bounded count ahead of their use."""

    def __init__(
        self,
        frames: PendingFrames,
        pending: Sequence[SegmentStart],
        finished: frozenset[int],
        damage: Callable[[], Damage],
        most: int,
        plenty: int,
    ) -> None:
        """Scan from each of the `pending` starts up to a segment that is `finished`.

        At most `most` chains wait; with `plenty`, the scan is ahead. `damage` returns that of the
        reader.
        """
        self._frames, self._pending, self._finished = frames, pending, finished
        self._damage, self._most, self._plenty = damage, most, plenty
        self._changed = threading.Condition()
        self._chains: list[Chain] = []
        self._error: BaseException | None = None
        self._has_ended = self._is_cancelled = False
        self._thread = threading.Thread(target=self._run, name="vsr-scan", daemon=True)

    def __enter__(self) -> "Scanner":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._is_cancelled = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def is_empty(self) -> bool:
        """Whether all chains were taken, and none will follow. Raises the scan's error."""
        with self._changed:
            if self._error is not None:
                raise self._error
            return self._has_ended and not self._chains

    @property
    def has_chain(self) -> bool:
        """Whether `take` returns a chain."""
        with self._changed:
            return bool(self._chains)

    @property
    def is_ahead(self) -> bool:
        """Whether the scan has ended, or many chains wait."""
        with self._changed:
            return self._has_ended or len(self._chains) >= self._plenty

    def take(self) -> Chain:
        """Take the next chain, once the scan has ended the longest; see `has_chain`."""
        with self._changed:
            index = 0
            if self._has_ended:
                lengths = [chain.frames for chain in self._chains]
                index = lengths.index(max(lengths))
            chain = self._chains.pop(index)
            self._changed.notify_all()
            return chain

    def _run(self) -> None:
        try:
            for start in self._pending:
                frames = self._until_cancelled(self._frames.read(start))
                span = Span(frames, self._finished.__contains__)
                for chain in find_chains(span, self._damage()):
                    self._put(chain)
        except Stopped:
            pass
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._has_ended = True

    def _until_cancelled(self, frames: Iterator[SegmentFrame]) -> Iterator[SegmentFrame]:
        for item in frames:
            if self._is_cancelled:
                raise Stopped
            yield item

    def _put(self, chain: Chain) -> None:
        """Wait for room, then append."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._chains) < self._most or self._is_cancelled)
            self._chains.append(chain)

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from vsr.engine.pipeline import StageQueue, Stopped, run_stages

PAUSE = 0.02
"""Seconds for an item in the slow stage: in all, more than a loaded machine delays another one."""


def test_items_pass_through_in_order() -> None:
    written: list[int] = []
    times = run_stages(range(100), lambda item: lambda: item * 2, written.append)
    assert written == [2 * n for n in range(100)]
    assert min(stage.busy for stage in (times.decode, times.upscale, times.encode)) > 0


@pytest.mark.parametrize("slow", ["decode", "upscale", "device", "encode"])
def test_times_tell_which_stage_the_others_wait_for(slow: str) -> None:
    def rest(where: str) -> None:
        if where == slow:
            time.sleep(PAUSE)

    def source() -> Iterator[int]:
        for number in range(40):
            rest("decode")
            yield number

    def work(item: int) -> Callable[[], int]:
        rest("upscale")

        def wait() -> int:
            rest("device")
            return item

        return wait

    times = run_stages(source(), work, lambda item: rest("encode"), queue_size=2)
    slept = 40 * PAUSE
    # A device's work is waited for before a frame can be encoded.
    busy = times.encode.starved if slow == "device" else getattr(times, slow).busy
    assert busy >= slept
    assert times.limit == ("upscale" if slow == "device" else slow)
    if slow == "decode":
        assert times.upscale.starved > slept / 2 < times.encode.starved
    if slow == "upscale":
        assert times.decode.blocked > slept / 2 < times.encode.starved
    if slow == "encode":
        assert times.upscale.blocked > slept / 2 < times.decode.blocked


def test_every_span_is_reported() -> None:
    spans: list[tuple[str, str, int, float, float]] = []
    times = run_stages(
        range(5), lambda item: lambda: item, lambda item: None, on_span=lambda *s: spans.append(s)
    )
    for stage in ("decode", "upscale", "encode"):
        own = [span for span in spans if span[0] == stage]
        assert {span[2] for span in own if span[1] == "busy"} >= set(range(5))
        busy = sum(end - begin for _, kind, _, begin, end in own if kind == "busy")
        assert busy == pytest.approx(getattr(times, stage).busy)
        assert all(one[4] == other[3] for one, other in pairwise(own))


def test_no_more_items_wait_than_allowed() -> None:
    made = written = 0
    most = 0

    def source() -> object:
        nonlocal made
        for number in range(60):
            made += 1
            yield number

    def sink(item: object) -> None:
        nonlocal written, most
        time.sleep(0.001)
        written += 1
        most = max(most, made - written)

    run_stages(source(), lambda item: lambda: item, sink, queue_size=3)  # type: ignore[arg-type]
    assert written == 60
    # Two queues of three, and one item in the hands of each stage.
    assert most <= 2 * 3 + 3


@pytest.mark.parametrize("stage", ["decode", "upscale", "fetch", "encode"])
def test_an_error_in_any_stage_ends_all_and_is_raised(stage: str) -> None:
    before = threading.active_count()

    def fail_at(where: str, item: int) -> int:
        if where == stage and item == 20:
            raise ValueError(f"{stage} broke")
        return item

    def encode(item: int) -> None:
        fail_at("encode", item)

    def upscale(item: int) -> Callable[[], int]:
        now = fail_at("upscale", item)
        return lambda: fail_at("fetch", now)

    source = (fail_at("decode", number) for number in range(10**9))
    with pytest.raises(ValueError, match=f"{stage} broke"):
        run_stages(source, upscale, encode)
    assert threading.active_count() == before


def test_an_interrupt_ends_all_stages() -> None:
    before = threading.active_count()

    def interrupted(item: int) -> Callable[[], int]:
        if item == 5:
            raise KeyboardInterrupt
        return lambda: item

    with pytest.raises(KeyboardInterrupt):
        run_stages(range(10**9), interrupted, lambda item: None)
    assert threading.active_count() == before


def test_a_broken_pipe_lets_nothing_through() -> None:
    pipe: StageQueue[int] = StageQueue(2)
    pipe.put(1)
    pipe.break_()
    with pytest.raises(Stopped):
        pipe.put(2)
    with pytest.raises(Stopped):
        next(iter(pipe))


def test_an_ended_pipe_still_gives_what_it_holds() -> None:
    pipe: StageQueue[int] = StageQueue(2)
    pipe.put(1)
    pipe.put(2)
    pipe.end()
    assert list(pipe) == [1, 2]

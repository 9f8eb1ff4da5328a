import threading
import time

import pytest

from vsr.engine.pipeline import Pipe, Stopped, run_stages


def test_items_pass_through_in_order() -> None:
    written: list[int] = []
    times = run_stages(range(100), lambda item: item * 2, written.append)
    assert written == [2 * n for n in range(100)]
    assert min(times.decode, times.upscale, times.encode) > 0


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

    run_stages(source(), lambda item: item, sink, most_waiting=3)  # type: ignore[arg-type]
    assert written == 60
    # Two queues of three, and one item in the hands of each stage.
    assert most <= 2 * 3 + 3


@pytest.mark.parametrize("stage", ["decode", "upscale", "encode"])
def test_an_error_in_any_stage_ends_all_and_is_raised(stage: str) -> None:
    before = threading.active_count()

    def fail_at(where: str, item: int) -> int:
        if where == stage and item == 20:
            raise ValueError(f"{stage} broke")
        return item

    def encode(item: int) -> None:
        fail_at("encode", item)

    source = (fail_at("decode", number) for number in range(10**9))
    with pytest.raises(ValueError, match=f"{stage} broke"):
        run_stages(source, lambda item: fail_at("upscale", item), encode)
    assert threading.active_count() == before


def test_an_interrupt_ends_all_stages() -> None:
    before = threading.active_count()

    def interrupted(item: int) -> int:
        if item == 5:
            raise KeyboardInterrupt
        return item

    with pytest.raises(KeyboardInterrupt):
        run_stages(range(10**9), interrupted, lambda item: None)
    assert threading.active_count() == before


def test_a_broken_pipe_lets_nothing_through() -> None:
    pipe: Pipe[int] = Pipe(2)
    pipe.put(1)
    pipe.break_()
    with pytest.raises(Stopped):
        pipe.put(2)
    with pytest.raises(Stopped):
        next(iter(pipe))


def test_an_ended_pipe_still_gives_what_it_holds() -> None:
    pipe: Pipe[int] = Pipe(2)
    pipe.put(1)
    pipe.put(2)
    pipe.end()
    assert list(pipe) == [1, 2]

"""Upscale many pictures: one is decoded and another encoded while the network computes a third.

Each picture is a job of a thread. The network is used by one thread at a time, which
`StillUpscaler` ensures; decoders and encoders release Python's lock.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from vsr.engine.batch import Pairs
from vsr.errors import VsrError

_JOBS = 3
"""Pictures at a time: one is decoded, one computed, one encoded."""

Tell = Callable[[str], None]
Upscale = Callable[[Path, Path, Tell], None]
"""Upscales one picture to a path, and reports lines for the user. Raises `VsrError`."""


def upscale_each(
    pairs: Pairs,
    upscale: Upscale,
    tell: Tell = lambda line: None,
    watch: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], None] = lambda: None,
) -> list[str]:
    """Upscale pictures and return what failed, one line each; a failure ends no other picture.

    Lines and failures come in the order of `pairs`. `watch` is called with the pictures that are
    complete and all of them. After an error other than `VsrError`, and after Ctrl-C, `stop` is
    called, pictures that haven't started are skipped, and those in progress end, each with a whole
    output or none.
    """
    lines: list[list[str]] = [[] for _ in pairs]
    failures: list[str | None] = [None] * len(pairs)
    interrupted = threading.Event()

    def run(index: int) -> None:
        if interrupted.is_set():
            return
        try:
            upscale(*pairs[index], lines[index].append)
        except VsrError as error:
            failures[index] = str(error)

    executor = ThreadPoolExecutor(_JOBS, thread_name_prefix="picture")
    try:
        jobs = [executor.submit(run, index) for index in range(len(pairs))]
        _wait(jobs, lines, tell, watch)
    except BaseException:
        interrupted.set()
        stop()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    return [failure for failure in failures if failure is not None]


def _wait(
    jobs: Sequence[Future[None]],
    lines: Sequence[list[str]],
    tell: Tell,
    watch: Callable[[int, int], None],
) -> None:
    """Report lines of jobs once all jobs before them are complete. Raises the error of a job."""
    waiting, told = set(jobs), 0
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for job in done:
            job.result()
        while told < len(jobs) and jobs[told].done():
            for line in lines[told]:
                tell(line)
            told += 1
        watch(len(jobs) - len(waiting), len(jobs))

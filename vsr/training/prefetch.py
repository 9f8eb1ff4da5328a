"""Prepare the batches of the next iterations in worker processes, beside the training step."""

import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.util import Finalize
from typing import Any, Generic, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from vsr.errors import TrainingError, VsrError

Item = TypeVar("Item")

_BATCHES_AHEAD = 2
"""Batches that each worker prepares ahead of the training step."""
_NICENESS = 5
"""Added to a worker process's niceness, so that the training step runs first."""
_WORKER_DEATH = re.compile("DataLoader worker .*(exited unexpectedly|is killed by signal)")
_DEATH = (
    "a worker process ended unexpectedly, perhaps for lack of memory; lower "
    "training.workers or data.memory_gb, then --resume"
)
_LAST = -100
"""Priority of the finaliser that ends a worker: after those of multiprocessing's queues."""


def by_processes(
    prepare: Callable[[int], Item],
    iterations: Sequence[int],
    workers: int,
    pin_memory: bool = False,
) -> Generator[Item, None, None]:
    """Yield `prepare` of each iteration in order, computed by worker processes.

    `prepare` is pickled once for each worker. With `pin_memory`, tensors are in page-locked memory,
    from which a GPU copies while it computes. A `VsrError` raised by `prepare` is raised by this
    generator. Closing the generator ends the workers. Raises `TrainingError` if a worker ends
    unexpectedly, as it does when memory runs out.
    """
    with warnings.catch_warnings():
        # More workers than cores are the user's choice.
        warnings.filterwarnings(
            "ignore", message="This DataLoader will create", category=UserWarning
        )
        loader = DataLoader(
            _Prepared(prepare),
            batch_size=None,
            sampler=iterations,
            num_workers=workers,
            prefetch_factor=_BATCHES_AHEAD,
            pin_memory=pin_memory,
            # A forked worker could wait forever for locks of the training's threads.
            multiprocessing_context="spawn",
            worker_init_fn=_start_worker,
        )
        batches: Any = iter(loader)
    try:
        with reported_worker_deaths():
            for item in batches:
                if isinstance(item, VsrError):
                    raise item
                yield item
    except (ConnectionError, EOFError) as error:  # it died while it was sending
        raise TrainingError(_DEATH) from error
    finally:
        # DataLoader has no public method for it; dropping the last reference prints errors.
        # A worker that was killed no longer matters, since its batches are discarded.
        with suppress(RuntimeError):
            batches._shutdown_workers()


@contextmanager
def reported_worker_deaths() -> Iterator[None]:
    """Raise `TrainingError` where DataLoader finds that a worker process has died.

    Its SIGCHLD handler raises the error in the main thread, in whatever is computed at that time.
    """
    try:
        yield
    except RuntimeError as error:
        if not _WORKER_DEATH.search(str(error)):
            raise
        raise TrainingError(_DEATH) from error


class _Prepared(Dataset[Item | VsrError], Generic[Item]):
    """Batches by their iteration, for a `DataLoader`."""

    def __init__(self, prepare: Callable[[int], Item]) -> None:
        self._prepare = prepare

    def __getitem__(self, iteration: int) -> Item | VsrError:
        try:
            return self._prepare(iteration)
        except VsrError as error:
            return error  # an exception would reach the user inside DataLoader's traceback


def _start_worker(index: int) -> None:
    """Leave Ctrl-C to the training process, and the cores to its training step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    Finalize(None, _end_worker, exitpriority=_LAST)


def _end_worker() -> None:
    """Exit without finalising the interpreter, unless an exception is still to be printed.

    A worker that is stopped has a thread in torch's C++ code, which is sending a prepared batch.
    When the interpreter is finalised, that thread aborts the process.
    """
    if sys.exc_info()[0] is None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

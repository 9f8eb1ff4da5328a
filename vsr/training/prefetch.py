"""Prepare the batches of the next iterations in workers, beside the training step."""

import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from vsr.errors import TrainingError, VsrError

Item = TypeVar("Item")

_BATCHES_AHEAD = 2
"""Batches that each worker may be ahead of the training."""
_NICENESS = 5
"""Added to a worker process's niceness, so that the training step runs first."""


def by_processes(
    prepare: Callable[[int], Item],
    iterations: Sequence[int],
    workers: int,
    pin_memory: bool = False,
) -> Iterator[Item]:
    """Yield `prepare` of each iteration in order, computed by worker processes.

    `prepare` is pickled once for each worker. With `pin_memory`, tensors lie in page-locked memory,
    from which a GPU copies while it computes. A `VsrError` raised by it is raised here. Raises
    `TrainingError` if a worker ends by itself, as it does when memory runs out.
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
        batches = iter(loader)
    while True:
        try:
            item = next(batches)
        except StopIteration:
            return
        except RuntimeError as error:
            if "exited unexpectedly" not in str(error):
                raise
            raise TrainingError(
                "a worker process ended unexpectedly, perhaps for lack of memory; lower "
                "training.workers or data.memory_gb, then --resume"
            ) from error
        if isinstance(item, VsrError):
            raise item
        yield item


class _Prepared(Dataset[Item | VsrError], Generic[Item]):
    """Batches by their iteration, for a `DataLoader`."""

    def __init__(self, prepare: Callable[[int], Item]) -> None:
        self._prepare = prepare

    def __getitem__(self, iteration: int) -> Item | VsrError:
        try:
            return self._prepare(iteration)
        except VsrError as error:
            return error  # raised here, the loader would wrap it in a traceback


def _start_worker(index: int) -> None:
    """Leave Ctrl-C to the training process, and the processor to its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if hasattr(os, "nice"):
        os.nice(_NICENESS)

import os
from dataclasses import dataclass

import pytest
import torch

from tests.helpers.processes import Processes
from vsr.errors import DataError, TrainingError
from vsr.training.prefetch import by_processes


@dataclass
class Square:
    """Squares, and the process that computed them; can fail at one iteration."""

    refuses: int = -1
    dies_at: int = -1

    def __call__(self, iteration: int) -> tuple[int, int]:
        if iteration == self.refuses:
            raise DataError("shard 3: can't be read")
        if iteration == self.dies_at:
            os._exit(9)
        return iteration**2, os.getpid()


@pytest.mark.slow
def test_processes_prepare_in_order_and_elsewhere() -> None:
    items = list(by_processes(Square(), range(3, 9), 2))
    assert [square for square, _ in items] == [9, 16, 25, 36, 49, 64]
    assert len({process for _, process in items} - {os.getpid()}) == 2


def test_an_error_in_a_worker_process_stays_one_line() -> None:
    with pytest.raises(DataError, match=r"^shard 3: can't be read$"):
        list(by_processes(Square(refuses=2), range(4), 1))


@pytest.mark.slow
def test_a_worker_process_that_dies_is_reported() -> None:
    with pytest.raises(TrainingError, match="worker process ended unexpectedly"):
        list(by_processes(Square(dies_at=1), range(4), 1))


class Frames:
    """Batches of many tensors, which take a while to send."""

    def __call__(self, iteration: int) -> list[torch.Tensor]:
        return [torch.rand(100, 100) for _ in range(300)]


@pytest.mark.slow
def test_stopping_ends_a_worker_that_is_sending_quietly(
    capfd: pytest.CaptureFixture[str], new_processes: Processes
) -> None:
    batches = by_processes(Frames(), range(1000), 1)
    next(batches)
    (worker,) = new_processes()
    batches.close()
    assert worker.exitcode == 0
    assert capfd.readouterr().err == ""

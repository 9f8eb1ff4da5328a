"""Process group of a run: one process, or those that torchrun started."""

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vsr.errors import TrainingError

_TIMEOUT = timedelta(minutes=30)
"""Longest wait for another process: it may be validating."""


class ProcessGroup:
    """All processes of a run. Rank 0 writes the files."""

    def __init__(self, device: torch.device) -> None:
        """Join the processes that torchrun started, if any. Each uses a different GPU."""
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = device
        if self.size > 1:
            if device.type == "cuda":
                self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
                torch.cuda.set_device(self.device)
            if not dist.is_initialized():
                dist.init_process_group(
                    "nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT
                )

    @property
    def is_main(self) -> bool:
        """Whether this process writes the log and the files."""
        return self.rank == 0

    def local_slots(self, batch: int) -> range:
        """Indices of this process's clips in a batch of `batch` clips.

        Raises `TrainingError` where the batch can't be divided evenly.
        """
        if batch % self.size:
            raise TrainingError(
                f"training.batch ({batch}) doesn't divide among {self.size} processes"
            )
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def wrap(self, objective: nn.Module) -> nn.Module:
        """Wrap an objective so that its gradients are averaged over all processes."""
        if self.size == 1:
            return objective
        return DistributedDataParallel(
            objective, device_ids=[self.device] if self.device.type == "cuda" else None
        )

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process."""
        if self.size == 1:
            return flag
        result = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(result, dist.ReduceOp.MAX)
        return bool(result)

    def mean(self, value: Tensor) -> float:
        """Mean of a scalar over all processes."""
        total = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return float(total) / self.size

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average the gradients of weights that are not part of a wrapped objective."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= self.size

    def all_gather(self, tensor: Tensor) -> Tensor:
        """Concatenate the batches (B, ...) of all processes."""
        if self.size == 1:
            return tensor
        parts = [
            torch.empty_like(tensor, memory_format=torch.contiguous_format)
            for _ in range(self.size)
        ]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def local_shard(self, tensor: Tensor) -> Tensor:
        """The local part of a gathered batch (B, ...)."""
        return tensor.chunk(self.size)[self.rank].clone()

    def barrier(self) -> None:
        """Wait until all processes have called it."""
        if self.size > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the process group."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

"""The processes that train together: one, or as many as torchrun starts."""

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vsr.errors import TrainingError

_PATIENCE = timedelta(minutes=30)


class ProcessGroup:
    """All processes of a run; rank 0 writes the files."""

    def __init__(self, device: torch.device) -> None:
        """Join those that torchrun started, if it did; each takes a GPU of its own."""
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = device
        if self.size > 1:
            if device.type == "cuda":
                self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
                torch.cuda.set_device(self.device)
            if not dist.is_initialized():
                dist.init_process_group(
                    "nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE
                )

    @property
    def is_main(self) -> bool:
        """Whether this process keeps the log and the files."""
        return self.rank == 0

    def local_slots(self, batch: int) -> range:
        """The places in a batch that this process has in a batch.

        Raises `TrainingError` where shares would be uneven.
        """
        if batch % self.size:
            raise TrainingError(
                f"training.batch ({batch}) doesn't divide among {self.size} processes"
            )
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def wrap(self, objective: nn.Module) -> nn.Module:
        """The objective, its gradients averaged over all processes."""
        if self.size == 1:
            return objective
        return DistributedDataParallel(
            objective, device_ids=[self.device] if self.device.type == "cuda" else None
        )

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        if self.size == 1:
            return flag
        raised = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return bool(raised)

    def mean(self, value: Tensor) -> float:
        """A scalar's mean over all processes."""
        total = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return float(total) / self.size

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """For weights that `share` doesn't know of."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= self.size

    def all_gather(self, tensor: Tensor) -> Tensor:
        """The batches of all processes in one, for checkpoints."""
        if self.size == 1:
            return tensor
        parts = [
            torch.empty_like(tensor, memory_format=torch.contiguous_format)
            for _ in range(self.size)
        ]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def local_shard(self, tensor: Tensor) -> Tensor:
        """The share of a gathered batch that is this process's."""
        return tensor.chunk(self.size)[self.rank].clone()

    def barrier(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            dist.barrier()

    def close(self) -> None:
        """End what joins the processes."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

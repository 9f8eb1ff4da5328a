"""Predict which worker upscales which chain, and when, by the rules of `ParallelRun`."""

import heapq
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

CHAINS_AHEAD = 32
"""Chains per worker that are found before they are upscaled."""


class Task(NamedTuple):
    """A chain on its worker; times are in seconds from the start of the run."""

    worker: int
    frames: int
    start: float
    end: float


def schedule(
    chains: Sequence[int],
    rates: Sequence[float],
    *,
    scan_rate: float = float("inf"),
    ready: float = 0.0,
    seek: float = 0.0,
) -> list[Task]:
    """Schedule chains of so many frames, in film order, on workers of so many frames per second.

    The driver reads `scan_rate` frames per second to find the chains, and waits while
    `CHAINS_AHEAD` chains per worker are found and not taken. An idle worker takes the chain found
    first and, once all are found, the longest. Workers are idle from the time `ready` on, and need
    the time `seek` to find the start of a chain. Tasks are in the order of their start.
    """
    most = CHAINS_AHEAD * len(rates)
    idle = [(ready, worker) for worker in range(len(rates))]
    waiting: deque[int] = deque()
    found = 0
    found_at = chains[0] / scan_rate if chains else 0.0  # time of the next chain, given room
    now = 0.0
    tasks: list[Task] = []

    def find(until: float) -> None:
        """Let the chains wait that are found until a time."""
        nonlocal found, found_at
        while found < len(chains) and len(waiting) < most and found_at <= until:
            waiting.append(chains[found])
            found += 1
            if found < len(chains):
                found_at += chains[found] / scan_rate
            else:
                longest_first = sorted(waiting, reverse=True)
                waiting.clear()
                waiting.extend(longest_first)

    for _ in chains:
        idle_since, worker = heapq.heappop(idle)
        now = max(now, idle_since)
        find(now)
        if not waiting:
            now = max(now, found_at)
            find(now)
        if len(waiting) == most:  # the driver waits until this chain is taken
            found_at = max(found_at, now)
        frames = waiting.popleft()
        task = Task(worker, frames, start=now, end=now + seek + frames / rates[worker])
        tasks.append(task)
        heapq.heappush(idle, (task.end, worker))
    return tasks

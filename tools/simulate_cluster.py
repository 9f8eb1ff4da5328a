"""Simulate how a film spreads over the workers of a cluster, and print times and efficiency.

    python tools/simulate_cluster.py
    python tools/simulate_cluster.py --rate 5 --scan 700 --films 20
    python tools/simulate_cluster.py cuts.txt --fps 24 --workers 1 8 64 --upload 12.5

CUTS is a text file with the start of each shot in seconds, and the end of the film as its last
value; lines that start with # are comments. Without it, the film is the one in tools/data. The
default rates are those of one core of a processor that upscales 640x360 by 4.

The driver reads the film and finds its cuts. Meanwhile and afterwards, workers take chains: the
segments from one that begins a shot to the next such one. A chain that ends is sent to the driver.
When all are there, the driver joins them.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tool_main import run

from vsr.engine.parallel.schedule import schedule
from vsr.engine.resume.segments import LONGEST_FRAMES, SHORTEST_FRAMES

FILM = Path(__file__).parent / "data" / "film_shots.txt"
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


class Rates(NamedTuple):
    """Speeds of a cluster."""

    worker: float
    """Frames per second that a worker decodes, upscales and encodes."""
    scan: float
    """Frames per second that the driver decodes to find cuts."""
    start: float = 0.0
    """Seconds until a worker has read the film's header and loaded its model."""
    seek: float = 0.0
    """Seconds until a worker has found the first frame of a chain."""
    frame_bytes: float = 0.0
    """Size of an encoded frame."""
    film_bytes: float = 0.0
    """Size of the film, where each worker needs a copy of it; 0 if the path is shared."""
    upload: float = float("inf")
    """Bytes per second of the driver's network, in each direction."""
    join: float = float("inf")
    """Bytes per second that the driver joins."""


class Outcome(NamedTuple):
    """Result of a simulation, in seconds."""

    seconds: float
    """Until the last film is complete."""
    bounds: dict[str, float]
    """Least time of each part: no schedule is faster than start, the largest of these, and join."""

    @property
    def limit(self) -> str:
        """The part that limits the speed."""
        return max(self.bounds, key=lambda name: self.bounds[name])


def chain_lengths(shots: Sequence[int]) -> Iterator[int]:
    """Compute the frames of each chain from those of each shot, by the rule of `mark_segments`.

    A segment ends at a cut after 48 frames or more, or at its 240th frame. A chain ends where a
    segment ends at a cut.
    """
    chain = segment = 0
    for frames in shots:
        if segment >= SHORTEST_FRAMES:
            yield chain
            chain = segment = 0
        chain += frames
        segment += frames
        if segment > LONGEST_FRAMES:  # what is left of the shot after its full segments
            segment = (segment - 1) % LONGEST_FRAMES + 1
    if chain:
        yield chain


def simulate(chains: Sequence[int], workers: int, rates: Rates) -> Outcome:
    """Simulate one film, or several in a row, on so many workers."""
    total = sum(chains)
    tasks = schedule(
        chains,
        [rates.worker] * workers,
        scan_rate=rates.scan,
        ready=rates.start + workers * rates.film_bytes / rates.upload,
        seek=rates.seek,
    )
    received = 0.0
    for task in sorted(tasks, key=lambda task: task.end):
        received = max(received, task.end) + task.frames * rates.frame_bytes / rates.upload
    bounds = {
        "work": (total / rates.worker + len(chains) * rates.seek) / workers,
        "longest shot": max(chains) / rates.worker + rates.seek,
        "scan": total / rates.scan,
        "upload": (total * rates.frame_bytes + workers * rates.film_bytes) / rates.upload,
    }
    return Outcome(received + total * rates.frame_bytes / rates.join, bounds)


def alone(chains: Sequence[int], rates: Rates) -> float:
    """Compute the seconds of one process on one machine, which decodes each frame once."""
    total = sum(chains)
    return rates.start + total / rates.worker + total * rates.frame_bytes / rates.join


def read_shots(path: Path, fps: float) -> list[int]:
    """Read the shots of a film, in frames."""
    lines = path.read_text(encoding="utf-8").splitlines()
    text = " ".join(line for line in lines if not line.startswith("#"))
    starts = [round(float(value) * fps) for value in text.split()]
    return [end - start for start, end in pairwise(starts) if end > start]


def table(chains: Sequence[int], workers: Sequence[int], rates: Rates) -> Iterator[str]:
    """Format the simulations of all counts of workers as a Markdown table."""
    single = alone(chains, rates)
    yield "| workers | time | speedup | efficiency | limited by |"
    yield "|---|---|---|---|---|"
    for count in workers:
        outcome = simulate(chains, count, rates)
        speedup = single / outcome.seconds
        hours, rest = divmod(round(outcome.seconds), 3600)
        clock = f"{hours}:{rest // 60:02}:{rest % 60:02}"
        share = f"{100 * speedup / count:.0f} %"
        yield f"| {count:,} | {clock} | {speedup:.1f} | {share} | {outcome.limit} |"


def main() -> None:
    """Print the film's chains and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cuts", type=Path, nargs="?", default=FILM, help="starts of shots")
    parser.add_argument("--fps", type=float, default=25, help="frame rate of the film [25]")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, metavar="N")
    parser.add_argument("--films", type=int, default=1, help="so many such films in a row [1]")
    parser.add_argument("--rate", type=float, default=5, help="frames/s of a worker [5]")
    parser.add_argument("--scan", type=float, default=700, help="frames/s of the driver [700]")
    parser.add_argument("--start", type=float, default=10, help="seconds of a worker's start [10]")
    parser.add_argument("--seek", type=float, default=0.5, help="seconds to find a chain [0.5]")
    parser.add_argument("--frame-kb", type=float, default=60, help="kB of an output frame [60]")
    parser.add_argument("--film-mb", type=float, default=0, help="MB to copy to a worker [0]")
    parser.add_argument("--upload", type=float, default=125, help="MB/s of the network [125]")
    parser.add_argument("--join", type=float, default=200, help="MB/s of joining [200]")
    chosen = parser.parse_args()
    shots = read_shots(chosen.cuts, chosen.fps)
    chains = list(chain_lengths(shots)) * chosen.films
    rates = Rates(
        worker=chosen.rate,
        scan=chosen.scan,
        start=chosen.start,
        seek=chosen.seek,
        frame_bytes=chosen.frame_kb * 1e3,
        film_bytes=chosen.film_mb * 1e6,
        upload=chosen.upload * 1e6,
        join=chosen.join * 1e6,
    )
    print(
        f"{sum(chains):,} frames, {len(shots):,} shots a film, {len(chains):,} chains, "
        f"the longest {max(chains):,} frames\n"
    )
    print("\n".join(table(chains, chosen.workers, rates)))


if __name__ == "__main__":
    run(main)

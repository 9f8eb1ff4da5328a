"""Broken films through `vsr upscale`: one line or a film, in bounded time and memory.

python -m tests.formats.fuzz 500
"""

import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import torch

from tests.formats.media import CantBeMade, make
from tests.helpers.models import write_model
from vsr.cli import main

_BASES = (
    (".mp4", "B frames"),
    (".mkv", "SubRip subtitles"),
    (".webm", "three tracks"),
    (".ts", "open GOP"),
    (".avi", "constant rate"),
    (".mov", "10 bit 4:2:2"),
    (".mp4", "HDR10"),
    (".mkv", "an attached font"),
    (".mov", "10 bit 4:4:4 with alpha"),
)
_MOST_SECONDS = 30.0
_MOST_BYTES = 2_000_000_000


class Fault(NamedTuple):
    """What a broken film did that it mustn't."""

    number: int
    what: str


def fuzz(count: int, seed: int = 0, keep: Path | None = None) -> tuple[int, list[Fault]]:
    """Upscale so many broken films; how many were made all the same, and what went wrong.

    A film at fault is copied into `keep`.
    """
    torch.set_num_threads(1)  # threads and forks don't go together
    import_module("vsr.engine.upscale")  # once, not in each child
    made, faults = 0, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = write_model(folder / "model.safetensors")
        bases = _bases(folder)
        for number in range(count):
            chance = random.Random(f"{seed} {number}")
            suffix, data = chance.choice(bases)
            broken = _MUTATIONS[number % len(_MUTATIONS)](bytearray(data), chance, bases)
            place = folder / f"{number}"
            place.mkdir()
            source = place / f"in{suffix}"
            source.write_bytes(broken)
            status, what = _upscale(source, place / "out.mkv", model)
            made += status == 0
            if what:
                faults.append(Fault(number, what))
                if keep is not None:
                    keep.mkdir(exist_ok=True)
                    (keep / f"{number}{suffix}").write_bytes(broken)
            for path in sorted(place.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            place.rmdir()
    return made, faults


def _bases(folder: Path) -> list[tuple[str, bytes]]:
    bases = []
    for suffix, feature in _BASES:
        try:
            bases.append((suffix, make(suffix, feature, folder).read_bytes()))
        except CantBeMade as error:
            raise RuntimeError(f"{suffix}, {feature}: {error}") from error
    return bases


def _flip(data: bytearray, chance: random.Random, low: float, high: float, most: int) -> bytes:
    for _ in range(chance.randint(1, most)):
        place = chance.randrange(int(low * len(data)), max(1, int(high * len(data))))
        data[place] ^= 1 << chance.randrange(8)
    return bytes(data)


def _splice(data: bytearray, chance: random.Random, bases: list[tuple[str, bytes]]) -> bytes:
    """The beginning of another film before the rest of this one."""
    other = chance.choice(bases)[1]
    return other[: chance.randrange(1, 3000)] + bytes(data[chance.randrange(0, 3000) :])


def _blank(data: bytearray, chance: random.Random) -> bytes:
    place, length = chance.randrange(len(data)), chance.randrange(1, len(data) // 3)
    data[place : place + length] = bytes(len(data[place : place + length]))
    return bytes(data)


def _twice(data: bytearray, chance: random.Random) -> bytes:
    place, length = chance.randrange(len(data)), chance.randrange(1, 5000)
    return bytes(data[: place + length] + data[place:])


def _large_numbers(data: bytearray, chance: random.Random) -> bytes:
    """Sizes and counts in headers become absurd."""
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(0, min(len(data), 2500) - 8)
        data[place : place + 4] = chance.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x00" * 4))
    return bytes(data)


Mutation = Callable[[bytearray, random.Random, list[tuple[str, bytes]]], bytes]

_MUTATIONS: tuple[Mutation, ...] = (
    lambda data, chance, bases: _flip(data, chance, 0, 1, 40),
    lambda data, chance, bases: _flip(data, chance, 0, 0.1, 8),
    lambda data, chance, bases: _flip(data, chance, 0.8, 1, 8),
    lambda data, chance, bases: bytes(data[: chance.randrange(len(data))]),
    lambda data, chance, bases: _splice(data, chance, bases),
    lambda data, chance, bases: _blank(data, chance),
    lambda data, chance, bases: _twice(data, chance),
    lambda data, chance, bases: _large_numbers(data, chance),
)


def _upscale(source: Path, output: Path, model: Path) -> tuple[int, str]:
    """The exit status of the real command in a process of its own, and what is wrong with it."""
    reported = output.with_name("reported")
    child = os.fork()
    if child == 0:
        handle = os.open(reported, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        code = 70
        try:
            main(["upscale", str(source), str(output), "--model", str(model), "--device", "cpu",
                  "--preset", "ultrafast"])  # fmt: skip
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        os._exit(code)
    began, most = time.monotonic(), 0
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        most = max(most, _memory(child))
        if time.monotonic() - began > _MOST_SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return -1, f"still at it after {_MOST_SECONDS:.0f} s"
        time.sleep(0.01)
    said = reported.read_text(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        return code, f"exit {code}: {said[-600:]}"
    if code == 1 and said.count("\n") != 1:
        return code, f"not one line: {said[-600:]}"
    if code == 1 and output.exists():
        return code, "left an output"
    if most > _MOST_BYTES:
        return code, f"took {most / 1e9:.1f} GB"
    left = [path.name for path in output.parent.iterdir() if path.name.startswith(".")]
    if left and code == 0:  # else what is finished of a film is kept on purpose
        return code, f"left {left}"
    return code, ""


def _memory(process: int) -> int:
    """Bytes that a process holds, as far as they are its own and not its parent's."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    films = int(sys.argv[1])
    began = time.monotonic()
    upscaled, wrong = fuzz(films, int(sys.argv[2]) if len(sys.argv) > 2 else 0, Path("faults"))
    for fault in wrong:
        print(f"{fault.number}: {fault.what}")
    print(f"{films} broken films in {time.monotonic() - began:.0f} s: {upscaled} upscaled, "
          f"{films - upscaled - len(wrong)} refused, {len(wrong)} at fault")  # fmt: skip
    sys.exit(bool(wrong))

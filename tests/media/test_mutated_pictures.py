"""A hundred mutations of each readable format: a picture or one line, never a crash."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from tests.media.test_damaged_pictures import WRITERS
from vsr.errors import MediaError
from vsr.media.image import read_still
from vsr.media.image_writer import IMAGE_SUFFIXES, write_still
from vsr.media.still import Still
from vsr.system.machine import peak_memory_bytes

MUTATIONS = 100
PICTURE = data.coffee()[:24, :32]
MAX_MEMORY = 2 << 30
"""Bytes, for all pictures: mutations of a size ask for gigabytes."""


def mutated(whole: bytes, seed: int) -> bytes:
    """Cut off a file, or flip, replace or insert bits and bytes in it."""
    draw = random.Random(seed)
    content = bytearray(whole)
    if seed % 4 == 0:
        return bytes(content[: draw.randrange(len(content))])
    reach = len(content) if seed % 8 < 4 else min(len(content), 400)
    for _ in range(draw.choice((1, 2, 8))):
        place = draw.randrange(reach)
        if seed % 4 == 1:
            content[place] ^= 1 << draw.randrange(8)
        elif seed % 4 == 2:
            content[place] = draw.choice((0, 127, 128, 255))
        else:
            content[place:place] = draw.randbytes(draw.choice((1, 4, 100)))
    return bytes(content)


def read_mutations(folder: Path) -> None:
    """Read and write mutations of all formats; print each before it is read."""
    for suffix in sorted(IMAGE_SUFFIXES & {".exr", ".jxl"}):
        for dtype in (np.uint8, np.float32):
            samples = PICTURE if dtype == np.uint8 else PICTURE / np.float32(255)
            write_still(folder / f"{dtype.__name__}{suffix}", Still(rgb=samples))
    for name, write in WRITERS.items():
        write(folder / name)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for seed in range(MUTATIONS):
            print(path.name, seed, flush=True)
            path.write_bytes(mutated(whole, seed))
            try:
                still = read_still(path)
            except MediaError:
                continue
            if seed % 5 == 0 and still.rgb.size < 100_000:
                write_still(folder / "output.tif", still, overwrite=True)
    assert peak_memory_bytes() < MAX_MEMORY


@pytest.mark.slow
def test_a_hundred_mutations_of_each_format_crash_nothing(tmp_path: Path) -> None:
    # In a process of its own, so that a crash of a decoder names the file.
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", __name__, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=250,
    )
    last = done.stdout.rpartition("\n")[0].rpartition("\n")[2]
    assert done.returncode == 0, f"{last}: {done.stderr[-2000:]}"
    assert len(done.stdout.splitlines()) >= MUTATIONS * len(WRITERS)


if __name__ == "__main__":
    read_mutations(Path(sys.argv[1]))

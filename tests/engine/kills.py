"""Kill `vsr upscale` at random moments, go on, and compare with a run that nobody disturbed.

python -m tests.engine.kills 50
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from tests.helpers.films import AudioTrack, scenes, write_film
from tests.helpers.models import write_model
from vsr.engine.upscale import upscale_video
from vsr.media.encode.settings import EncoderSettings

_LENGTHS = (60, 100, 20, 70, 260)
"""Frames of each scene: segments end at cuts, in mid-shot, and not at cuts that come too early."""
_MOST_KILLS = 3


def disturb(results: int, seed: int = 0) -> tuple[int, int]:
    """Make so many films, each killed up to three times on its way; (kills, films that differ)."""
    torch.set_num_threads(1)  # threads and forks don't go together
    chance = random.Random(seed)
    kills = different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, model = folder / "in.mp4", write_model(folder / "model.safetensors")
        write_film(
            *(source, scenes(48, 32, _LENGTHS)),
            codec="libx264",
            audio=[AudioTrack("aac", 440)],
            options={"bf": "2", "g": "50", "threads": "1"},
        )
        began = time.monotonic()
        if not _run(source, folder / "whole.mp4", model, None):
            raise RuntimeError("the undisturbed run failed")
        seconds = time.monotonic() - began
        wanted = (folder / "whole.mp4").read_bytes()
        for number in range(results):
            output = folder / f"{number}.mp4"
            for _ in range(chance.randint(1, _MOST_KILLS)):
                # A little beyond the end, so that joining and renaming are hit as well.
                kills += not _run(source, output, model, chance.uniform(0, 1.1 * seconds))
            if not _run(source, output, model, None) or output.read_bytes() != wanted:
                different += 1
            left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
            different += bool(left)
            output.unlink(missing_ok=True)
    return kills, different


def _run(source: Path, output: Path, model: Path, kill_after: float | None) -> bool:
    """Upscale in a process of its own; whether it came to its end."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if not output.exists() or (output.parent / f".{output.name}.vsr").exists():
                settings = EncoderSettings(preset="ultrafast")
                upscale_video(source, output, str(model), device="cpu", settings=settings)
            status = 0
        finally:
            os._exit(status)
    deadline = None if kill_after is None else time.monotonic() + kill_after
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        if deadline is not None and time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            deadline = None
        time.sleep(0.002)


if __name__ == "__main__":
    found = disturb(int(sys.argv[1]))
    print(f"{found[0]} kills on the way to {sys.argv[1]} films, {found[1]} of which differ")
    sys.exit(found[1] > 0)

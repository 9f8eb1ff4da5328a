"""VMAF, by the filter libvmaf of an FFmpeg that runs as a process of its own."""

import csv
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsr.errors import ConfigError, ModelError, VsrError
from vsr.imaging.colour import ColourSpec
from vsr.metrics.meter import Row
from vsr.metrics.protocol import Metric

FFMPEG_VARIABLE = "VSR_FFMPEG"
"""Environment variable with the path or name of the FFmpeg to use."""

VMAF_SMALLEST_SIDE = 32
"""Minimal side in pixels: libvmaf halves frames four times, and ends without scores below 18."""

_MODELS = {
    Metric.VMAF: "vmaf_v0.6.1",
    Metric.VMAF_NEG: "vmaf_v0.6.1neg",
    Metric.VMAF_4K: "vmaf_4k_v0.6.1",
}
VMAF_METRICS = tuple(_MODELS)
"""Metrics that libvmaf computes."""

Codes = NDArray[Any]
"""Luma in code values, (H, W), uint8 or uint16."""

_SCORES, _ERRORS = "scores.csv", "errors.txt"
_MODEL_OPTION = " model "
"""In the help of the filter since libvmaf 2.0; older ones read models from files."""

_SENDER = re.compile(r"^\[[^\]]* @ [^\]]*\] *")
"""Part of FFmpeg that reports an error, and its address."""


class FilmVmaf:
    """Computes VMAF of one or more outputs of a film, each by a process of its own.

    Use as a context manager, which ends the processes.
    """

    def __init__(self, metrics: Sequence[Metric], luma: ColourSpec) -> None:
        """Compute those of `metrics` that libvmaf knows, on luma of 8 or 10 bits as in `luma`."""
        self._metrics = [metric for metric in metrics if metric in _MODELS]
        self._luma = luma
        self._processes: list[_Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.end()

    def add(self, outputs: Sequence[Tensor], target: Tensor) -> None:
        """Add luma of the next frame, (H, W) from 0 for black to 1 for white, of one size in all.

        Raises `VsrError` where no FFmpeg has libvmaf, or a process fails.
        """
        height, width = target.shape[-2:]
        while len(self._processes) < len(outputs):
            self._processes.append(_Process(self._metrics, self._luma, height, width))
        target_codes = self._codes(target)
        for process, output in zip(self._processes, outputs, strict=True):
            process.add(self._codes(output), target_codes)

    def scores(self) -> list[list[Row]]:
        """Wait for the processes and return the scores of each output's frames, in [0, 100].

        Raises `VsrError` where a process fails.
        """
        return [process.scores() for process in self._processes]

    def _codes(self, luma: Tensor) -> Codes:
        """Convert luma to code values, (H, W)."""
        black, white = self._luma.luma_range
        codes = (luma * (white - black) + black).round().clamp(0, 2**self._luma.bit_depth - 1)
        return codes.cpu().numpy().astype(_sample_type(self._luma))


class _Process:
    """FFmpeg with the filter libvmaf.

    Both pictures of a frame go to the process in one raw frame, the output above the target, so
    that they can't get out of step. Nothing is scaled. Only the scores are written to disk, in a
    temporary folder.
    """

    def __init__(
        self, metrics: Sequence[Metric], luma: ColourSpec, height: int, width: int
    ) -> None:
        self._metrics = metrics
        self._ffmpeg = find_ffmpeg()
        self._height = height
        self._rows = height + height % 2
        sample = _sample_type(luma)
        self._stacked = np.zeros((2 * self._rows, width), sample)
        # 4:2:0, because the filter reads no grey. The models don't use chroma.
        chroma_shape = (2, self._rows, -(-width // 2))
        self._chroma = np.full(chroma_shape, luma.chroma_range[0], sample).tobytes()
        self._folder = tempfile.TemporaryDirectory(prefix="vsr-vmaf-")
        command = [self._ffmpeg, "-v", "error", "-nostats", "-f", "rawvideo", "-framerate", "25"]
        command += ["-pix_fmt", "yuv420p" if luma.bit_depth == 8 else "yuv420p10le"]
        command += ["-video_size", f"{width}x{2 * self._rows}", "-i", "pipe:0"]
        command += ["-filter_complex", self._graph(width), "-f", "null", "-"]
        with Path(self._folder.name, _ERRORS).open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=self._folder.name,
            )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin

    def add(self, output: Codes, target: Codes) -> None:
        """Send the next frame."""
        self._stacked[: self._height] = output
        self._stacked[self._rows : self._rows + self._height] = target
        try:
            self._pipe.write(self._stacked.data)
            self._pipe.write(self._chroma)
        except OSError as error:
            raise self._failure() from error

    def scores(self) -> list[Row]:
        """Wait for the end and read the scores."""
        path = Path(self._folder.name, _SCORES)
        try:
            self._pipe.close()
        except OSError as error:
            raise self._failure() from error
        if self._process.wait() != 0 or not path.is_file():
            raise self._failure()
        with path.open(newline="", encoding="utf-8") as file:
            return [
                {metric: float(line[metric]) for metric in self._metrics}
                for line in csv.DictReader(file)
            ]

    def end(self) -> None:
        """End the process, if it still runs, and remove its folder."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._pipe.close()
        self._folder.cleanup()

    def _graph(self, width: int) -> str:
        models = "|".join(rf"version={_MODELS[m]}\\:name={m}" for m in self._metrics)
        crop = f"crop=w={width}:h={self._height}:x=0:exact=1"
        return (
            f"split[a][b];[a]{crop}:y=0[output];[b]{crop}:y={self._rows}[target];[output][target]"
            f"libvmaf=model={models}:n_threads={torch.get_num_threads()}"
            f":log_fmt=csv:log_path={_SCORES}"
        )

    def _failure(self) -> VsrError:
        code = self._process.wait()
        path = Path(self._folder.name, _ERRORS)
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        # The first line is the cause, such as a missing model; the last one says that all failed.
        reason = _SENDER.sub("", lines[0]) if lines else f"it ended with code {code}"
        return VsrError(f"{', '.join(self._metrics)}: {self._ffmpeg} failed: {reason}")


@cache
def find_ffmpeg() -> str:
    """Find an FFmpeg with libvmaf 2.0 or newer.

    The one that the variable `VSR_FFMPEG` names, that on the path, or that of the package
    `imageio-ffmpeg`. Raises `ConfigError` where the named one doesn't have it, and `ModelError`
    where none is found.
    """
    if named := os.environ.get(FFMPEG_VARIABLE):
        if (path := shutil.which(named)) and _has_libvmaf(path):
            return os.path.abspath(path)  # it runs in another folder
        raise ConfigError(f"{FFMPEG_VARIABLE}={named}: is no FFmpeg with the filter libvmaf (2.0+)")
    for path in (shutil.which("ffmpeg"), _packaged_ffmpeg()):
        if path and _has_libvmaf(path):
            return os.path.abspath(path)
    raise ModelError(
        "VMAF needs an FFmpeg with libvmaf: pip install 'vsr[metrics]', "
        f"or name one in {FFMPEG_VARIABLE}"
    )


def describe_libvmaf() -> str:
    """Name the FFmpeg that computes VMAF and its version, or say why there is none."""
    try:
        return f"{find_ffmpeg()} ({ffmpeg_version()})"
    except VsrError as error:
        return str(error)


def ffmpeg_version() -> str:
    """Return the version of the FFmpeg that computes VMAF."""
    first = _printed(find_ffmpeg(), "-version").partition("\n")[0]
    return first.removeprefix("ffmpeg version ").partition(" ")[0]


def harmonic_mean(scores: Sequence[float]) -> float:
    """Return libvmaf's harmonic mean of scores in [0, 100]: that of score + 1, less 1."""
    return len(scores) / sum(1 / (score + 1) for score in scores) - 1


def _has_libvmaf(path: str) -> bool:
    return _MODEL_OPTION in _printed(path, "-hide_banner", "-h", "filter=libvmaf")


def _printed(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


def _packaged_ffmpeg() -> str | None:
    """Path of the FFmpeg that imageio-ffmpeg carries; None without the package."""
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return None
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:  # the package has no binary for this machine
        return None


def _sample_type(luma: ColourSpec) -> np.dtype[Any]:
    return np.dtype(np.uint8 if luma.bit_depth == 8 else "<u2")

"""Checkpoints of a run: written atomically; the newest few are kept."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from vsr.errors import OutputError, TrainingError
from vsr.system.files import atomic_path

_NAME = re.compile(r"state-(\d+)\.pt")


class Checkpoints:
    """The files `state-<iteration>.pt` of a folder."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._keep = keep

    def paths(self) -> list[Path]:
        """Existing checkpoints, newest first."""
        found = [path for path in self.folder.glob("state-*.pt") if _NAME.fullmatch(path.name)]
        return sorted(found, key=_iteration_of, reverse=True)

    def check_new(self, outputs: Sequence[str]) -> None:
        """Raise `TrainingError` where a new run would replace what the folder holds."""
        if self.paths():
            raise TrainingError(
                f"{self.folder}: holds a run; add --resume, or choose another --output"
            )
        for name in outputs:
            if (self.folder / name).exists():
                raise TrainingError(
                    f"{self.folder / name}: would be replaced; choose another --output"
                )

    def save(self, iteration: int, state: dict[str, Any]) -> None:
        """Write a state atomically, and remove all but the newest few.

        Raises `OutputError` where it can't be written.
        """
        path = self.folder / f"state-{iteration:07d}.pt"
        with atomic_path(path) as partial:
            try:
                torch.save(state, partial)
            except RuntimeError as error:  # torch raises it for errors of the system
                raise OutputError(f"{path}: can't be written: is the disk full?") from error
        for old in self.paths()[self._keep :]:
            old.unlink()

    def load(self, device: torch.device, report: Callable[[str], None]) -> dict[str, Any]:
        """Load the newest state that can be read; raises `TrainingError` where there is none.

        `report` is called with a line for each newer state that can't be read.
        """
        paths = self.paths()
        if not paths:
            raise TrainingError(f"{self.folder}: nothing to resume; leave out --resume")
        skipped: list[str] = []
        for path in paths:
            try:
                state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
            except Exception as error:  # torch raises many types for a damaged file
                skipped.append(f"{path}: can't be read ({_first_line(error)})")
                continue
            for line in skipped:
                report(f"{line}; resuming from the older {path.name}")
            return state
        raise TrainingError(f"{paths[0]}: not a training state that can be read")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _iteration_of(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    assert found
    return int(found[1])

"""Validation of a run on held-out films."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from vsr.data.store import Store, StoredClip
from vsr.imaging.colour import to_rgb
from vsr.imaging.degrade import Degradation
from vsr.imaging.tensors import on_8_bit_levels
from vsr.models import Generator
from vsr.scoring import FilmDegradation, FilmScore, score_film
from vsr.training.run_log import Strip


class Validation:
    """The held-out films of a data set: the first clip of each."""

    def __init__(self, store: Store, device: torch.device) -> None:
        self._store = store
        self._device = device
        first: dict[str, StoredClip] = {}
        for clip in store.clips("val"):
            if clip.frames > 1:
                first.setdefault(clip.source, clip)
        names = store.sources
        self._clips = [(names[source].name, clip) for source, clip in first.items()]

    def __bool__(self) -> bool:
        """Whether there are held-out films."""
        return bool(self._clips)

    def score(
        self,
        generator: Generator[Any],
        degradation: Degradation | FilmDegradation,
        strip: Strip,
        most_frames: int | None = None,
    ) -> Iterator[FilmScore]:
        """Score each film by its first `most_frames` frames, or by all; add crops to `strip`."""
        for name, clip in self._clips:
            yield score_film(
                generator,
                name,
                islice(self._frames(clip), most_frames),
                degradation,
                strip.observer(name, min(most_frames or clip.frames, clip.frames)),
            )

    def _frames(self, clip: StoredClip) -> Iterator[tuple[Tensor, bool]]:
        planes = [torch.from_numpy(plane) for plane in self._store.read(clip)]
        for index in range(clip.frames):
            frame = [plane[index].to(self._device) for plane in planes]
            yield on_8_bit_levels(to_rgb(frame, clip.spec)), index == 0

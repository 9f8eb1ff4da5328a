"""Decoded clips of a data set, cached in memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsr.data.agreement import Features
from vsr.data.config import DataConfig
from vsr.data.shared_arrays import Entry, SharedArrays
from vsr.data.store import Split, Store, StoredClip, TeacherOutput
from vsr.imaging.colour import to_rgb
from vsr.imaging.tensors import to_uint8

_SHARED_PART = 0.8
"""Of the memory for decoded clips, what workers share if not all clips fit."""

Cached = TypeVar("Cached", tuple[Tensor, Tensor, Tensor], NDArray[np.uint8], Tensor)


class ClipPool:
    """The clips of a split, decoded when first asked for and kept while there is room."""

    def __init__(
        self,
        store: Store,
        split: Split,
        config: DataConfig,
        features: Features | None = None,
    ) -> None:
        """`features` is what `targets = "agreeing"` compares by."""
        self.features = features
        self.store = store
        clips = store.clips(split)
        self.films = [clip for clip in clips if clip.frames > 1]
        self.pictures = [clip for clip in clips if clip.frames == 1]
        self._memory_bytes = self._room = int(config.memory_gb * 1e9)
        self._shared: SharedArrays | None = None
        self._empty()

    def _empty(self) -> None:
        self._held: OrderedDict[Hashable, tuple[int, object]] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the decoded clips: a worker process decodes its own."""
        return {key: value for key, value in vars(self).items() if key not in ("_held", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._empty()

    def share(self, processes: int) -> None:
        """Decode clips once into memory that worker processes share, as far as `memory_gb` goes.

        Each of `processes` decodes the remaining clips by itself, and keeps what fits into its
        equal share of the remaining memory.
        """
        entries: dict[Hashable, Entry] = {}
        for clip in self.films:
            chroma = clip.frames, clip.height // 2, clip.width // 2
            shapes = (clip.frames, clip.height, clip.width), chroma, chroma
            entries["film", clip.key] = Entry(shapes, partial(self._decode_film, clip))
        for clip in self.pictures:
            shape = clip.height, clip.width, 3
            entries["picture", clip.key] = Entry((shape,), partial(self._decode_picture, clip))
        wanted = sum(entry.size for entry in entries.values())
        fits = wanted <= self._memory_bytes
        room = self._memory_bytes if fits else int(_SHARED_PART * self._memory_bytes)
        self._shared = SharedArrays(entries, room, threads=processes)
        self._room = (self._memory_bytes - self._shared.size) // processes

    def _decode_film(self, clip: StoredClip) -> tuple[Tensor, Tensor, Tensor]:
        y, cb, cr = (torch.from_numpy(plane) for plane in self.store.read(clip))
        return y, cb, cr

    def _decode_picture(self, clip: StoredClip) -> tuple[Tensor]:
        planes = [torch.from_numpy(plane) for plane in self.store.read(clip)]
        return (torch.from_numpy(_picture(planes, clip)),)

    def film(self, clip: StoredClip) -> tuple[Tensor, Tensor, Tensor]:
        """Its planes, uint8: Y (T, H, W), Cb and Cr (T, H/2, W/2)."""
        if self._shared is not None and ("film", clip.key) in self._shared:
            y, cb, cr = self._shared["film", clip.key]
            return y, cb, cr

        def load() -> tuple[int, tuple[Tensor, Tensor, Tensor]]:
            y, cb, cr = self._decode_film(clip)
            return y.numel() * 3 // 2, (y, cb, cr)

        return self.keep(("film", clip.key), load)

    def teacher_outputs(self, blocks: Sequence[TeacherOutput]) -> tuple[Tensor, Tensor, Tensor]:
        """Planes of consecutive blocks of a teacher's outputs for one clip, as those of `film`."""

        def load() -> tuple[int, tuple[Tensor, Tensor, Tensor]]:
            planes = [self.store.read_teacher_output(block) for block in blocks]
            y, cb, cr = (
                torch.from_numpy(np.concatenate(parts)) for parts in zip(*planes, strict=True)
            )
            return y.numel() * 3 // 2, (y, cb, cr)

        return self.keep(("taught", blocks[0].teaching, blocks[0].clip_key), load)

    def low(self, clip: StoredClip) -> tuple[Tensor, Tensor, Tensor]:
        """The planes of a clip's own low version, as those of `film`."""

        def load() -> tuple[int, tuple[Tensor, Tensor, Tensor]]:
            y, cb, cr = (torch.from_numpy(p) for p in self.store.read_low(clip))
            return y.numel() * 3 // 2, (y, cb, cr)

        return self.keep(("low", clip.key), load)

    def picture(self, clip: StoredClip, number: int = 0) -> NDArray[np.uint8]:
        """A frame as RGB, (H, W, 3): what a camera may move over."""
        if self._shared is not None and ("picture", clip.key) in self._shared:
            return self._shared["picture", clip.key][0].numpy()

        def load() -> tuple[int, NDArray[np.uint8]]:
            picture = self._decode_picture(clip)[0].numpy()
            return picture.size, picture

        if clip.frames == 1:
            return self.keep(("picture", clip.key), load)
        planes = [plane[number : number + 1] for plane in self.film(clip)]
        return _picture(planes, clip)

    def keep(self, key: Hashable, load: Callable[[], tuple[int, Cached]]) -> Cached:
        """What `load` gives, with its bytes; kept by `key` while there is room."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][1]  # type: ignore[return-value]
        size, value = load()
        with self._lock:
            self._held[key] = (size, value)
            while sum(size for size, _ in self._held.values()) > self._room and len(self._held) > 1:
                self._held.popitem(last=False)
        return value


def _picture(planes: list[Tensor], clip: StoredClip) -> NDArray[np.uint8]:
    """The first of some frames as an array (H, W, 3)."""
    rgb = to_uint8(to_rgb(planes, clip.spec)[0]).permute(1, 2, 0)
    return np.ascontiguousarray(rgb.cpu().numpy())

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
from vsr.data.clip_codec import Planes420
from vsr.data.config import DataConfig
from vsr.data.shared_arrays import Entry, SharedArrays
from vsr.data.store import Split, Store, StoredClip, TeacherOutput
from vsr.imaging.colour import to_rgb
from vsr.imaging.tensors import to_uint8

_SHARED_SHARE = 0.8
"""Share of the memory for decoded clips that workers have in common if not all clips fit."""

Planes = tuple[Tensor, Tensor, Tensor]
"""Y (T, H, W), Cb and Cr (T, H/2, W/2), uint8."""
Cached = TypeVar("Cached", Planes, NDArray[np.uint8], Tensor)


class ClipPool:
    """The clips of a split, decoded at first use and cached up to `memory_gb`."""

    def __init__(
        self,
        store: Store,
        split: Split,
        config: DataConfig,
        features: Features | None = None,
    ) -> None:
        """`features` is the network that `targets = "agreeing"` compares with."""
        self.features = features
        self.store = store
        clips = store.clips(split)
        self.films = [clip for clip in clips if clip.frames > 1]
        self.pictures = [clip for clip in clips if clip.frames == 1]
        self._memory_bytes = self._cache_bytes = int(config.memory_gb * 1e9)
        self._shared: SharedArrays | None = None
        self._clear()

    def _clear(self) -> None:
        self._cache: OrderedDict[Hashable, tuple[int, object]] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the cache: each worker process has its own."""
        return {key: value for key, value in vars(self).items() if key not in ("_cache", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._clear()

    def share(self, processes: int) -> None:
        """Decode clips once into memory shared by worker processes, up to `memory_gb`.

        Each of `processes` decodes the remaining clips itself, and caches them in an equal part of
        the remaining memory.
        """
        entries: dict[Hashable, Entry] = {}
        for clip in self.films:
            chroma = clip.frames, clip.height // 2, clip.width // 2
            shapes = (clip.frames, clip.height, clip.width), chroma, chroma
            entries["film", clip.key] = Entry(shapes, partial(self._decode_film, clip))
        for clip in self.pictures:
            shape = clip.height, clip.width, 3
            entries["picture", clip.key] = Entry((shape,), partial(self._decode_picture, clip))
        all_fit = sum(entry.size for entry in entries.values()) <= self._memory_bytes
        limit = self._memory_bytes if all_fit else int(_SHARED_SHARE * self._memory_bytes)
        self._shared = SharedArrays(entries, limit, threads=processes)
        self._cache_bytes = (self._memory_bytes - self._shared.size) // processes

    def _decode_film(self, clip: StoredClip) -> Planes:
        return _as_tensors(self.store.read(clip))

    def _decode_picture(self, clip: StoredClip) -> tuple[Tensor]:
        return (torch.from_numpy(_first_frame(_as_tensors(self.store.read(clip)), clip)),)

    def film(self, clip: StoredClip) -> Planes:
        """The planes of a clip."""
        if self._shared is not None and ("film", clip.key) in self._shared:
            y, cb, cr = self._shared["film", clip.key]
            return y, cb, cr
        return self._cached_planes(("film", clip.key), lambda: self._decode_film(clip))

    def teacher_outputs(self, blocks: Sequence[TeacherOutput]) -> Planes:
        """The planes of consecutive blocks of a teacher's outputs for one clip."""

        def load() -> Planes:
            planes = [self.store.read_teacher_output(block) for block in blocks]
            y, cb, cr = (np.concatenate(parts) for parts in zip(*planes, strict=True))
            return _as_tensors((y, cb, cr))

        return self._cached_planes(("taught", blocks[0].teaching, blocks[0].clip_key), load)

    def low(self, clip: StoredClip) -> Planes:
        """The planes of the low-resolution version that a ready pair came with."""
        return self._cached_planes(
            ("low", clip.key), lambda: _as_tensors(self.store.read_low(clip))
        )

    def picture(self, clip: StoredClip, index: int = 0) -> NDArray[np.uint8]:
        """A frame as RGB, (H, W, 3)."""
        if self._shared is not None and ("picture", clip.key) in self._shared:
            return self._shared["picture", clip.key][0].numpy()

        def load() -> tuple[int, NDArray[np.uint8]]:
            picture = self._decode_picture(clip)[0].numpy()
            return picture.size, picture

        if clip.frames == 1:
            return self.cached(("picture", clip.key), load)
        return _first_frame([plane[index : index + 1] for plane in self.film(clip)], clip)

    def _cached_planes(self, key: Hashable, decode: Callable[[], Planes]) -> Planes:
        def load() -> tuple[int, Planes]:
            planes = decode()
            return planes[0].numel() * 3 // 2, planes

        return self.cached(key, load)

    def cached(self, key: Hashable, load: Callable[[], tuple[int, Cached]]) -> Cached:
        """Look up `key`, or `load` its size in bytes and its value.

        The least recently used values are evicted when the cache is full.
        """
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key][1]  # type: ignore[return-value]
        size, value = load()
        with self._lock:
            self._cache[key] = (size, value)
            while (
                sum(size for size, _ in self._cache.values()) > self._cache_bytes
                and len(self._cache) > 1
            ):
                self._cache.popitem(last=False)
        return value


def _as_tensors(planes: Planes420) -> Planes:
    y, cb, cr = (torch.from_numpy(plane) for plane in planes)
    return y, cb, cr


def _first_frame(planes: Sequence[Tensor], clip: StoredClip) -> NDArray[np.uint8]:
    """The first of some frames as RGB, (H, W, 3)."""
    rgb = to_uint8(to_rgb(planes, clip.spec)[0]).permute(1, 2, 0)
    return np.ascontiguousarray(rgb.cpu().numpy())

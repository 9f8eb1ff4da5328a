"""Targets from a teacher: its outputs for the training clips of a data set."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from vsr.data.clip_codec import Planes420
from vsr.data.store import Store, StoredClip, StoreWriter, TeacherRun
from vsr.errors import DataError, ModelError
from vsr.imaging.colour import from_rgb, to_rgb
from vsr.imaging.degrade import Degradation, degrade
from vsr.imaging.tensors import on_8_bit_levels, resize_bicubic
from vsr.models.generator import StillGenerator
from vsr.zoo import list_models, load, model_path
from vsr.zoo.model_file import Origin, read_origin

BLOCK_FRAMES = 8
"""Consecutive frames of a clip that are computed and stored together."""
_TILE, _OVERLAP = 256, 40
"""Side of a tile and width of its margin, in pixels of the teacher's input.

The receptive field of Real-ESRGAN x4plus is large: with a margin of 16 its tiles differ from the
whole frame by up to 60 code values near their seams, with 32 by 20.
"""
_MOST_UNTILED_PIXELS = 130_000
"""Largest input that is not divided into tiles: a quarter of 1920x1080."""
_POSITIONS = 8
"""Random positions of the crop of a native clip. The one with the most detail is used."""
_LOCK_FILE = ".teach.lock"


@dataclass(frozen=True)
class TeachingOptions:
    """Clips that a teacher upscales, and how."""

    back_projections: int = 2
    """Iterations of back-projection: correction by the input less the downsampled output."""
    native: bool = False
    """Upscale crops of the stored frames rather than whole frames downsampled by the scale."""
    crop: int = 128
    """Largest side of those crops, rounded down to even."""
    frames: int | None = None
    """Consecutive frames of each clip, rounded up to whole blocks. None means all."""
    photographs: bool = True
    """Include photographs, unless `native`."""
    precision: Literal["bf16", "f32"] = "bf16"
    """Precision of the teacher's arithmetic."""


@dataclass(frozen=True)
class TeachingProgress:
    """Progress of a teaching run."""

    source: str
    frames: int
    """Frames done, including those of earlier runs."""
    frame_count: int


class TeachingResult(NamedTuple):
    """Outcome of a teaching run."""

    frames: int
    frame_count: int
    teaching: TeacherRun

    @property
    def finished(self) -> bool:
        """Whether all frames are done."""
        return self.frames == self.frame_count


class _Block(NamedTuple):
    """Consecutive frames of a clip."""

    clip: StoredClip
    first: int
    frames: int


def teach(
    dataset: Path,
    model: str,
    options: TeachingOptions = TeachingOptions(),
    *,
    licence: str | None = None,
    device: torch.device = torch.device("cpu"),
    minutes: float | None = None,
    watch: Callable[[TeachingProgress], None] = lambda progress: None,
) -> TeachingResult:
    """Add a teacher's outputs for the training clips to a data set, for at most `minutes`.

    The order of blocks is fixed. After an interruption at any time the same call resumes, and the
    files are those of an uninterrupted run. Outputs whose shard was deleted or truncated are
    computed again. Raises `DataError` and `ModelError`.
    """
    started = time.monotonic()
    store = Store(dataset)
    teacher = load(model)
    if not isinstance(teacher, StillGenerator):
        raise ModelError(f"{model}: is a recurrent model; a teacher must upscale single frames")
    teaching = _teaching(model, teacher.scale, options, licence)
    blocks = _blocks(store.clips("train"), teacher.scale, options)
    if not blocks:
        raise DataError(f"{dataset}: holds no training clip that can be taught")
    count = sum(block.frames for block in blocks)
    with _locked(dataset):
        writer = StoreWriter(dataset, store.header)
        if (recorded := writer.teacher_runs.get(teaching.teaching)) is None:
            writer.add(teaching)
        elif licence not in (None, recorded.licence):
            raise DataError(
                f"{dataset}: holds these outputs under the licence {recorded.licence}, "
                f"not {licence}"
            )
        else:
            teaching = recorded
        missing = {output.key for output in writer.missing_outputs(teaching.teaching)}
        done = {output.key for output in writer.teacher_outputs(teaching.teaching)} - missing
        taught = sum(b.frames for b in blocks if (b.clip.key, b.first) in done)
        placed = _Teacher(teacher, options, device)
        for block in blocks:
            if (block.clip.key, block.first) in done:
                continue
            if minutes is not None and time.monotonic() - started > minutes * 60:
                break
            watch(TeachingProgress(writer.sources[block.clip.source].name, taught, count))
            _teach_block(writer, placed, teaching, block)
            taught += block.frames
    return TeachingResult(taught, count, teaching)


def _teaching(model: str, scale: int, options: TeachingOptions, licence: str | None) -> TeacherRun:
    path = model_path(model)
    origin = read_origin(path) or _included_origin(model)
    facts = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "scale": scale,
        "back_projections": options.back_projections,
        "precision": options.precision,
        "native_crop": options.crop // 2 * 2 if options.native else None,
    }
    identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    stated = licence or (origin.licence if origin else None)
    if stated is None:
        raise ModelError(f"{model}: states no licence; name the licence of the weights: --licence")
    return TeacherRun(
        teaching=identity,
        teacher=origin.name if origin else path.stem,
        licence=stated,
        **facts,
    )


def _included_origin(model: str) -> Origin | None:
    cards = [card for card in list_models() if card.name == model]
    return Origin(name=model, licence=cards[0].licence, source="vsr") if cards else None


def _blocks(clips: Sequence[StoredClip], scale: int, options: TeachingOptions) -> list[_Block]:
    """Blocks in order: one of each clip, films first, then the second of each, and so on.

    The blocks of a clip are ordered from its middle outwards. They are consecutive whenever the run
    stops, and a run for more frames adds to one for fewer.
    """
    columns = []
    for clip in sorted(clips, key=lambda clip: clip.frames == 1):
        is_photograph = clip.frames == 1
        if is_photograph and (options.native or not options.photographs):
            continue
        if min(clip.height, clip.width) < 2 * scale:
            continue
        count = -(-clip.frames // BLOCK_FRAMES)
        most = count if options.frames is None else -(-options.frames // BLOCK_FRAMES)
        middle = (count - 1) // 2
        outwards = sorted(range(count), key=lambda n: (abs(n - middle), -n))[:most]
        firsts = [BLOCK_FRAMES * index for index in outwards]
        columns.append([_Block(clip, f, min(BLOCK_FRAMES, clip.frames - f)) for f in firsts])
    return [block for row in zip_longest(*columns) for block in row if block is not None]


def _teach_block(
    writer: StoreWriter, teacher: "_Teacher", teaching: TeacherRun, block: _Block
) -> None:
    clip = block.clip
    planes = writer.read(clip)
    chosen = [torch.from_numpy(p[block.first : block.first + block.frames]) for p in planes]
    frames = on_8_bit_levels(to_rgb(chosen, clip.spec))
    scale = teaching.scale
    top = left = 0
    if teaching.native_crop is None:
        height, width = clip.height // scale * scale, clip.width // scale * scale
        low = degrade(frames[..., :height, :width], scale, Degradation.BI)
    else:
        top, left, height, width = _native_crop(clip, planes, teaching.native_crop)
        low = frames[..., top : top + height, left : left + width]
    outputs = [from_rgb(teacher.target(frame[None])[0], clip.spec) for frame in low]
    y, cb, cr = (torch.stack(planes).numpy() for planes in zip(*outputs, strict=True))
    taught: Planes420 = (y, cb, cr)
    writer.add_teacher_output(taught, teaching.teaching, clip, block.first, (top, left))


def _native_crop(clip: StoredClip, planes: Planes420, crop: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the crop of all frames of a clip."""
    height, width = min(crop, clip.height), min(crop, clip.width)
    seed = hashlib.sha256(json.dumps(clip.key).encode()).digest()
    random = np.random.default_rng(int.from_bytes(seed[:8], "little"))
    tops = 2 * random.integers((clip.height - height) // 2 + 1, size=_POSITIONS)
    lefts = 2 * random.integers((clip.width - width) // 2 + 1, size=_POSITIONS)
    luma = planes[0][clip.frames // 2].astype(np.int16)
    across = np.abs(np.diff(luma, axis=1))

    def detail(position: int) -> int:
        top, left = tops[position], lefts[position]
        return int(across[top : top + height, left : left + width - 1].sum())

    best = max(range(_POSITIONS), key=detail)
    return int(tops[best]), int(lefts[best]), height, width


class _Teacher:
    """A network that computes targets, on its device."""

    def __init__(
        self, network: StillGenerator, options: TeachingOptions, device: torch.device
    ) -> None:
        self._network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._options = options
        self._device = device

    def target(self, low: Tensor) -> Tensor:
        """(1, 3, H, W) to (1, 3, sH, sW), both in [0, 1] and on the CPU."""
        low = low.to(self._device)
        high = self._upscale(low)
        for _ in range(self._options.back_projections):
            high = back_projected(high, low)
        return high.clamp(0, 1).cpu()

    @torch.inference_mode()
    def _upscale(self, low: Tensor) -> Tensor:
        """Upscale (1, 3, H, W), in tiles with margins if the frame is large."""
        scale = self._network.scale
        height, width = low.shape[-2:]
        if height * width <= _MOST_UNTILED_PIXELS:
            return self._compute(low)
        high = low.new_empty(1, 3, scale * height, scale * width)
        for top in range(0, height, _TILE):
            for left in range(0, width, _TILE):
                bottom, right = min(top + _TILE, height), min(left + _TILE, width)
                above, before = max(top - _OVERLAP, 0), max(left - _OVERLAP, 0)
                tile = low[..., above : bottom + _OVERLAP, before : right + _OVERLAP]
                rows = slice(scale * (top - above), scale * (bottom - above))
                columns = slice(scale * (left - before), scale * (right - before))
                high[..., scale * top : scale * bottom, scale * left : scale * right] = (
                    self._compute(tile)[..., rows, columns]
                )
        return high

    def _compute(self, low: Tensor) -> Tensor:
        half = self._options.precision == "bf16"
        low = low.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            high: Tensor = self._network.upscale(low)
        return high.float()


def back_projected(high: Tensor, low: Tensor) -> Tensor:
    """Back-project: add the upsampled difference of `low` and the downsampled `high` to `high`.

    (N, 3, sH, sW) and (N, 3, H, W), bicubic in both directions. Irani and Peleg, "Improving
    resolution by image registration", 1991.
    """
    size = (high.shape[-2], high.shape[-1])
    difference = low - resize_bicubic(high, (low.shape[-2], low.shape[-1]))
    return high + resize_bicubic(difference, size)


@contextmanager
def _locked(dataset: Path) -> Iterator[None]:
    lock = FileLock(dataset / _LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise DataError(f"{dataset}: another vsr data teach is using it") from error
    try:
        yield
    finally:
        lock.release()

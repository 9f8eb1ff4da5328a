"""The interface of every generator: `start`, `step`, and `forward` as a loop over them.

Optional capabilities are attributes with defaults, so that callers ask the generator what it
supports instead of testing its class.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from vsr.models.flow import PyramidFlow
from vsr.models.reach import Reach, measure_reach, remembered_reach

_SMALL_REACH = 32
"""Reach in low-resolution pixels up to which measuring it gains nothing."""

State = TypeVar("State", bound=tuple[Tensor, ...])
"""The recurrent state between two frames: a (named) tuple of tensors, batch first."""


class Generator(nn.Module, ABC, Generic[State]):
    """A network that upscales a film frame by frame, its state passed in and out."""

    scale: int
    """Output side over input side."""
    state_type: Callable[..., State]
    """Builds the state from its tensors: `state_type(*tensors)`."""
    int8_ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})
    """Least and greatest input of each int8 layer, see `models.int8`; empty if not calibrated."""
    filters_input: bool = False
    """Whether `step` denoises its input; the first tensor of the state is then the result."""
    architecture: ClassVar[str] = ""
    """Identifies the network's class in cache keys; empty for a network that is never cached."""
    supports_half: bool = True
    """Whether the network can compute in f16."""
    is_recurrent: bool = True
    """Whether frames depend on those before; if not, the state is empty."""
    software: str = ""
    """Package of another project, with its version, that defines or computes the network."""
    compiles: bool = True
    """Whether compilers can convert `step`; if not, torch computes it operation by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.flow: PyramidFlow | None = None
        """The motion network; None if the generator uses no motion. `step` then also accepts
        its coarse flow, so that the generator can run on tiles."""

    @abstractmethod
    def start(self, low: Tensor) -> State:
        """Return the state before the first frame of a shot; `low` is that frame, (B, 3, H, W)."""

    @abstractmethod
    def step(self, low: Tensor, state: State) -> tuple[Tensor, State]:
        """Upscale one frame, (B, 3, H, W) to (B, 3, sH, sW), and return the next state."""

    def forward(self, clip: Tensor) -> Tensor:
        """Upscale (B, T, 3, H, W) to (B, T, 3, sH, sW): `step`, in order."""
        return self.unroll(clip, self.start(clip[:, 0]))[0]

    def unroll(self, clip: Tensor, state: State) -> tuple[Tensor, State]:
        """Upscale the next frames of a film, (B, T, 3, H, W), and return the state after them."""
        outputs = []
        for low in clip.unbind(1):
            high, state = self.step(low, state)
            outputs.append(high)
        return torch.stack(outputs, dim=1), state

    def set_denoise(self, strength: float) -> None:
        """Change how strongly `step` denoises its input, by changing weights.

        0 switches the filter off, 0.5 is as trained, 1 is strongest. Raises ValueError for a
        generator that doesn't filter its input, see `filters_input`.
        """
        raise ValueError("the generator has no temporal filter")

    def trunk_layers(self) -> dict[str, nn.Conv2d]:
        """Convolutions, by name, that can run in f16 while the rest stays f32.

        Empty if the whole network runs in f16, see `models.half`.
        """
        return {}

    def int8_layers(self) -> tuple[str, ...]:
        """Names of the layers that int8 quantises, see `models.int8`; empty if unsupported."""
        return ()

    def step_bytes_per_pixel(self) -> int:
        """Estimate the memory of a step per low-resolution pixel, states and buffers included."""
        weights = (w for w in self.state_dict().values() if w.dim() == 4)
        widest = max((w.shape[0] for w in weights), default=1)
        return 4 * int(widest) * (8 + 3 * self.scale**2)

    def reach(self) -> Reach | None:
        """Return the reach of outputs, which the overlap of tiles depends on.

        None if outputs depend on the whole frame, so that tiles would show seams. By default that
        of trunk, head and the finer levels of motion, 7 to 20 pixels, with a reserve.
        """
        return Reach(30, 16)

    def description(self) -> dict[str, Any]:
        """Describe all that determines the output besides the tensors, for cache keys.

        The keys are a file format: an attribute may be renamed, its key may not.
        """
        return {"kind": self.architecture, "scale": self.scale}


class NoState(NamedTuple):
    """The state of a still-image network: empty."""


class StillGenerator(Generator[NoState]):
    """A generator that upscales each picture independently."""

    state_type = NoState
    is_recurrent = False
    _known_reach: tuple[Reach | None] | None = None
    """The measured reach; None before it is measured."""

    def start(self, low: Tensor) -> NoState:
        """Return the empty state."""
        return NoState()

    def step(self, low: Tensor, state: NoState) -> tuple[Tensor, NoState]:
        """Upscale one picture, (B, 3, H, W) to (B, 3, sH, sW)."""
        return self.upscale(low), state

    @abstractmethod
    def upscale(self, low: Tensor) -> Tensor:
        """Upscale (B, 3, H, W) to (B, 3, sH, sW), RGB in [0, 1]."""

    def reach(self) -> Reach | None:
        """Return the sum over kernels if it is small; that of a deep network is measured."""
        convolutions = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]
        total = 2 + sum(layer.kernel_size[0] // 2 for layer in convolutions)
        return Reach(total, 1) if total <= _SMALL_REACH else self._measured_reach()

    def _measured_reach(self) -> Reach | None:
        """Measure the reach once. No property: compilers read all properties of a module."""
        if self._known_reach is None:
            found = remembered_reach(self, lambda: measure_reach(self.upscale_probe, self.scale))
            self._known_reach = (found,)
        return self._known_reach[0]

    def upscale_probe(self, low: Tensor) -> Tensor:
        """Upscale a picture (1, 3, H, W) on the device of the weights; the result is f32."""
        like = next(self.parameters(), low)
        return self.upscale(low.to(like.device, like.dtype)).float().to(low.device)


def multiplies_per_pixel(generator: Generator[Any]) -> int:
    """Count the multiply-accumulates of a step's convolutions per low-resolution pixel."""
    side = 64
    total = 0

    def count(layer: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        taps = layer.kernel_size[0] * layer.kernel_size[1] * layer.in_channels // layer.groups
        total += output.numel() * taps

    hooks = [
        layer.register_forward_hook(count)
        for layer in generator.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    with torch.no_grad():
        like = next(generator.parameters(), torch.empty(0))  # a generator may have no weights
        low = like.new_zeros(1, 3, side, side)
        generator.step(low, generator.start(low))
    for hook in hooks:
        hook.remove()
    return round(total / side**2)

"""Initialise a larger network from a trained smaller one so that both compute the same."""

from typing import Any

import torch
from torch import Tensor, nn

from vsr.models.generator import Generator
from vsr.models.recurrent import Recurrent, ResidualPair


def can_grow(small: Generator[Any], large: Generator[Any]) -> bool:
    """Return whether both are recurrent and every part of `small` fits into that of `large`."""
    return (
        isinstance(small, Recurrent)
        and isinstance(large, Recurrent)
        and small.scale == large.scale
        and small.entry.out_channels <= large.entry.out_channels
        and len(small.trunk) <= len(large.trunk)
        and 0 < small.memory <= large.memory
        and small.exit.out_channels <= large.exit.out_channels
        and _shapes(small.flow) == _shapes(large.flow)
        and (small.steady is None or large.steady is not None)
    )


@torch.no_grad()
def grow(small: Generator[Any], large: Generator[Any]) -> None:
    """Copy `small` into the first channels and residual pairs of `large`.

    New channels keep their random weights among themselves and have zero weights into the copied
    channels. So both networks compute the same at first, and every new weight has a gradient.
    Net2Net (Chen et al., 2016) does so for plain layers. Raises ValueError unless `can_grow`.
    """
    if not (
        isinstance(small, Recurrent) and isinstance(large, Recurrent) and can_grow(small, large)
    ):
        raise ValueError("the smaller network does not fit into the larger one")
    width = small.entry.out_channels
    channels = list(range(width))
    # Inputs of the entry: the frame, the previous frame, the memory, and the error of the warp.
    warped = range(6 + large.memory, large.entry.in_channels)
    entry_inputs = [*range(6), *range(6, 6 + small.memory), *warped]
    features = range(small.exit.out_channels)
    frame = range(large.exit.out_channels, large.exit.out_channels + 3)
    _copy(small.entry, large.entry, entry_inputs)
    for index, pair in enumerate(large.trunk):
        assert isinstance(pair, ResidualPair)
        if index < len(small.trunk):
            source = small.trunk[index]
            assert isinstance(source, ResidualPair)
            _copy(source.first, pair.first, channels)
            _copy(source.second, pair.second, channels)
        else:
            pair.second.weight[:width] = 0
            _bias(pair.second)[:width] = 0
    _copy(small.exit, large.exit, channels)
    _copy(small.head, large.head, [*features, *frame])
    if small.flow is not None and large.flow is not None:
        large.flow.load_state_dict(small.flow.state_dict())
    if small.steady is not None and large.steady is not None:
        large.steady.load_state_dict(small.steady.state_dict())


def _copy(source: nn.Conv2d, larger: nn.Conv2d, inputs: list[int]) -> None:
    """Copy a convolution into the first outputs of a larger one, at the indices `inputs`.

    All other inputs of those outputs get zero weights.
    """
    outputs = source.out_channels
    weight = torch.zeros_like(larger.weight[:outputs])
    weight[:, inputs] = source.weight
    larger.weight[:outputs] = weight
    _bias(larger)[:outputs] = _bias(source)


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _shapes(part: nn.Module | None) -> dict[str, torch.Size] | None:
    return None if part is None else {key: v.shape for key, v in part.state_dict().items()}

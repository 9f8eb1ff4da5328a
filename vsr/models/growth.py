"""Start a larger network from a trained smaller one, computing the same function."""

import torch
from torch import Tensor, nn

from vsr.models.recurrent import Recurrent, ResidualPair


def can_grow(small: Recurrent, large: Recurrent) -> bool:
    """Return whether `large` has room for `small`, part by part."""
    return (
        small.scale == large.scale
        and small.entry.out_channels <= large.entry.out_channels
        and len(small.trunk) <= len(large.trunk)
        and 0 < small.memory <= large.memory
        and small.exit.out_channels <= large.exit.out_channels
        and _shapes(small.flow) == _shapes(large.flow)
        and (small.steady is None or large.steady is not None)
    )


@torch.no_grad()
def grow(small: Recurrent, large: Recurrent) -> None:
    """Copy `small` into the first channels and residual pairs of `large`.

    What is added keeps its random weights among itself and has none into the copied channels, so
    that both networks compute the same at first, and every new weight has a gradient. Net2Net
    (Chen et al., 2016) does so for plain layers. Raises ValueError unless `can_grow`.
    """
    if not can_grow(small, large):
        raise ValueError("the larger network has no room for the smaller one")
    width = small.entry.out_channels
    channels = list(range(width))
    # The entry's inputs: the frame, the previous one, the memory, and where it was warped wrongly.
    warped = range(6 + large.memory, large.entry.in_channels)
    entry_inputs = [*range(6), *range(6, 6 + small.memory), *warped]
    features = range(small.exit.out_channels)
    frame = range(large.exit.out_channels, large.exit.out_channels + 3)
    _copy(small.entry, large.entry, entry_inputs)
    for index, pair in enumerate(large.trunk):
        assert isinstance(pair, ResidualPair)
        if index < len(small.trunk):
            given = small.trunk[index]
            assert isinstance(given, ResidualPair)
            _copy(given.first, pair.first, channels)
            _copy(given.second, pair.second, channels)
        else:
            pair.second.weight[:width] = 0
            _bias(pair.second)[:width] = 0
    _copy(small.exit, large.exit, channels)
    _copy(small.head, large.head, [*features, *frame])
    if small.flow is not None and large.flow is not None:
        large.flow.load_state_dict(small.flow.state_dict())
    if small.steady is not None and large.steady is not None:
        large.steady.load_state_dict(small.steady.state_dict())


def _copy(given: nn.Conv2d, larger: nn.Conv2d, inputs: list[int]) -> None:
    """Copy a convolution into the first outputs of a larger one, at the places `inputs`.

    All other inputs of those outputs get no weight.
    """
    outputs = given.out_channels
    weight = torch.zeros_like(larger.weight[:outputs])
    weight[:, inputs] = given.weight
    larger.weight[:outputs] = weight
    _bias(larger)[:outputs] = _bias(given)


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _shapes(part: nn.Module | None) -> dict[str, torch.Size] | None:
    return None if part is None else {key: v.shape for key, v in part.state_dict().items()}

import pytest
import torch

from vsr.models import Recurrent, RecurrentConfig
from vsr.models.growth import can_grow, grow

SMALL = RecurrentConfig(
    channels=6, blocks=1, memory=5, flow_channels=4, flow_levels=2, steadies=True
)
LARGE = SMALL.model_copy(update={"channels": 10, "blocks": 3, "memory": 8})


def networks() -> tuple[Recurrent, Recurrent]:
    torch.manual_seed(0)
    return Recurrent(SMALL), Recurrent(LARGE)


def test_the_larger_network_computes_the_same_from_frame_to_frame() -> None:
    small, large = networks()
    clip = torch.rand(1, 4, 3, 16, 20)
    with torch.no_grad():
        assert not torch.allclose(small(clip), large(clip), atol=1e-3)
        grow(small, large)
        assert torch.allclose(small(clip), large(clip), atol=1e-5)


def test_the_added_channels_learn() -> None:
    small, large = networks()
    grow(small, large)
    optimiser = torch.optim.SGD(large.parameters(), lr=0.1)
    clip = torch.rand(1, 3, 3, 16, 20)
    for _ in range(2):  # zero weights move first; what feeds them has a gradient from then on
        optimiser.zero_grad()
        large(clip).square().mean().backward()
        optimiser.step()
    for name in ("entry", "exit", "head", "trunk.0.first", "trunk.2.first", "trunk.2.second"):
        gradient = large.get_parameter(f"{name}.weight").grad
        assert gradient is not None
        learning = gradient.abs().amax(dim=(1, 2, 3)) > 0
        assert learning.float().mean() >= 0.8, name  # a channel may be dead under its ReLU


@pytest.mark.parametrize(
    "change", [{"channels": 4, "memory": 4}, {"flow_channels": 6}, {"blocks": 0}, {"scale": 2}]
)
def test_a_network_without_room_is_refused(change: dict[str, int]) -> None:
    small, other = Recurrent(SMALL), Recurrent(LARGE.model_copy(update=change))
    assert not can_grow(small, other)
    with pytest.raises(ValueError, match="does not fit into"):
        grow(small, other)

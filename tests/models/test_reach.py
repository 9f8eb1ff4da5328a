"""The reach of networks, by networks whose reach is known."""

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vsr.cli.streams import logged_lines
from vsr.engine.backends.torchscript import traced
from vsr.models import CommunityNetwork
from vsr.models.community import Facts, SizeRules
from vsr.models.memory import peak_bytes
from vsr.models.reach import Reach, measure_reach, measure_reach_of_size, remembered_reach
from vsr.models.still import still_network


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


class Windows(nn.Module):
    """Subtracts the mean of windows that start at multiples of a side."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, low: Tensor) -> Tensor:
        height, width = low.shape[-2:]
        low = nn.functional.pad(low, (0, -width % self.side, 0, -height % self.side))
        mean = nn.functional.avg_pool2d(low, self.side)
        grown = mean.repeat_interleave(self.side, 2).repeat_interleave(self.side, 3)
        return (low - grown)[..., :height, :width]


class Mean(nn.Module):
    """Subtracts the mean of the picture."""

    def forward(self, low: Tensor) -> Tensor:
        return low - low.mean(dim=(2, 3), keepdim=True)


def test_reach_of_convolutions_is_their_sum() -> None:
    network = nn.Sequential(*(nn.Conv2d(3, 3, side, padding=side // 2) for side in (3, 9, 3)))
    for layer in network:
        nn.init.constant_(layer.weight, 0.05)  # type: ignore[arg-type]
    found = measure_reach(network, 1)
    assert found is not None
    assert found.grid == 16
    assert 4 <= found.pixels <= 6


@pytest.mark.parametrize(("side", "grid"), [(8, 16), (32, 32), (24, 48)])
def test_windows_have_a_grid(side: int, grid: int) -> None:
    found = measure_reach(Windows(side), 1)
    assert found is not None
    assert found.grid == grid
    assert found.pixels <= side


def test_reach_is_that_of_the_farthest_direction() -> None:
    """A network that looks 30 pixels to the right alone, or down alone."""

    class Shift(nn.Module):
        def __init__(self, axis: int) -> None:
            super().__init__()
            self.axis = axis

        def forward(self, low: Tensor) -> Tensor:
            return low - 0.5 * low.roll(-30, self.axis)

    for axis in (2, 3):
        found = measure_reach(Shift(axis), 1)
        assert found is not None
        assert found.pixels == 30


def test_network_that_uses_the_mean_of_the_picture_has_no_reach() -> None:
    assert measure_reach(Mean(), 1) is None


def test_reach_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def measure(*arguments: object) -> Reach:
        calls.append(1)
        return Reach(5, 16)

    network = CommunityNetwork(nn.Conv2d(3, 3, 3, padding=1), Facts("Test", 1)).eval()
    monkeypatch.setattr("vsr.models.generator.measure_reach", measure)
    assert network.reach() == network.reach() == Reach(5, 16)
    again = CommunityNetwork(network.network, Facts("Test", 1)).eval()
    assert again.reach() == Reach(5, 16)
    assert calls == [1]


@pytest.mark.parametrize("content", ["[1]", "{}", "[1e999, 1]", "[3, 0]", "[-5, 1]", "\xff"])
def test_damaged_reach_is_measured_again(content: str, tmp_path: Path) -> None:
    network = nn.Conv2d(3, 3, 3)
    assert remembered_reach(network, lambda: Reach(5, 16)) == Reach(5, 16)
    (path,) = tmp_path.rglob("*.json")
    path.write_text(content, encoding="latin-1")
    assert remembered_reach(network, lambda: Reach(6, 16)) == Reach(6, 16)
    assert remembered_reach(network, lambda: None) == Reach(6, 16)


def test_sizes_too_small_for_an_overlap_have_no_reach() -> None:
    network = nn.Conv2d(3, 3, 3, padding=1)
    assert measure_reach_of_size(network, 1, (3, 40)) is None
    assert measure_reach_of_size(network, 1, (8, 40)) == Reach(1, 1)


def test_long_measurement_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    heard = threading.Event()

    def hear(line: str) -> None:
        lines.append(line)
        heard.set()

    def measure() -> Reach:
        assert heard.wait(10)
        return Reach(5, 16)

    monkeypatch.setattr("vsr.models.reach._SILENT_SECONDS", 0.01)
    network = nn.Conv2d(3, 3, 3)
    with logged_lines(hear):
        remembered_reach(network, measure)
        remembered_reach(network, measure)
    assert len(lines) == 1
    assert "measuring the model's effective receptive field" in lines[0]


def test_short_measurement_is_silent() -> None:
    lines: list[str] = []
    with logged_lines(lines.append):
        remembered_reach(nn.Conv2d(3, 3, 3), lambda: Reach(5, 16))
    assert lines == []


def test_tracing_does_not_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing reads all properties of modules."""
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr("vsr.models.generator.measure_reach", lambda *found: calls.append(found))
    network = CommunityNetwork(nn.Conv2d(3, 3, 3, padding=1), Facts("Test", 1)).eval()
    assert traced(still_network(network), [torch.rand(1, 3, 8, 8)])
    assert calls == []


def test_fixed_size_keeps_its_own_reach(tmp_path: Path) -> None:
    """That of whole pictures, which consist of tiles, is another one."""
    facts = Facts("Test", 1, SizeRules(fixed=(40, 48)))
    network = CommunityNetwork(nn.Conv2d(3, 3, 9, padding=4), facts).eval()
    network.reach()
    assert len(list(tmp_path.rglob("*.json"))) == 2


@pytest.mark.parametrize(
    ("sizes", "size", "padded"),
    [
        (SizeRules(), (5, 7), (5, 7)),
        (SizeRules(multiple=8), (5, 17), (8, 24)),
        (SizeRules(minimum=16), (5, 17), (16, 17)),
        (SizeRules(multiple=4, square=True), (5, 17), (20, 20)),
    ],
)
def test_pictures_are_padded_to_accepted_sizes(
    sizes: SizeRules, size: tuple[int, int], padded: tuple[int, int]
) -> None:
    seen = []

    class Identity(nn.Module):
        def forward(self, low: Tensor) -> Tensor:
            seen.append(tuple(low.shape[-2:]))
            return low

    low = torch.rand(1, 3, *size)
    assert torch.equal(CommunityNetwork(Identity(), Facts("Test", 1, sizes)).upscale(low), low)
    assert seen == [padded]


def test_memory_is_that_of_the_largest_layers() -> None:
    network = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1))
    peak = peak_bytes(lambda: network(torch.rand(1, 3, 64, 64)))
    assert peak / 64**2 == pytest.approx(2 * 64 * 4, rel=0.1)

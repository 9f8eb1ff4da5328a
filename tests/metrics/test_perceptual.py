import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.helpers.pretrained import alexnet
from vsr.errors import ModelError
from vsr.metrics.perceptual import Lpips, tlp
from vsr.models.pretrained_features import backbone_path


def test_a_missing_file_is_named_with_its_source_and_its_place(torch_home: Path) -> None:
    with pytest.raises(ModelError) as caught:
        Lpips()
    said = str(caught.value)
    assert "alexnet-owt-7be5be79.pth" in said
    assert "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth" in said
    assert said.endswith(str(torch_home))
    with pytest.raises(ModelError, match=r"vgg16-397923af\.pth"):
        Lpips("vgg")


def test_a_file_of_something_else_is_refused(torch_home: Path) -> None:
    backbone_path("alexnet").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="not torchvision's weights"):
        Lpips()
    torch.save({"features.0.weight": torch.zeros(3)}, backbone_path("alexnet"))
    with pytest.raises(ModelError, match="not torchvision's weights"):
        Lpips()


def test_the_distance_is_the_lpips_packages_own(torch_home: Path) -> None:
    weights = alexnet()
    torch.save(weights, backbone_path("alexnet"))
    ours = Lpips()
    from lpips import LPIPS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = LPIPS(net="alex", pnet_rand=True, verbose=False)
    for key, value in theirs.net.named_parameters():
        value.data.copy_(weights[f"features.{key.split('.', 1)[1]}"])
    output, target = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    expected = theirs(2 * output - 1, 2 * target - 1).flatten()
    assert ours(output, target).tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert ours(output, output).tolist() == pytest.approx([0, 0], abs=1e-7)
    assert expected.min() > 0


class MeanDistance(nn.Module):
    """Stands for LPIPS where a number is to be worked out by hand."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).abs().mean(dim=(1, 2, 3))


def test_tlp_is_the_distance_of_two_changes() -> None:
    black = torch.zeros(3, 8, 8)
    # The output changes by 0.3, the target by 0.1: 100 * 0.2.
    found = tlp(MeanDistance(), black + 0.3, black, black + 0.6, black + 0.5)
    assert found == pytest.approx(20, abs=1e-4)

from pathlib import Path

import pytest
import torch
from torchvision.models import vgg19

from vsr.errors import ModelError
from vsr.models.pretrained_features import Vgg19Features, backbone_path


@pytest.mark.slow
@pytest.mark.parametrize("after", [True, False])
@pytest.mark.usefixtures("torch_home")
def test_features_are_torchvisions(after: bool) -> None:
    torch.manual_seed(0)
    network = vgg19(weights=None)
    features = {f"features.{k}": v for k, v in network.features.state_dict().items()}
    torch.save(features, backbone_path("vgg19"))  # without the half gigabyte that nothing reads
    ours = Vgg19Features(("2_2", "5_4"), after_activation=after)
    picture = torch.rand(1, 3, 48, 48)
    found = ours(picture)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    x, expected = (picture - mean) / deviation, []
    convolutions = []
    for layer in network.features:
        layer.inplace = False
        is_convolution = isinstance(layer, torch.nn.Conv2d)
        if is_convolution:
            convolutions.append(layer)
        x = layer(x)
        # The fourth convolution is 2_2, the sixteenth 5_4.
        wanted = isinstance(layer, torch.nn.ReLU) if after else is_convolution
        if wanted and len(convolutions) in (4, 16):
            expected.append(x)
    assert len(found) == len(expected) == 2
    for here, there in zip(found, expected, strict=True):
        assert torch.allclose(here, there, atol=1e-6)
    assert not any(p.requires_grad for p in ours.parameters())


def test_without_the_file_it_says_where_it_goes(torch_home: Path) -> None:
    with pytest.raises(
        ModelError, match=r"the perceptual loss needs vgg19-dcbb9e9d\.pth: get http"
    ):
        Vgg19Features(("5_4",))
    torch.save({"features.0.weight": torch.zeros(2)}, torch_home / "vgg19-dcbb9e9d.pth")
    with pytest.raises(ModelError, match="not torchvision's weights"):
        Vgg19Features(("5_4",))

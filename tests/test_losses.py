import pytest
import torch

from vsr.losses import charbonnier, endpoint_error


def test_charbonnier_of_equal_pictures_is_its_epsilon() -> None:
    picture = torch.rand(2, 3, 4, 4)
    assert charbonnier(picture, picture).item() == pytest.approx(1e-3)


def test_charbonnier_of_distant_pictures_is_their_mean_distance() -> None:
    assert charbonnier(torch.zeros(3), torch.tensor([1.0, 2.0, 6.0])).item() == pytest.approx(3.0)


def test_endpoint_error_is_the_length_of_the_difference() -> None:
    flow, target = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    target[:, 0], target[:, 1] = 3, 4
    assert endpoint_error(flow, target).item() == pytest.approx(5, abs=1e-4)


def test_gradients_agree_with_finite_differences() -> None:
    output = torch.rand(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    target = torch.rand(1, 2, 3, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(charbonnier, (output, target))
    assert torch.autograd.gradcheck(endpoint_error, (output, target))

import math
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vsr.training.losses import (
    Adversarial,
    FeatureDistance,
    charbonnier,
    discriminator_loss,
    endpoint_error,
    feature_matching,
    frequency,
    generator_loss,
    gradient_penalty,
    perceptual,
    phase_imbalance,
    phase_means,
    photometric,
    ping_pong,
    warped_consistency,
)


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


def test_ping_pong_is_the_mean_distance_of_two_outputs() -> None:
    forwards = torch.zeros(1, 2, 3, 2, 2)
    backwards = forwards.clone()
    backwards[:, 1] = 0.5
    assert ping_pong(forwards, backwards).item() == pytest.approx(0.25)
    assert ping_pong(forwards, forwards).item() == 0


def test_the_target_itself_is_consistent_whatever_the_flow() -> None:
    target = torch.rand(1, 3, 3, 6, 6)
    assert warped_consistency(target, target, torch.randn(1, 2, 2, 6, 6)).item() == 0


def test_what_is_steadier_than_the_target_costs_nothing() -> None:
    flow = torch.zeros(1, 1, 2, 2, 2)
    target = torch.zeros(1, 2, 3, 2, 2)
    target[:, 1] = 0.1
    half = target / 2
    assert warped_consistency(half, target, flow).item() == 0


def test_consistency_of_a_case_worked_by_hand() -> None:
    flow = torch.zeros(1, 1, 2, 2, 2)
    target = torch.zeros(1, 2, 3, 2, 2)
    output = target.clone()
    output[:, 1] = 0.2
    # Where the target stays as it is, all of the change counts.
    assert warped_consistency(output, target, flow).item() == pytest.approx(0.2)
    # A pixel of the target changes by (0.1, 0, 0): its trust is exp(-50 * 0.01), and a tenth
    # of a third of its change is the target's own.
    target[:, 1, 0, 0, 0] = 0.1
    expected = (3 * 0.2 + math.exp(-0.5) * (0.1 + 0.2 + 0.2) / 3) / 4
    assert warped_consistency(output, target, flow).item() == pytest.approx(expected)
    # Where the target is another picture, nothing is asked.
    target[:, 1] = 1
    assert warped_consistency(output, target, flow).item() == 0


def test_motion_is_followed() -> None:
    # A ramp that moves by one pixel a frame: what is at x was at x - 1.
    ramp = torch.linspace(0, 1, 12).expand(1, 3, 6, 12)
    clip = torch.stack((ramp, ramp.roll(1, -1)), dim=1)[..., 2:-1]
    flow = torch.zeros(1, 1, 2, 6, 9)
    flow[:, :, 0] = -1
    flat = torch.zeros_like(clip)
    # Along the motion, the flat target doesn't change and the ramp hardly does.
    followed = warped_consistency(clip, flat, flow)
    assert followed.item() < 0.2 * warped_consistency(clip, flat, torch.zeros_like(flow)).item()


def test_features_match_where_layers_do() -> None:
    found = [torch.zeros(2, 3), torch.zeros(4)]
    wanted = [torch.ones(2, 3), torch.full((4,), 3.0)]
    assert feature_matching(found, wanted).item() == pytest.approx(2)


def layers_of(picture: torch.Tensor) -> list[torch.Tensor]:
    return [picture, 2 * picture]


def distance_by(output: torch.Tensor, target: torch.Tensor, kind: FeatureDistance) -> torch.Tensor:
    return perceptual(layers_of(output), layers_of(target), kind)


def test_perceptual_losses_of_a_case_worked_by_hand() -> None:
    output, target = torch.tensor([[1.0], [0.0]])[None], torch.tensor([[0.0], [1.0]])[None]
    # Two layers: distances 1 and 2, squared 1 and 4; at right angles.
    assert distance_by(output, target, "l1").item() == pytest.approx(1.5)
    assert distance_by(output, target, "l2").item() == pytest.approx(2.5)
    assert distance_by(output, target, "cosine").item() == pytest.approx(1)
    assert distance_by(output, 3 * output, "cosine").item() == pytest.approx(0, abs=1e-6)
    # The unit vectors of the one location are (1, 0) and (0, 1).
    assert distance_by(output, 3 * target, "unit_l1").item() == pytest.approx(2)
    assert distance_by(output, 3 * target, "unit_l2").item() == pytest.approx(2)
    assert distance_by(3 * output, output, "unit_l2").item() == pytest.approx(0)


def test_the_squared_distance_of_unit_vectors_is_twice_the_cosine_loss() -> None:
    output, target = torch.rand(2, 2, 5, 3, 4)
    unit = distance_by(output, target, "unit_l2")
    cosine = distance_by(output, target, "cosine")
    assert unit.item() == pytest.approx(2 * cosine.item(), rel=1e-5)


def test_the_spectrum_of_a_constant_is_one_number() -> None:
    output = torch.full((1, 4, 4), 0.5)
    # Orthonormal: 16 * 0.5 / 4 at frequency nought, over 4 x 3 frequencies.
    expected = 2 / 12
    assert frequency(output, torch.zeros(1, 4, 4)).item() == pytest.approx(expected, abs=1e-5)


def test_detail_in_another_place_is_as_good_to_the_spectrum() -> None:
    picture = torch.rand(1, 8, 8)
    assert frequency(picture.roll(2, -1), picture).item() == pytest.approx(0, abs=1e-6)
    assert frequency(picture.mean().expand(1, 8, 8), picture).item() > 0.1


def test_spectra_of_windows_are_those_of_squares_side_by_side() -> None:
    random = np.random.default_rng(0)
    output, target = random.random((2, 2, 10, 9), dtype=np.float32)
    differences = [
        np.abs(np.abs(np.fft.rfft2(o, norm="ortho")) - np.abs(np.fft.rfft2(t, norm="ortho")))
        for picture in range(2)
        for y in (0, 4)
        for x in (0, 4)
        for o, t in [(output[picture, y : y + 4, x : x + 4], target[picture, y : y + 4, x : x + 4])]
    ]
    found = frequency(torch.from_numpy(output), torch.from_numpy(target), window=4)
    assert found.item() == pytest.approx(float(np.mean(differences)), abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "of_discriminator", "of_generator"),
    [
        # Logits: 2 for real, -1 and 1 for upscaled.
        ("vanilla", None, None),
        ("least_squares", (1 + (1 + 1) / 2) / 2, (4 + 0) / 2 / 2),
        ("hinge", (0 + (0 + 2) / 2) / 2, 0.0),
        ("relativistic", None, None),
    ],
)
def test_adversarial_losses_of_a_case_worked_by_hand(
    kind: Adversarial, of_discriminator: float | None, of_generator: float | None
) -> None:
    real, fake = torch.tensor([2.0, 2.0]), torch.tensor([-1.0, 1.0])

    def entropy(logits: list[float], wanted: float) -> float:
        """Binary cross-entropy, from its definition."""
        chances = [1 / (1 + math.exp(-logit)) for logit in logits]
        terms = [wanted * math.log(c) + (1 - wanted) * math.log(1 - c) for c in chances]
        return -sum(terms) / len(terms)

    if kind == "vanilla":
        of_discriminator = (entropy([2, 2], 1) + entropy([-1, 1], 0)) / 2
        of_generator = entropy([-1, 1], 1)
    if kind == "relativistic":
        # Means are 2 and 0.
        of_discriminator = (entropy([2, 2], 1) + entropy([-3, -1], 0)) / 2
        of_generator = (entropy([2, 2], 0) + entropy([-3, -1], 1)) / 2
    assert discriminator_loss(kind, real, fake).item() == pytest.approx(of_discriminator)
    assert generator_loss(kind, real, fake).item() == pytest.approx(of_generator)


def test_a_crosshatch_shifts_means_by_phase_and_noise_hardly_does() -> None:
    target = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) / 2
    pattern = torch.zeros(96, 96)
    pattern[::4, ::4], pattern[2::4, 2::4] = 0.2, -0.2
    noise = 0.2 * torch.rand(96, 96, generator=torch.Generator().manual_seed(1)).sub(0.5).sign()
    of_pattern = phase_means(target + pattern, target, 4)
    # Two of sixteen phases are off by 0.2, and nothing else.
    assert float(of_pattern) == pytest.approx(2 / 16 * 0.2, abs=1e-3)
    assert float(phase_means(target + noise, target, 4)) < 1.4 * float(of_pattern)
    # The noise has eight times the pattern's energy.
    assert noise.square().mean() > 7.9 * pattern.square().mean()


def test_means_by_phase_are_those_of_numpy() -> None:
    random = np.random.default_rng(3)
    output, target = random.random((2, 1, 1, 12, 24))
    distances = []
    for y in range(2):
        for x in range(2):
            phase = (output - target)[0, 0, y::2, x::2]  # 6 x 12 cells
            for left in (0, 2, 4, 6, 8):
                for top in (0, 2):
                    mean = phase[top : top + 4, left : left + 4].mean()
                    distances.append(np.sqrt(mean**2 + 1e-6))
    found = phase_means(torch.from_numpy(output), torch.from_numpy(target), 2, window=4)
    assert float(found) == pytest.approx(np.mean(distances), rel=1e-9)


def test_one_pattern_in_each_cell_is_imbalanced_and_noise_is_not() -> None:
    random = torch.Generator().manual_seed(0)
    target = 0.2 * torch.rand(2, 3, 128, 128, generator=random)
    pattern = torch.randn(4, 4, generator=random)
    amplitudes = torch.randn(2, 3, 32, 32, generator=random)
    stamped = torch.stack([torch.kron(one, pattern - pattern.mean()) for one in amplitudes])
    noise = torch.randn(2, 3, 128, 128, generator=random)
    stamped, noise = (0.05 * detail / detail.std() for detail in (stamped, noise))
    of_pattern = phase_imbalance(0.5 + stamped, target, 4)
    of_noise = phase_imbalance(0.5 + noise, target, 4)
    assert float(of_pattern) > 0.1
    assert float(of_noise) < 0.02
    assert float(phase_imbalance(target, target, 4)) == 0
    # Its means by phase are even: they hardly tell it from the noise.
    flat = torch.full_like(target, 0.5)
    assert phase_means(flat + stamped, flat, 4) < 1.5 * phase_means(flat + noise, flat, 4)


def test_the_imbalance_is_that_of_numpy() -> None:
    random = np.random.default_rng(4)
    output, target = random.random((2, 1, 1, 16, 24))

    def imbalances(picture: NDArray[np.float64]) -> list[float]:
        found = []
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            before = np.roll(picture, (down, right), (0, 1))
            after = np.roll(picture, (-down, -right), (0, 1))
            for difference in (picture - before, 2 * picture - before - after):
                detail = np.sqrt(difference**2 + (4 / 255) ** 2)
                detail = np.pad(detail[1:-1, 1:-1], 1, mode="edge")
                deviations = []
                for top in (0, 2, 4):  # windows of 4 x 4 cells of 2 x 2 pixels
                    for left in (0, 2, 4, 6, 8):
                        window = detail[2 * top : 2 * top + 8, 2 * left : 2 * left + 8]
                        means = np.array(
                            [window[y::2, x::2].mean() for y in (0, 1) for x in (0, 1)]
                        )
                        deviations.append(np.abs(means - means.mean()).mean() / means.mean())
                found.append(float(np.mean(deviations)))
        return found

    excess = np.subtract(imbalances(output[0, 0]), imbalances(target[0, 0])).clip(0)
    found = phase_imbalance(torch.from_numpy(output), torch.from_numpy(target), 2, window=4)
    assert float(found) == pytest.approx(excess.mean(), rel=1e-9)
    assert float(found) > 0


def test_the_gradient_penalty_of_a_linear_judge_is_half_its_squared_weights() -> None:
    seen = torch.rand(3, 2, requires_grad=True)
    logits = seen @ torch.tensor([[3.0], [4.0]])
    assert gradient_penalty(logits, seen).item() == pytest.approx(12.5)


KINDS: tuple[Adversarial, ...] = ("vanilla", "least_squares", "hinge", "relativistic")


def test_gradients_of_all_losses_agree_with_finite_differences() -> None:
    output = torch.rand(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, 2, 3, 4, dtype=torch.float64)
    check = torch.autograd.gradcheck
    assert check(lambda x: ping_pong(x, target), (output,))
    assert check(lambda x: feature_matching([x, x**2], [target, target]), (output,))
    assert check(lambda x: frequency(x, target), (output,))
    for distance in get_args(FeatureDistance):
        assert check(lambda x, d=distance: distance_by(x, target, d), (output,))
    for kind in KINDS:
        assert check(lambda x, k=kind: discriminator_loss(k, x, target), (output,))
        assert check(lambda x, k=kind: generator_loss(k, target, x), (output,))
    seen = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    assert check(lambda x: gradient_penalty((x**3).sum(dim=1, keepdim=True), x), (seen,))


def test_the_gradient_of_consistency_agrees_with_a_finite_difference() -> None:
    # Warping is f32, so by hand, with a step that f32 can tell.
    torch.manual_seed(2)
    output, target = torch.rand(1, 2, 1, 4, 4), torch.rand(1, 2, 1, 4, 4) * 0.1
    flow = torch.rand(1, 1, 2, 4, 4)
    output.requires_grad_(True)
    warped_consistency(output, target, flow).backward()
    assert output.grad is not None
    for place in ((0, 0, 0, 1, 2), (0, 1, 0, 2, 1)):
        step = torch.zeros_like(output)
        step[place] = 1e-2
        with torch.no_grad():
            up = warped_consistency(output + step, target, flow)
            down = warped_consistency(output - step, target, flow)
        assert output.grad[place].item() == pytest.approx(float(up - down) / 2e-2, abs=1e-3)


def test_photometric_is_small_where_the_flow_is_right() -> None:
    picture = torch.rand(1, 1, 8, 8)
    moved = picture.roll(1, -1)
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = -1
    right = photometric(moved[..., 1:], picture[..., 1:], flow[..., 1:])
    assert right.item() < 0.3 * photometric(moved, picture, torch.zeros(1, 2, 8, 8)).item()

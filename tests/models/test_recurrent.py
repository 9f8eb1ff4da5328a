import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.models import Recurrent, RecurrentConfig, build_generator, multiplies_per_pixel
from vsr.models.flow import PyramidFlow, least_squares, shift_costs
from vsr.models.recurrent import TemporalFilter, bilinear_kernel

CONFIGS = [
    RecurrentConfig(),
    RecurrentConfig(scale=2, channels=8, memory=4),
    RecurrentConfig(channels=8, blocks=1, flow_channels=0),
    RecurrentConfig(channels=8, blocks=1, memory=0),
    RecurrentConfig(channels=8, blocks=1, memory=12),
    RecurrentConfig(channels=8, blocks=1, memory=8, steadies=True),
]


def fixed(config: RecurrentConfig) -> Recurrent:
    torch.manual_seed(5)
    return Recurrent(config).eval()


def moving_clip(frames: int = 5, height: int = 37, width: int = 51) -> Tensor:
    torch.manual_seed(6)
    large = F.interpolate(torch.rand(1, 3, 24, 24), size=(96, 96), mode="bicubic")
    views = [large[..., 2 * n : 2 * n + height, 3 * n : 3 * n + width] for n in range(frames)]
    return torch.stack(views, dim=1)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_heads_first_kernel_is_bilinear_interpolation(scale: int) -> None:
    low = torch.rand(1, 3, 9, 13)
    ours = F.pixel_shuffle(
        F.conv2d(F.pad(low, (1,) * 4, mode="replicate"), bilinear_kernel(scale)), scale
    )
    assert torch.allclose(ours, F.interpolate(low, scale_factor=scale, mode="bilinear"), atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@torch.inference_mode()
def test_streaming_equals_forward(config: RecurrentConfig) -> None:
    generator, clip = fixed(config), moving_clip()
    whole = generator(clip)
    state = generator.start(clip[:, 0])
    for number in range(clip.shape[1]):
        high, state = generator.step(clip[:, number], state)
        assert torch.allclose(high, whole[:, number], atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@torch.inference_mode()
def test_output_is_scale_times_the_input_for_odd_sizes_too(config: RecurrentConfig) -> None:
    for height, width in ((37, 51), (1, 1), (17, 2)):
        clip = torch.rand(2, 2, 3, height, width)
        size = (2, 2, 3, config.scale * height, config.scale * width)
        assert fixed(config)(clip).shape == size


@torch.inference_mode()
def test_memory_changes_what_comes_next() -> None:
    generator, clip = fixed(RecurrentConfig()), moving_clip()
    _, after_two = generator.step(
        clip[:, 1], generator.step(clip[:, 0], generator.start(clip[:, 0]))[1]
    )
    remembering = generator.step(clip[:, 2], after_two)[0]
    afresh = generator.step(clip[:, 2], generator.start(clip[:, 2]))[0]
    assert not torch.allclose(remembering, afresh, atol=1e-3)


@torch.inference_mode()
def test_state_is_passed_and_never_kept() -> None:
    generator, clip = fixed(RecurrentConfig()), moving_clip()
    first = generator(clip)
    generator(torch.rand_like(clip))
    assert torch.equal(generator(clip), first)


def test_every_weight_learns() -> None:
    generator = Recurrent(RecurrentConfig(channels=8, blocks=1, memory=8))
    generator(moving_clip(3)).square().mean().backward()
    still = [n for n, p in generator.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_a_fixed_seed_gives_the_output_that_was_stored() -> None:
    """Guards the arithmetic against changes that nobody meant to make."""
    generator = fixed(RecurrentConfig(channels=8, blocks=1, memory=8, flow_levels=2))
    for number, parameter in enumerate(generator.parameters()):
        ramp = torch.arange(parameter.numel()).float()
        parameter.data = (torch.sin(ramp + number) * 0.1).view_as(parameter)
    ramp = torch.arange(3 * 3 * 8 * 8).float().view(1, 3, 3, 8, 8)
    with torch.inference_mode():
        output = generator(torch.sin(ramp * 0.05) * 0.5 + 0.5)
    stored = torch.tensor(STORED)
    assert torch.allclose(output[0, 2, :, 13, 17], stored, atol=1e-5)


STORED = (0.2014012, 0.3891375, 0.1616183)


def test_building_gives_what_the_configuration_names() -> None:
    config = RecurrentConfig(scale=2, channels=8)
    generator = build_generator(config)
    assert isinstance(generator, Recurrent)
    assert generator.scale == 2


def test_the_true_shift_costs_least() -> None:
    before = torch.rand(1, 1, 20, 20)
    here = torch.roll(before, (-1, 2), dims=(2, 3))  # here(y, x) = before(y + 1, x - 2)
    best = shift_costs(here, before)[0, :, 5:-5, 5:-5].argmin(dim=0)
    assert (best == (1 + 2) * 5 + (-2 + 2)).all()


@torch.inference_mode()
def test_flow_has_the_size_of_its_frames_whatever_their_size() -> None:
    flow = PyramidFlow(channels=4, levels=3)
    for height, width in ((1, 1), (37, 51), (64, 8)):
        assert flow(*torch.rand(2, 1, 3, height, width)).shape == (1, 2, height, width)


def test_least_squares_finds_a_shift_of_a_fraction_of_a_pixel() -> None:
    """A smooth texture moved by (0.3, -0.2) pixels."""
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")

    def texture(dx: float, dy: float) -> torch.Tensor:
        return (torch.sin(0.5 * (x + dx)) + torch.cos(0.4 * (y + dy) + 0.2 * (x + dx)))[None, None]

    # `warp(before, flow)` is `here`: here shows at (x, y) what before shows at (x, y) + flow.
    shift, sure = least_squares(texture(0.3, -0.2), texture(0, 0))
    inner = shift[0, :, 6:-6, 6:-6]
    assert inner[0].mean() == pytest.approx(0.3, abs=0.03)
    assert inner[1].mean() == pytest.approx(-0.2, abs=0.03)
    assert sure[..., 6:-6, 6:-6].mean() > 0.2


def test_least_squares_is_calm_where_there_is_nothing_to_see() -> None:
    flat = torch.full((1, 1, 16, 16), 0.3)
    shift, sure = least_squares(flat, flat + 0.1)
    assert shift.abs().max() < 1e-3
    assert torch.isfinite(sure).all()
    stripes = torch.sin(torch.arange(32.0)).expand(1, 1, 32, 32)
    assert least_squares(stripes, stripes)[1].max() < 0.2


def test_going_on_is_the_same_as_never_having_stopped() -> None:
    generator = Recurrent(RecurrentConfig(channels=8, blocks=1, memory=8, flow_channels=4))
    clip = torch.rand(2, 7, 3, 16, 16)
    with torch.inference_mode():
        whole = generator(clip)
        first, state = generator.unroll(clip[:, :3], generator.start(clip[:, 0]))
        second, _ = generator.unroll(clip[:, 3:], state)
    assert torch.allclose(torch.cat((first, second), dim=1), whole, atol=1e-6)


def test_multiplies_are_counted_by_the_layers() -> None:
    plain = Recurrent(RecurrentConfig(channels=8, blocks=1, memory=0))
    by_hand = 9 * (3 * 8 + 2 * 8 * 8 + 8 * 8 + 11 * 48)
    assert multiplies_per_pixel(plain) == by_hand
    # The motion network at a half, a quarter, ... of the size, and its last part at the whole.
    moving = Recurrent(
        RecurrentConfig(channels=8, blocks=1, memory=8, flow_channels=4, flow_levels=2)
    )
    entry = 9 * 8 * (9 + 8 - 3)
    levels = 9 * (31 * 4 + 4 * 4 + 4 * 2) * (1 / 4 + 1 / 16)
    finest = 9 * (6 * 4 + 4 * 2)
    assert multiplies_per_pixel(moving) == round(by_hand + entry + levels + finest)


def test_a_steadier_moves_a_frame_towards_its_past_and_never_all_the_way() -> None:
    steadier = TemporalFilter()
    low, past = torch.rand(2, 1, 3, 12, 16)
    assert torch.equal(steadier(low, low), low)
    with torch.no_grad():
        assert steadier.second.bias is not None
        steadier.second.weight.zero_()
        steadier.second.bias.fill_(50.0)  # as much of the past as it may have: 0.9
        assert torch.allclose(steadier(low, past), low + 0.9 * (past - low), atol=1e-6)
        steadier.second.bias.fill_(-50.0)
        assert torch.allclose(steadier(low, past), low)


def test_the_temporal_filter_reduces_noise_by_its_formula() -> None:
    """By sqrt((1 - k) / (1 + k)), of a share k of the past."""
    steadier = TemporalFilter()
    with torch.no_grad():
        assert steadier.second.bias is not None
        steadier.second.weight.zero_()
        steadier.second.bias.fill_(0.0)  # k = 0.45
        steady = torch.zeros(1, 3, 64, 64)
        for _ in range(30):
            steady = steadier(0.1 * torch.randn(1, 3, 64, 64), steady)
    assert float(steady.std()) == pytest.approx(0.1 * (0.55 / 1.45) ** 0.5, rel=0.05)


def test_steadying_needs_motion() -> None:
    with pytest.raises(ValueError, match="steadies needs memory and flow_channels above 0"):
        RecurrentConfig(steadies=True, flow_channels=0)

from pathlib import Path

import pytest
import torch

from vsr.models.discriminators import (
    CombinedDiscriminator,
    DiscriminatorConfig,
    DiscriminatorInput,
    build_discriminator,
    input_channels,
    shown_picture,
    spatial_input,
    spatio_temporal_input,
)


@pytest.mark.parametrize("size", [(48, 48), (50, 37)])
def test_a_u_net_judges_each_pixel_and_a_patch_head_each_patch(size: tuple[int, int]) -> None:
    seen = torch.rand(2, 27, *size)
    whole = build_discriminator(DiscriminatorConfig(channels=4))(seen)
    assert whole.logits.shape == (2, 1, *size)
    assert [f.shape[1] for f in whole.features] == [8, 16, 32]
    patches = build_discriminator(DiscriminatorConfig(channels=4, head="patch"))(seen)
    assert patches.logits.shape == (2, 1, size[0] // 8, size[1] // 8)


def test_srgans_judges_a_picture_of_any_size_by_one_number() -> None:
    judge = build_discriminator(DiscriminatorConfig(sight="picture", head="vgg", channels=4))
    for side in (96, 40):
        judged = judge(torch.rand(2, 3, side, side))
        assert judged.logits.shape == (2, 1)
        assert len(judged.features) == 4
    # Eight convolutions of SRGAN's widths.
    widths = [layer.weight.shape[0] for layer in judge.layers]  # type: ignore[union-attr]
    assert widths == [4, 4, 8, 8, 16, 16, 32, 32]


def test_every_convolution_keeps_its_spectral_norm_at_one() -> None:
    judge = build_discriminator(DiscriminatorConfig(channels=4, levels=2))
    with torch.no_grad():
        for _ in range(50):
            judge(torch.rand(1, 27, 16, 16))
    judge.eval()
    layers = [m for m in judge.modules() if isinstance(m, torch.nn.Conv2d)]
    norms = [torch.linalg.matrix_norm(m.weight.flatten(1), 2).item() for m in layers[:-1]]
    assert norms == pytest.approx([1.0] * len(norms), abs=0.02)


def test_a_triple_shows_detail_warped_onto_the_middle_frame() -> None:
    torch.manual_seed(0)
    wide = torch.rand(1, 3, 32, 40)
    # The picture moves to the right by two pixels a frame; its input is grey.
    frames = torch.stack([wide[..., 4 - 2 * n : 36 - 2 * n] for n in range(3)], dim=1)
    flows = torch.zeros(1, 2, 2, 32, 32)
    flows[:, 0, 0], flows[:, 1, 0] = -2, 2
    upscaled = torch.full((1, 3, 3, 32, 32), 0.5)
    seen = spatio_temporal_input(frames, upscaled, flows)
    assert seen.shape == (1, 27, 24, 24)
    assert input_channels("spatio_temporal") == 27
    detail = 4 * (frames - 0.5)[..., 4:-4, 4:-4]
    assert torch.equal(seen[:, :9], detail.flatten(1, 2))
    # All three, warped, are the middle one.
    for number in range(3):
        warped = seen[:, 9 + 3 * number : 12 + 3 * number]
        assert torch.allclose(warped, detail[:, 1], atol=1e-4)
    assert torch.equal(seen[:, 18:], upscaled[..., 4:-4, 4:-4].flatten(1, 2))


def test_a_frame_is_shown_as_its_detail_and_its_input() -> None:
    frames, upscaled = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    seen = spatial_input(frames, upscaled)
    assert seen.shape == (2, input_channels("spatial"), 8, 8)
    assert torch.equal(seen[:, :3], 4 * (frames - upscaled))
    assert torch.equal(seen[:, 3:], upscaled)


def test_gradients_reach_what_is_judged() -> None:
    judge = build_discriminator(DiscriminatorConfig(channels=4, levels=2))
    frames = torch.rand(1, 3, 3, 16, 16, requires_grad=True)
    seen = spatio_temporal_input(frames, torch.rand(1, 3, 3, 16, 16), torch.rand(1, 2, 2, 16, 16))
    judge(seen).logits.sum().backward()
    assert frames.grad is not None
    assert frames.grad[:, :, :, 3:-3, 3:-3].abs().amin(dim=(2, 3, 4)).shape == (1, 3)
    assert (frames.grad.abs().sum(dim=(2, 3, 4)) > 0).all()


def test_the_picture_is_recovered_from_each_input() -> None:
    frames, upscaled = torch.rand(2, 3, 3, 32, 32), torch.rand(2, 3, 3, 32, 32)
    triple = spatio_temporal_input(frames, upscaled, torch.rand(2, 2, 2, 32, 32))
    middle = frames[:, 1, :, 4:-4, 4:-4]
    assert torch.allclose(shown_picture(triple, "spatio_temporal"), middle, atol=1e-6)
    single = spatial_input(frames[:, 0], upscaled[:, 0])
    assert torch.allclose(shown_picture(single, "spatial"), frames[:, 0], atol=1e-6)
    assert torch.equal(shown_picture(frames[:, 0], "picture"), frames[:, 0])


@pytest.mark.parametrize("sight", ["spatio_temporal", "spatial", "picture"])
def test_vgg_16_adds_a_logit_for_each_of_its_layers(
    sight: DiscriminatorInput, installed: Path
) -> None:
    config = DiscriminatorConfig(sight=sight, channels=4, levels=2)
    plain = build_discriminator(config)
    pretrained = build_discriminator(config.model_copy(update={"pretrained": True}))
    seen = torch.rand(2, input_channels(sight), 32, 32, requires_grad=True)
    found = pretrained(seen)
    assert found.logits.shape == (2, 5, 32, 32)
    assert len(found.features) == len(plain(seen).features)
    # Layers at 1/4 and 1/8 of the resolution have a logit for 4 x 4 and 8 x 8 pixels.
    for layer, side in ((3, 4), (4, 8)):
        cells = found.logits[:, layer].unfold(1, side, side).unfold(2, side, side)
        assert torch.equal(cells.amin((-1, -2)), cells.amax((-1, -2)))
    # VGG-16 passes gradients, but neither learns nor is saved.
    found.logits[:, 1:].sum().backward()
    assert seen.grad is not None
    assert seen.grad.abs().sum() > 0
    trained = sum(weight.numel() for weight in pretrained.parameters())
    assert trained < 300_000 + sum(weight.numel() for weight in plain.parameters())
    assert not any("_pretrained" in key for key in pretrained.state_dict())


@pytest.mark.parametrize("change", [{"cell": 4}, {"head": "patch"}])
def test_every_logit_of_vgg_16_counts_where_the_others_are_fewer(
    change: dict[str, object], installed: Path
) -> None:
    config = DiscriminatorConfig(sight="picture", channels=4, levels=2, pretrained=True).model_copy(
        update=change
    )
    discriminator = build_discriminator(config).eval()
    assert isinstance(discriminator, CombinedDiscriminator)
    picture = torch.rand(1, 3, 32, 32)
    found = discriminator(picture).logits
    assert found.shape == (1, 5, 8, 8)
    for index, logits in enumerate(discriminator.pretrained(picture)[:3], start=1):
        side = logits.shape[-1] // 8
        cells = logits[:, 0].unfold(1, side, side).unfold(2, side, side)
        assert torch.allclose(found[:, index], cells.mean((-1, -2)), atol=1e-6)


@pytest.mark.parametrize("option", [{"pretrained": True}, {"cell": 4}])
def test_vgg_16_and_cells_need_a_logit_with_a_position(option: dict[str, object]) -> None:
    (name,) = option
    with pytest.raises(ValueError, match=f"{name}: only with a logit per pixel or per patch"):
        DiscriminatorConfig.model_validate({"head": "vgg"} | option)


@pytest.mark.parametrize("side", [24, 40, 48])
def test_what_a_triple_shows_starts_at_a_whole_cell(side: int) -> None:
    rows, columns = torch.arange(side).view(-1, 1), torch.arange(side)
    phases = (4 * (rows % 4) + columns % 4).float().expand(1, 3, 3, side, side)
    flows = torch.zeros(1, 2, 2, side, side)
    seen = spatio_temporal_input(phases, torch.zeros_like(phases), flows, 4)
    assert seen.shape[-1] >= 0.75 * side
    assert torch.equal(seen[0, 3, :4, :4] / 4, torch.arange(16.0).view(4, 4))


def test_a_cell_of_pixels_is_one_position() -> None:
    config = DiscriminatorConfig(sight="picture", channels=4, levels=2, cell=4)
    discriminator = build_discriminator(config)
    # Pixels beyond the last whole cell are left out.
    assert discriminator(torch.rand(2, 3, 34, 49)).logits.shape == (2, 1, 8, 12)

"""The included models."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor
from torch.nn import functional as F

import vsr
from tests.helpers.films import as_tensor
from vsr.data.camera_motion import glide
from vsr.errors import ModelError
from vsr.imaging.degrade import Degradation, degrade
from vsr.imaging.tensors import on_8_bit_levels, resize_bicubic, to_float
from vsr.metrics.image import psnr_y, sharpness
from vsr.metrics.temporal import flicker, motion_to_previous
from vsr.zoo import choose_model, default_detail, list_models, load

NAMES = [card.name for card in list_models()]
FAITHFUL = [name for name in NAMES if not name.endswith("-gan")]


def astronaut(side: int) -> torch.Tensor:
    """(1, 3, side, side), never learnt from."""
    picture = to_float(torch.from_numpy(data.astronaut())).permute(2, 0, 1)[None]
    return picture[..., :side, 100 : 100 + side]


def test_every_model_has_its_weights_and_a_card_that_is_true() -> None:
    assert {"tiny-x2", "tiny-x4", "tiny-x4-bd"} <= set(NAMES)
    for card in list_models():
        generator = load(card.name)
        assert generator.scale == card.scale
        assert sum(p.numel() for p in generator.parameters()) == card.parameters
        assert card.data
        assert set(card.scores) >= {"bi", "bd"}


def test_the_readme_tells_what_the_cards_do() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").splitlines()
    for card in list_models():
        (line,) = [line for line in readme if line.startswith(f"| `{card.name}` |")]
        for kind in ("bi", "bd"):
            score = card.scores[kind]
            assert f"{score.psnr_y:.2f} ({score.bicubic_psnr_y:.2f}): **{score.gain:+.2f}**" in line


@pytest.mark.parametrize("twin", [name for name in NAMES if name.endswith("-gan")])
@torch.inference_mode()
def test_a_twin_is_sharper_and_no_more_than_its_target(twin: str) -> None:
    high = astronaut(256)
    own, sharper = (load(name) for name in (twin.removesuffix("-gan"), twin))
    low = degrade(high, own.scale, Degradation.BI)
    before, after = (
        float(sharpness(generator(low[:, None])[:, 0].clamp(0, 1), high))
        for generator in (own, sharper)
    )
    assert 1.2 * before < after < 1.1


@pytest.mark.parametrize("name", FAITHFUL)
@pytest.mark.parametrize("kind", list(Degradation))
@torch.inference_mode()
def test_it_beats_bicubic_on_a_picture_it_never_saw(name: str, kind: Degradation) -> None:
    generator, high = load(name), astronaut(256)
    low = degrade(high, generator.scale, kind)
    ours = generator(low[:, None])[:, 0].clamp(0, 1)
    bicubic = resize_bicubic(low, (256, 256)).clamp(0, 1)
    assert psnr_y(ours, high) > psnr_y(bicubic, high) + 0.8


class LongFilm(NamedTuple):
    """A model, and of each of 2,000 frames: least and largest value, PSNR over bicubic's in dB."""

    name: str
    least: Tensor
    largest: Tensor
    gain: Tensor


@pytest.fixture(scope="module", params=NAMES)
@torch.inference_mode()
def long_films(request: pytest.FixtureRequest) -> tuple[LongFilm, LongFilm]:
    """Upscale a film that stands still, and one whose camera trembles by hundredths of a pixel.

    Both in one batch: on frames this small, calls cost about as much as arithmetic. The input is of
    24x24 pixels at any scale.
    """
    generator = load(request.param)
    side = 24 * generator.scale
    still = astronaut(side)
    trembling = glide(data.astronaut(), side, 0, 2000, np.random.default_rng(7), micro=True)
    found, state = [], None
    for picture in trembling:
        high = torch.cat((still, as_tensor(picture)[None]))
        low = degrade(high, generator.scale, Degradation.BI)
        output, state = generator.step(low, state or generator.start(low))
        gain = psnr_y(output, high) - psnr_y(resize_bicubic(low, (side, side)), high)
        found.append((output.amin((1, 2, 3)), output.amax((1, 2, 3)), gain))
    least, largest, gain = (torch.stack(values, dim=1) for values in zip(*found, strict=True))
    still_film, trembling_film = (
        LongFilm(request.param, least[film], largest[film], gain[film]) for film in range(2)
    )
    return still_film, trembling_film


@pytest.mark.long
@pytest.mark.slow
def test_a_frame_that_stands_still_stays_good_forever(
    long_films: tuple[LongFilm, LongFilm],
) -> None:
    """No drift, and no value leaves its range."""
    film, _ = long_films
    assert film.least.min() >= -0.1
    assert film.largest.max() <= 1.1
    assert film.gain[-1] >= film.gain[29] - 0.05


@pytest.mark.long
@pytest.mark.slow
def test_micro_motion_does_no_harm_however_long(long_films: tuple[LongFilm, LongFilm]) -> None:
    _, film = long_films
    # Bright edges overshoot, as bicubic's do, sharper ones more; drift would go on growing.
    most = 0.25 if film.name in FAITHFUL else 0.35
    assert film.least.min() >= -most
    assert film.largest.max() <= 1 + most
    assert film.gain[-100:].mean() >= film.gain[30:130].mean() - 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["tiny-x4", "tiny-x4-gan", "base-x4-gan", "tiny-x2", "tiny-x2-gan"]
)
@torch.inference_mode()
def test_a_noisy_frame_that_stands_still_flickers_no_more_than_bicubic(name: str) -> None:
    """Noise of 6 code values, anew in each of 60 frames; the first ten are for settling."""
    generator = load(name)
    low = degrade(astronaut(384), generator.scale, Degradation.BI)
    random = torch.Generator().manual_seed(1)
    found, state, before = [], None, None
    for number in range(60):
        noisy = on_8_bit_levels(low + 6 / 255 * torch.randn(low.shape, generator=random))
        output, state = generator.step(noisy, state or generator.start(noisy))
        now = output[0].clamp(0, 1), noisy[0]
        if before is not None and number >= 10:
            motion = motion_to_previous(now[1], before[1])
            found.append(flicker(now[0], before[0], now[1], before[1], motion))
        before = now
    assert np.nanmean(found) <= 0


@pytest.mark.parametrize("name", FAITHFUL)
@torch.inference_mode()
def test_a_moving_picture_gains_from_memory(name: str) -> None:
    """One still, slid under the window by a fraction of a pixel a frame."""
    generator = load(name)
    scale = generator.scale
    lows, highs = [], []
    for step in range(10):
        view = astronaut(200)[..., step : step + 160, step : step + 160]
        highs.append(view)
        lows.append(degrade(view, scale, Degradation.BD))
    together = generator(torch.stack(lows, dim=1))[:, -1]
    alone = generator(lows[-1][:, None])[:, 0]
    assert psnr_y(together, highs[-1]) > psnr_y(alone, highs[-1])


def test_black_white_and_noise_give_finite_pictures() -> None:
    for name in NAMES:
        generator = load(name)
        for low in (
            torch.zeros(1, 2, 3, 8, 8),
            torch.ones(1, 2, 3, 8, 8),
            torch.rand(1, 2, 3, 8, 8),
        ):
            with torch.inference_mode():
                assert torch.isfinite(generator(low)).all()


def test_flat_colour_stays_flat() -> None:
    colour = torch.tensor([0.2, 0.5, 0.7]).view(1, 1, 3, 1, 1)
    for name in NAMES:
        generator = load(name)
        with torch.inference_mode():
            output = generator(colour.expand(1, 3, 3, 24, 24))
        expected = F.interpolate(colour[0, :, :, :, 0], scale_factor=1)
        assert (output[0] - expected.view(1, 3, 1, 1)).abs().max() < 3 / 255


def test_the_default_scale_goes_by_the_lines_of_the_film() -> None:
    assert choose_model("fast", None, 576) == "tiny-x4"
    assert choose_model("fast", None, 720) == "tiny-x2"
    assert choose_model("fast", 2, 100) == "tiny-x2"
    assert choose_model(None, None, 100) in NAMES


def test_best_is_the_largest_of_its_scale() -> None:
    cards = {card.name: card for card in list_models()}
    for scale in (1, 2, 3, 4):
        best = cards[choose_model("best", scale, 0)]
        assert all(c.parameters <= best.parameters for c in cards.values() if c.scale == best.scale)
        assert not best.name.endswith("-gan")
        assert load("best", scale).scale == scale


def test_the_default_detail_is_that_of_the_card() -> None:
    for card in list_models():
        assert default_detail(card.name) == card.default_detail
        twin = f"{card.name}-gan"
        assert not card.default_detail or twin in NAMES
    assert default_detail("runs/best.safetensors") == 0


def test_other_names_and_files_are_taken_literally() -> None:
    assert choose_model("tiny-x4-bd", 4, 100) == "tiny-x4-bd"
    assert choose_model("runs/best.safetensors", 2, 100) == "runs/best.safetensors"


def test_the_package_offers_it_by_name() -> None:
    clip = torch.rand(1, 2, 3, 8, 8)
    with torch.inference_mode():
        assert vsr.load("tiny-x4")(clip).shape == (1, 2, 3, 32, 32)
    assert vsr.upscale_image(np.zeros((8, 8, 3), np.uint8)).shape == (32, 32, 3)
    assert "tiny-x2" in {card.name for card in vsr.list_models()}


def test_unknown_names_list_those_there_are() -> None:
    with pytest.raises(
        ModelError,
        match=r"unknown model 'tiny-x3'; there are: fast, best, base-x2, .*tiny-x4, .*or give",
    ):
        load("tiny-x3")
    with pytest.raises(ModelError, match="no such model file"):
        load("some/file.safetensors")
    with pytest.raises(ModelError, match="tiny-x2 upscales by 1 to 2, not by 4"):
        load("tiny-x2", scale=4)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = vsr.nonsense

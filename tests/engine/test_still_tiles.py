"""Tiles and bands of pictures, compared with pictures that are computed at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from tests.helpers.stills import first_frame
from vsr.engine import still_backends, still_tiles
from vsr.engine.backends.still import OpenVinoStill, StillBackend, StillStep, TorchStill
from vsr.engine.image import StillUpscaler
from vsr.engine.image_array import upscale_image
from vsr.engine.output_size import SizeRequest
from vsr.engine.still_tiles import spans, upscale_in_bands
from vsr.imaging.grain import Grain
from vsr.imaging.resize_rows import resized_bands
from vsr.imaging.tensors import resize_bicubic
from vsr.models.int8 import is_calibrated
from vsr.models.still import still_network
from vsr.zoo import choose_model, default_detail, load


@pytest.mark.parametrize("length", [1, 96, 97, 130, 1000, 4001])
@pytest.mark.parametrize("reach", [8, 22])
def test_tiles_overlap_by_twice_the_reach(length: int, reach: int) -> None:
    found = spans(length, 96, reach)
    assert {span.end - span.start for span in found} == {found[0].end - found[0].start}
    assert (found[0].start, found[-1].end) == (0, length)
    covered = [pixel for span in found for pixel in range(span.inner, span.inner_end)]
    assert covered == list(range(length))
    for span in found:
        assert span.start == 0 or span.inner - span.start >= reach
        assert span.end == length or span.end - span.inner_end >= reach


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiles_leave_no_seam(monkeypatch: pytest.MonkeyPatch, tiny_model: Path, dtype: str) -> None:
    picture = data.rocket()[:170, 200:331] / 255
    full = 1 if dtype == "float32" else np.iinfo(dtype).max
    whole = first_frame(tiny_model, picture)
    monkeypatch.setattr(still_tiles, "_LARGEST_SIDE", 64)
    monkeypatch.setattr(still_tiles, "_MAX_BAND_BYTES", 100_000)
    pixels: Any = (picture * full).astype(dtype)
    ours = upscale_image(pixels, model=str(tiny_model), device="cpu") / full
    assert np.abs(ours - whole.clip(0, 1)).max() < max(1.01 / full, 1e-5)


def test_openvino_computes_what_torch_does(tiny_model: Path) -> None:
    """Both types of samples, and two shapes of tiles of one network."""
    pixels = np.ascontiguousarray(data.rocket()[:80, 300:390])
    for has_levels in (True, False):
        step = StillStep(still_network(load(str(tiny_model))), has_levels)
        ours, theirs = (
            [np.concatenate(list(bands)) for bands in both(backend, pixels, has_levels)]
            for backend in (OpenVinoStill(step), TorchStill(step, torch.device("cpu")))
        )
        for one, other in zip(ours, theirs, strict=True):
            limit = 1 if has_levels else 1e-5
            assert np.abs(one.astype(np.float64) - other).max() <= limit


def both(backend: StillBackend, pixels: np.ndarray, has_levels: bool) -> list[Any]:
    dtype = np.dtype(np.uint8 if has_levels else np.float32)
    return [upscale_in_bands(backend, part, dtype) for part in (pixels, pixels[:40])]


@pytest.mark.parametrize("scale", [2, 4])
def test_eight_bits_lose_little_in_int8(monkeypatch: pytest.MonkeyPatch, scale: int) -> None:
    monkeypatch.setattr(still_backends, "computes_int8", lambda: True)
    picture = np.ascontiguousarray(data.coffee()[100:360, 150:420])
    upscaler = StillUpscaler("fast", SizeRequest(scale=scale), device="cpu")
    assert is_calibrated(load("fast", scale))
    detail = default_detail(choose_model("fast", scale, height=260))
    exact = first_frame("fast", picture / 255, scale, detail).clip(0, 1)
    error = upscaler.upscale_array(picture) / 255 - exact
    assert 50 < -10 * np.log10(np.mean(error**2)) < 60


@pytest.mark.parametrize("output", [(61, 97), (150, 200), (40, 53), (7, 300)])
def test_bands_are_resized_as_the_whole_picture(output: tuple[int, int]) -> None:
    pixels = (data.coffee()[:101, :133] / 255).astype(np.float32)
    bands = [pixels[start : start + 13] for start in range(0, len(pixels), 13)]
    found = np.concatenate(list(resized_bands(bands, (101, 133), output)))
    whole = resize_bicubic(torch.from_numpy(pixels).permute(2, 0, 1)[None], output)
    assert np.abs(found - whole[0].permute(1, 2, 0).numpy()).max() < 1e-5


def test_grain_of_bands_is_that_of_the_picture() -> None:
    pixels = data.coffee()[:100]
    grain = Grain(0.5, height=100, width=pixels.shape[1], bit_depth=8, full_range=True)
    bands = [grain.apply_to_rgb(pixels[n : n + 17], first=n) for n in range(0, 100, 17)]
    assert np.array_equal(np.concatenate(bands), grain.apply_to_rgb(pixels))


def test_networks_of_single_pictures_are_tiled_too() -> None:
    """Their tiles overlap by all their kernels."""
    from vsr.models import Srresnet, SrresnetConfig

    torch.manual_seed(0)
    generator = Srresnet(SrresnetConfig(channels=4, blocks=1, scale=2)).eval()
    backend = TorchStill(StillStep(still_network(generator), False), torch.device("cpu"))
    picture = (data.rocket()[:120, 200:331] / 255).astype(np.float32)
    with torch.inference_mode():
        whole = generator.upscale(torch.from_numpy(picture).permute(2, 0, 1)[None])[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(still_tiles, "_LARGEST_SIDE", 64)
        found = np.concatenate(list(upscale_in_bands(backend, picture, picture.dtype)))
    assert np.abs(found - whole.permute(1, 2, 0).numpy()).max() < 1e-5

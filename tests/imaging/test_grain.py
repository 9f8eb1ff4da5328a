import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vsr.imaging.grain import STRONGEST, Grain

HEIGHT, WIDTH = 200, 320
GREY = 126


def grain(strength: float = 0.5, bit_depth: int = 8, full_range: bool = False) -> Grain:
    return Grain(strength, height=HEIGHT, width=WIDTH, bit_depth=bit_depth, full_range=full_range)


def noise(source: Grain, level: int, pts: int = 0, dtype: type = np.uint8) -> np.ndarray:
    plane: np.ndarray = np.full((HEIGHT, WIDTH), level, dtype)
    return source.apply(plane, pts).astype(float) - level


def test_grain_has_the_strength_that_was_asked_for_and_keeps_the_mean() -> None:
    for strength in (0.2, 0.5, 1.0):
        added = noise(grain(strength), GREY)
        assert added.std() == pytest.approx(strength * STRONGEST * 219, rel=0.05)
        assert abs(added.mean()) < 0.03 * added.std()


def test_grain_is_correlated_like_filtered_noise() -> None:
    added = noise(grain(1.0), GREY)
    white = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH))
    filtered = gaussian_filter(white, 0.6, mode="wrap")
    for axis in (0, 1):
        ours, theirs = (_correlation(field, axis) for field in (added, filtered))
        assert ours == pytest.approx(theirs, abs=0.05)


def _correlation(field: np.ndarray, axis: int) -> float:
    one = np.delete(field, 0, axis).ravel()
    other = np.delete(field, -1, axis).ravel()
    return float(np.corrcoef(one, other)[0, 1])


def test_grain_fades_towards_black_and_white_and_clips_nothing() -> None:
    source = grain(1.0)
    deviations = [noise(source, level).std() for level in (16, 30, 70, GREY, 180, 220, 235)]
    assert deviations[0] == deviations[-1] == 0
    assert deviations[:4] == sorted(deviations[:4])
    assert deviations[3:] == sorted(deviations[3:], reverse=True)
    for level in (17, 18, 20, 24, 232, 234):
        assert abs(noise(source, level).mean()) < 0.1


@pytest.mark.parametrize("bit_depth", [10, 12])
def test_grain_of_more_bits_is_that_of_eight_in_finer_steps(bit_depth: int) -> None:
    unit = 1 << (bit_depth - 8)
    fine = noise(grain(bit_depth=bit_depth), GREY * unit, dtype=np.uint16)
    coarse = noise(grain(), GREY)
    assert np.abs(fine / unit - coarse).max() <= 0.5 + 0.5 / unit


def test_a_frame_has_the_grain_of_its_time_alone() -> None:
    source = grain()
    first = noise(source, GREY, pts=512)
    noise(source, GREY, pts=1024)
    assert np.array_equal(noise(source, GREY, pts=512), first)
    assert np.array_equal(noise(grain(), GREY, pts=512), first)
    for pts in (0, 511, 513, 1024, -512):
        other = noise(source, GREY, pts=pts)
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05


def test_grain_does_not_repeat_within_a_frame() -> None:
    added = noise(grain(), GREY)
    spectrum = np.abs(np.fft.fft2(added)) ** 2
    correlation = np.fft.ifft2(spectrum).real / spectrum.sum() * added.size
    correlation[:5, :5] = correlation[-5:, :5] = correlation[:5, -5:] = correlation[-5:, -5:] = 0
    assert np.abs(correlation).max() < 0.1


def test_grain_of_pictures_is_the_same_in_all_channels() -> None:
    source = grain(full_range=True)
    pixels = np.random.default_rng(1).integers(60, 200, (HEIGHT, WIDTH, 3), np.uint8)
    added = source.apply_to_rgb(pixels).astype(int) - pixels
    assert (added == added[..., :1]).all()
    luma = (0.299 * pixels[..., 0] + 0.587 * pixels[..., 1] + 0.114 * pixels[..., 2]) / 255
    expected = 0.5 * STRONGEST * 255 * (4 * luma * (1 - luma)).mean()
    assert added.std() == pytest.approx(expected, rel=0.05)

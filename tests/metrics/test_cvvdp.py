import logging
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from tests.helpers.films import scenes
from vsr.errors import ModelError
from vsr.imaging.tensors import to_float
from vsr.metrics import cvvdp
from vsr.metrics.cvvdp import ColorVideoVdp, pooled

CPU = torch.device("cpu")
RATE = 25


def film() -> torch.Tensor:
    """(T, 3, H, W), two shots of 5 and 4 frames."""
    frames = np.stack(scenes(96, 72, [5, 4]))
    return to_float(torch.from_numpy(frames)).permute(0, 3, 1, 2)


def spoilt(target: torch.Tensor) -> torch.Tensor:
    blurred = torch.from_numpy(gaussian_filter(target.numpy(), (0, 0, 1, 1)))
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    return (blurred + 0.03 * noise).clamp(0, 1)


def streamed(output: torch.Tensor, target: torch.Tensor, cuts: tuple[int, ...] = ()) -> list[float]:
    viewer = ColorVideoVdp(RATE, CPU)
    pairs = zip(output, target, strict=True)
    return [viewer.add(here, there, n in cuts) for n, (here, there) in enumerate(pairs)]


def by_the_package(output: torch.Tensor, target: torch.Tensor) -> float:
    """What the package gives for a whole clip at once, by its own blur."""
    metric = cvvdp._library().cvvdp(display_name="standard_4k", quiet=True, device=CPU)
    quality, _ = metric.predict(output, target, dim_order="FCHW", frames_per_second=RATE)
    return float(quality)


def test_a_film_that_streams_by_has_the_packages_quality() -> None:
    target = film()[:5]
    output = spoilt(target)
    expected = by_the_package(output, target)
    assert 5 < expected < 9.9
    assert pooled(streamed(output, target)) == pytest.approx(expected, abs=1e-4)


def test_shots_are_viewed_by_themselves() -> None:
    target = film()
    output = spoilt(target)
    found = streamed(output, target, cuts=(5,))
    assert found[5:] == pytest.approx(streamed(output[5:], target[5:]), abs=1e-6)
    assert streamed(output, target)[5] != pytest.approx(found[5], abs=1e-4)


def test_an_equal_film_has_ten_and_a_worse_one_less() -> None:
    target = film()[:4]
    assert streamed(target, target) == pytest.approx([10] * 4)
    better, worse = (pooled(streamed(0.5 * (target + p), target)) for p in (target, spoilt(target)))
    assert worse < better == 10


def test_pooling_is_by_the_packages_own_formula() -> None:
    metric = cvvdp._library().cvvdp(display_name="standard_4k", quiet=True, device=CPU)
    for q in (0.0, 0.03, 0.1, 2.0, 40.0):
        expected = float(metric.met2jod(torch.tensor([q])))
        assert cvvdp._jod(q) == pytest.approx(expected, abs=1e-5)
        assert cvvdp._difference(cvvdp._jod(q)) == pytest.approx(q, abs=1e-6)
    assert pooled([8.0, 8.0]) == pytest.approx(8)
    assert 6 < pooled([8.0, 6.0, float("nan")]) < 7
    assert np.isnan(pooled([]))


def test_the_display_is_a_4k_monitor_at_twice_its_height() -> None:
    metric = cvvdp._library().cvvdp(display_name=cvvdp.DISPLAY, quiet=True, device=CPU)
    assert metric.pix_per_deg == pytest.approx(75.4, abs=0.1)


def test_dark_frames_and_values_outside_the_range_log_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        viewer = ColorVideoVdp(RATE, CPU)
        viewer.add(torch.full((3, 40, 40), -0.2), torch.zeros(3, 40, 40))
        viewer.add(torch.full((3, 40, 40), 1.2), torch.ones(3, 40, 40))
    assert not caplog.records


@pytest.mark.slow
def test_nothing_that_the_metric_does_not_need_is_imported() -> None:
    program = (
        "import sys; path = list(sys.path)\n"
        "from vsr.metrics.cvvdp import _library; _library()\n"
        "names = ('pycvvdp', 'interp', 'third_party', 'huggingface_hub', 'imageio', 'ffmpeg',"
        " 'matplotlib')\n"
        "print([n for n in sys.modules if n.split('.')[0] in names], sys.path == path)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("[] True\n", "")


def test_a_missing_or_unknown_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(cvvdp, "version", missing)
    with pytest.raises(ModelError, match=r"^the metric 'cvvdp' needs ColorVideoVDP: pip install"):
        cvvdp.require_cvvdp()
    monkeypatch.setattr(cvvdp, "version", lambda name: "0.6.1")
    with pytest.raises(ModelError, match=r"needs cvvdp>=0\.5\.7,<0\.6, not 0\.6\.1"):
        cvvdp.require_cvvdp()

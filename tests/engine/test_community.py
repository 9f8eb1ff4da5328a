"""Films and pictures by networks of other projects."""

import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from skimage import data

from tests.helpers.cli import complaint, vsr
from tests.helpers.planes import SPECS, farthest, film_planes
from tests.zoo.community_matrix import write_weights
from tests.zoo.test_onnx_file import write_onnx
from vsr.engine import still_tiles
from vsr.engine.backend_options import BackendName, Tiling
from vsr.engine.backends import pick_backend
from vsr.engine.backends.still import StillStep, TorchStill
from vsr.engine.backends.tile_size import pick_tile_size
from vsr.engine.output_size import InputFrame, OutputSize
from vsr.engine.still_tiles import upscale_in_bands
from vsr.errors import ModelError, VsrError
from vsr.models import CommunityNetwork
from vsr.models.community import Facts
from vsr.models.reach import Reach
from vsr.models.still import still_network
from vsr.zoo import load

pytest.importorskip("spandrel")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def frame_sizes(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as film:
        return [(frame.width, frame.height) for frame in film.decode(video=0)]


@pytest.mark.parametrize(("name", "scale"), [("SPAN", 3), ("NAFNet (x1)", 1)])
def test_film_has_the_scale_of_the_model(
    small_film: Path, tmp_path: Path, name: str, scale: int
) -> None:
    out = tmp_path / "out.mkv"
    model = write_weights(name, tmp_path)
    done = vsr("upscale", small_film, out, "--model", model, "--steady", 0.5, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert frame_sizes(out) == [(96 * scale, 64 * scale)] * 12


def test_film_is_upscaled_by_an_onnx_file(small_film: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out.mkv", write_onnx(tmp_path / "a.onnx")
    done = vsr("upscale", small_film, out, "--model", model, "--steady", 0.5, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "onnxruntime" in done.stdout
    assert frame_sizes(out) == [(192, 128)] * 12


def test_picture_is_upscaled(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(data.rocket()[:31, 200:243]).save(tmp_path / "a.png")
    model = write_weights("SwinIR", tmp_path)
    done = vsr("image", tmp_path / "a.png", tmp_path / "b.png", "--model", model, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size == (86, 62)


def test_pictures_in_tiles_equal_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SwinIR's windows are shifted by half of their side, and tiles start between them."""
    generator: Any = load(write_weights("SwinIR", tmp_path))
    picture: Any = (data.rocket()[:60, 100:437] / 255).astype(np.float32)
    with torch.inference_mode():
        whole = generator.upscale(torch.from_numpy(picture).permute(2, 0, 1)[None])[0]
    monkeypatch.setattr(still_tiles, "_LARGEST_SIDE", 128)
    backend = TorchStill(StillStep(still_network(generator), False), CPU)
    found = np.concatenate(list(upscale_in_bands(backend, picture, picture.dtype)))
    assert np.abs(found - whole.permute(1, 2, 0).numpy()).max() < 1 / 255


@pytest.mark.parametrize(("name", "steady"), [("torch", 0.0), ("openvino", 0.75)])
def test_frames_in_tiles_equal_the_whole_by_torch(
    name: BackendName, steady: float, tmp_path: Path
) -> None:
    """Odd sides, chroma too."""
    model, spec = write_weights("SwinIR", tmp_path), SPECS["left"]
    ways: list[tuple[BackendName, Tiling]] = [("torch", "off"), (name, 256)]
    whole, tiled = (
        pick_backend(
            name=backend,
            precision="auto",
            generator=load(model, steady=steady),
            device=CPU,
            specs=(spec, spec),
            size=(61, 403),
            frames=None,
            tiling=tiling,
        )
        for backend, tiling in ways
    )
    assert tiled.name.startswith(name)
    assert "tiles" in tiled.name
    assert f"spandrel {version('spandrel')}" in tiled.name  # its networks identify a run
    for number, planes in enumerate(film_planes(spec, 403, 61, 2)):
        first = number == 0
        assert farthest(whole.upscale(planes, first), tiled.upscale(planes, first)) <= 1


def seeing_all() -> CommunityNetwork:
    """A network that subtracts the mean of the picture."""

    class Mean(torch.nn.Module):
        def forward(self, low: torch.Tensor) -> torch.Tensor:
            return low - low.mean(dim=(2, 3), keepdim=True)

    return CommunityNetwork(Mean(), Facts("Test", 1)).eval()


def test_measurement_of_the_reach_is_an_event(
    small_film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*arguments: object) -> Reach:
        logging.getLogger("vsr.models.reach").info("measuring")
        return Reach(40, 16)

    monkeypatch.setattr("vsr.models.generator.measure_reach", measure)
    options = ("--model", write_weights("SPAN", tmp_path), "--tile", 64, "--device", "cpu")
    done = vsr("upscale", small_film, tmp_path / "out.mkv", *options, "--json-progress")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert (events[0]["event"], events[0]["text"]) == ("message", "measuring")
    assert "tiles of 64 pixels are too small" in events[1]["text"]


def test_tiles_of_a_network_that_sees_the_whole_frame_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = seeing_all()
    assert pick_tile_size("auto", generator, CPU, (64, 96)) is None
    assert pick_tile_size("off", generator, CPU, (2000, 3000)) is None
    with pytest.raises(VsrError, match="tiles would show seams"):
        pick_tile_size(256, generator, CPU, (1000, 1000))
    monkeypatch.setattr("vsr.engine.still_tiles.memory_bytes", lambda device: 10**6)
    backend = TorchStill(StillStep(still_network(generator), False), CPU)
    picture = np.zeros((600, 600, 3), np.float32)
    with pytest.raises(ModelError, match="depends on the whole picture"):
        list(upscale_in_bands(backend, picture, picture.dtype))


def test_other_runtimes_are_refused_in_one_line(small_film: Path, tmp_path: Path) -> None:
    model = write_weights("SPAN", tmp_path)
    out = tmp_path / "out.mkv"
    file = write_onnx(tmp_path / "a.onnx")
    for which, option, said in (
        (model, ("--backend", "onnx"), "run on backend torch or openvino, not onnx"),
        (model, ("--precision", "int8"), "int8 is for models of vsr"),
        (file, ("--backend", "openvino"), "ONNX files are computed by ONNX Runtime"),
    ):
        text = complaint("upscale", small_film, out, "--model", which, *option, "--device", "cpu")
        assert said in text
    text = complaint("upscale", small_film, out, "--steady", 0.5, "--device", "cpu")
    assert "use denoise" in text


def test_scales_above_4_are_those_of_the_model_alone() -> None:
    eightfold = OutputSize(800, 400)
    frame = InputFrame(100, 50)
    assert eightfold.network_scale(frame, own_scale=8) == 8
    assert eightfold.network_scale(frame, own_scale=4) == 4
    assert OutputSize(300, 150).network_scale(frame, own_scale=8) == 3

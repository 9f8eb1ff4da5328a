"""Networks of other projects by OpenVINO: what is converted, what is kept, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from tests.helpers.planes import SPECS, farthest, film_planes
from tests.zoo.community_matrix import write_weights
from vsr.engine.backend_options import Precision
from vsr.engine.backends import AdaptiveTilingBackend, openvino_community, pick_backend, select
from vsr.engine.backends.openvino_community import (
    ConversionError,
    OpenVinoNetwork,
    can_convert,
    read_converted,
)
from vsr.engine.still_backends import StillBackends
from vsr.errors import VsrError
from vsr.models import CommunityNetwork
from vsr.models.community import Facts
from vsr.system.machine import computes_bf16
from vsr.zoo import load

pytest.importorskip("spandrel")
CPU = torch.device("cpu")
SPEC = SPECS["left"]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def picked(
    generator: Any, name: Any, frames: int | None = None, precision: Precision = "auto"
) -> AdaptiveTilingBackend:
    return pick_backend(
        name=name,
        precision=precision,
        generator=generator,
        device=CPU,
        specs=(SPEC, SPEC),
        size=(45, 71),
        frames=frames,
    )


@pytest.mark.slow
def test_second_start_reads_network_and_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPAN computes weights from others when it is called; odd sides equal those of torch."""
    path = write_weights("SPAN", tmp_path)
    first = picked(load(path), "auto")
    monkeypatch.setattr(openvino_community, "_convert", None)
    monkeypatch.setattr(openvino_community, "_find_fault", None)
    second, eager = picked(load(path), "openvino"), picked(load(path), "torch")
    assert first.name == second.name
    assert first.name.startswith("openvino ")
    assert f", {eager.name}" in first.name
    for planes in film_planes(SPEC, 71, 45, 2):
        wanted = eager.upscale(planes, False)
        assert farthest(first.upscale(planes, False), wanted) <= 1
        assert farthest(first.upscale(planes, False), second.upscale(planes, False)) == 0


def test_short_films_are_computed_by_torch(tmp_path: Path) -> None:
    backend = picked(load(write_weights("SPAN", tmp_path)), "auto", frames=100)
    assert backend.name.startswith("torch ")


@pytest.mark.skipif(not computes_bf16(), reason="needs a processor with AVX512-BF16 or AMX")
@pytest.mark.slow
def test_bf16_differs_little_from_f32(tmp_path: Path) -> None:
    generator = load(write_weights("RealESRGAN Compact", tmp_path))
    exact, rounded = picked(generator, "torch"), picked(generator, "auto", 1, "bf16")
    assert rounded.name.startswith("openvino ")
    assert " bf16, torch " in rounded.name
    (planes,) = film_planes(SPEC, 71, 45, 1)
    pairs = zip(exact.upscale(planes, True), rounded.upscale(planes, True), strict=True)
    errors = np.concatenate([(one.astype(float) - other).ravel() for one, other in pairs])
    assert 0.01 < np.sqrt((errors**2).mean()) < 1


def test_bf16_is_refused_in_one_line_where_it_is_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "computes_bf16", lambda: True)
    generator = load(write_weights("RealESRGAN Compact", tmp_path))
    with pytest.raises(VsrError, match=r"^bf16 is for models of other projects; omit "):
        picked(load("tiny-x4"), "auto", precision="bf16")
    with pytest.raises(VsrError, match=r"^bf16 needs backend openvino; omit --backend torch$"):
        picked(generator, "torch", precision="bf16")
    monkeypatch.setattr(select, "computes_bf16", lambda: False)
    with pytest.raises(VsrError, match=r"^bf16 needs a processor with AVX512-BF16 or AMX; use f32"):
        picked(generator, "auto", precision="bf16")


class Sized(torch.nn.Module):
    """A network that computes in Python with the size of its input."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain), requires_grad=False)

    def forward(self, low: torch.Tensor) -> torch.Tensor:
        return low * self.gain / float(low.shape[-1])


def sized(gain: float) -> CommunityNetwork:
    return CommunityNetwork(Sized(gain), Facts("Test", 1)).eval()


def test_networks_that_differ_are_computed_by_torch_or_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "OpenVINO can't compute this model: its output of a picture of 33x19 differs by 4[0-9] "
    with pytest.raises(VsrError, match=f"{line}of 255 levels; use --backend torch, in f32$"):
        picked(sized(25.0), "openvino")
    monkeypatch.setattr(openvino_community, "_convert", None)  # the verdict is kept
    backend = picked(sized(25.0), "auto")
    assert backend.name.startswith("torch ")
    (note,) = backend.notes()
    assert note.startswith("OpenVINO can't compute this model: ")
    assert note.endswith("; computed by torch")


@pytest.mark.parametrize(
    ("program", "remembered"),
    [
        ("print('started', flush=True); os.kill(os.getpid(), 11)", 1),
        ("print('started', flush=True); os._exit(247)", 0),
        ("raise ImportError('openvino')", 0),
    ],
)
def test_crash_of_openvino_is_a_fault_of_the_network_alone(
    program: str, remembered: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the system killed it, since memory ran out, or it didn't start."""
    file = tmp_path / "crash.py"
    file.write_text(f"import os\n{program}\n")
    monkeypatch.setattr(openvino_community, "_PROGRAM", file)
    monkeypatch.setattr(openvino_community, "_KILLED", 247)
    with pytest.raises(ConversionError, match=r"it crashes|was killed|doesn't start"):
        read_converted(sized(25.0))
    verdicts = list((tmp_path / "cache" / "vsr" / "openvino-trials").glob("*.json"))
    assert len(verdicts) == remembered


def test_trial_in_a_player_is_computed_by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/usr/bin/vspipe")
    assert openvino_community._interpreter().exists()


@pytest.mark.slow
def test_pictures_equal_those_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(write_weights("RealESRGAN Compact", tmp_path))
    assert can_convert(generator)
    picture = data.rocket()[:45, 100:171]
    backends = StillBackends(lambda scale: generator, CPU)
    eager = backends.backend(4, picture, picture.dtype).cells(picture)
    monkeypatch.setattr(openvino_community, "_MIN_MULTIPLIES", 0)
    backend = backends.backend(4, picture, picture.dtype)
    assert any(isinstance(part, OpenVinoNetwork) for part in backend.step.modules())
    assert np.abs(backend.cells(picture).astype(int) - eager).max() <= 1

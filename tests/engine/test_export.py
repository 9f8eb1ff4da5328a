"""Steps as files for other runtimes."""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.helpers.cli import complaint, vsr
from vsr.engine import export
from vsr.engine.export import export_model
from vsr.errors import OutputError, VsrError
from vsr.zoo.model_file import load_generator


def test_onnx_passes_its_state_and_computes_as_torch_does(tmp_path: Path, tiny_model: Path) -> None:
    """Odd sizes; the proof inside, and once more from outside."""
    path = tmp_path / "a.onnx"
    assert export_model(str(tiny_model), path, (35, 50)) < 1e-4
    model = onnx.load(path)
    assert model.opset_import[0].version >= 18
    assert [port.name for port in model.graph.input] == ["low", "state0", "state1"]
    assert [port.name for port in model.graph.output] == ["high", "next0", "next1"]
    session = onnxruntime.InferenceSession(str(path))
    generator = load_generator(tiny_model)
    low = torch.rand(1, 3, 35, 50)
    with torch.inference_mode():
        state = generator.start(low)
        high, _ = generator.step(low, state)
    given = {"low": low.numpy(), "state0": state[0].numpy(), "state1": state[1].numpy()}
    output = session.run(["high"], given)[0]
    assert output.shape == (1, 3, 140, 200)
    assert np.abs(output - high.numpy()).max() < 1e-4
    assert [found.name for found in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.slow
def test_openvino_gets_its_two_files(tmp_path: Path, tiny_model: Path) -> None:
    assert export_model(str(tiny_model), tmp_path / "a.xml", (32, 48)) < 1e-4
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.bin", "a.xml"]


def test_a_file_that_computes_otherwise_gets_no_name(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_largest_difference", lambda *given: 0.01)
    with pytest.raises(VsrError, match=r"differs from torch by 1\.0e-02; nothing was written"):
        export_model(str(tiny_model), tmp_path / "a.onnx", (16, 16))
    assert list(tmp_path.iterdir()) == []


def test_a_runtime_that_is_missing_is_named(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(VsrError, match=r"needs onnxruntime: pip install 'vsr\[export\]'"):
        export_model(str(tiny_model), tmp_path / "a.onnx", (16, 16))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_other_formats_are_refused(
    tmp_path: Path, tiny_model: Path
) -> None:
    (tmp_path / "a.onnx").write_text("mine")
    with pytest.raises(OutputError, match="exists; use --overwrite"):
        export_model(str(tiny_model), tmp_path / "a.onnx", (16, 16))
    with pytest.raises(OutputError, match="unknown exported model format"):
        export_model(str(tiny_model), tmp_path / "a.pt", (16, 16))
    assert "no such model file" in complaint("export", "gone.safetensors", tmp_path / "b.onnx")
    assert vsr("export", "tiny-x4", tmp_path / "b.onnx", "--size", "wide").returncode == 2

"""ONNX files of the usual shape, written by torch and computed by ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

from vsr.errors import ModelError
from vsr.zoo import load

SCALE = 2
_WEIGHT = torch.from_numpy(np.random.default_rng(5).normal(0, 0.2, (12, 3, 3, 3))).float()


def write_onnx(path: Path, sides: Sequence[Any] = ("h", "w"), dtype: Any = np.float32) -> Path:
    """One convolution and a pixel shuffle by 2."""
    kind = TensorProto.FLOAT if dtype == np.float32 else TensorProto.FLOAT16
    doubled = [side * SCALE if isinstance(side, int) else f"2{side}" for side in sides]
    nodes = [
        helper.make_node("Conv", ["low", "weight"], ["cells"], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["cells"], ["high"], blocksize=SCALE, mode="CRD"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("low", kind, [1, 3, *sides])],
        [helper.make_tensor_value_info("high", kind, [1, 3, *doubled])],
        [numpy_helper.from_array(_WEIGHT.numpy().astype(dtype), "weight")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def expected(low: torch.Tensor) -> torch.Tensor:
    return F.pixel_shuffle(F.conv2d(low, _WEIGHT, padding=1), SCALE)


def upscaled(path: Path, low: torch.Tensor) -> torch.Tensor:
    generator = load(path)
    assert generator.scale == SCALE
    return generator.step(low, generator.start(low))[0]


@pytest.mark.parametrize("size", [(5, 9), (64, 48)])
def test_free_sizes_are_computed_as_by_torch(tmp_path: Path, size: tuple[int, int]) -> None:
    low = torch.rand(1, 3, *size)
    high = upscaled(write_onnx(tmp_path / "a.onnx"), low)
    assert torch.allclose(high, expected(low), atol=1e-5)


def test_half_precision_is_converted(tmp_path: Path) -> None:
    low = torch.rand(1, 3, 8, 8)
    high = upscaled(write_onnx(tmp_path / "a.onnx", dtype=np.float16), low)
    assert high.dtype == torch.float32
    assert torch.allclose(high, expected(low), atol=0.01)


@pytest.mark.parametrize("size", [(24, 40), (70, 101), (20, 90)])
def test_fixed_sizes_are_tiled_without_seams(tmp_path: Path, size: tuple[int, int]) -> None:
    low = torch.rand(1, 3, *size)
    high = upscaled(write_onnx(tmp_path / "a.onnx", sides=(32, 48)), low)
    inner = (..., slice(2, 2 * size[0] - 2), slice(2, 2 * size[1] - 2))  # the border is padded
    assert (high - expected(low))[inner].abs().max() < 1e-5


def test_files_of_another_shape_are_one_line(tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no network")
    grey = tmp_path / "grey.onnx"
    port = helper.make_tensor_value_info("low", TensorProto.FLOAT, [1, 1, "h", "w"])
    out = helper.make_tensor_value_info("high", TensorProto.FLOAT, [1, 1, "h", "w"])
    node = helper.make_node("Identity", ["low"], ["high"])
    graph = helper.make_graph([node], "grey", [port], [out])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), grey)
    half_fixed = write_onnx(tmp_path / "half.onnx", sides=(32, "w"))
    for path, said in (
        (text, "not an ONNX file"),
        (grey, "usual are"),
        (half_fixed, r"\(1, 3, 32, w\) of tensor\(float\), with one side fixed"),
    ):
        with pytest.raises(ModelError, match=said) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("field", ["ir_version", "opset"])
def test_files_of_newer_versions_are_refused(field: str, tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx")
    model = onnx.load(path)
    if field == "opset":
        model.opset_import[0].version = 99
    else:
        model.ir_version = 99
    onnx.save(model, path)
    with pytest.raises(ModelError, match="needs a newer onnxruntime"):
        load(path)


def test_weights_in_other_files_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even in the working directory, where ONNX Runtime looks for them."""
    path = write_onnx(tmp_path / "a.onnx")
    onnx.save(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="has weights in other files"):
        load(path)


@pytest.mark.parametrize("sides", [(0, 0), (100_000, 100_000)])
def test_fixed_sizes_that_can_not_be_computed_are_refused(
    tmp_path: Path, sides: tuple[int, int]
) -> None:
    with pytest.raises(ModelError, match=f"{sides[1]}x{sides[0]}, which can't be computed"):
        load(write_onnx(tmp_path / "a.onnx", sides=sides))


def test_output_that_is_not_finite_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.zoo.test_onnx_file._WEIGHT", torch.full_like(_WEIGHT, torch.nan))
    with pytest.raises(ModelError, match="aren't finite"):
        load(write_onnx(tmp_path / "a.onnx"))


def test_weights_are_identified_by_the_file(tmp_path: Path) -> None:
    one = load(write_onnx(tmp_path / "a.onnx")).state_dict()
    other = load(write_onnx(tmp_path / "b.onnx", sides=(32, 32))).state_dict()
    assert not torch.equal(one["network.digest"], other["network.digest"])

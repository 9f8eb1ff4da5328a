"""The converter of ncnn files, against a network computed by numpy."""

import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import ncnn_to_model
import numpy as np
import pytest
import tool_main
import torch
from numpy.typing import NDArray

from vsr.errors import ModelError, OutputError
from vsr.models import build_generator
from vsr.zoo.model_file import load_generator, read_origin

Maps = NDArray[np.float64]


class NcnnNetwork:
    """A network that is written layer by layer, and computed on a picture as it is written."""

    def __init__(self, picture: Maps) -> None:
        self._random = np.random.default_rng(5)
        self._layers: list[tuple[str, list[str], str, str]] = [("Input", [], "data", "")]
        self.values = {"data": picture}
        self.content = b""

    def _add(self, kind: str, inputs: Sequence[str], value: Maps, options: str) -> str:
        blob = f"blob{len(self._layers)}"
        self._layers.append((kind, list(inputs), blob, options))
        self.values[blob] = value
        return blob

    def convolve(self, x: str, width: int, activated: bool = False) -> str:
        maps = self.values[x]
        shape = (width, len(maps), 3, 3)
        kernel = self._random.normal(0, 0.3, shape).astype(np.float16)
        bias = self._random.normal(0, 0.1, width).astype(np.float32)
        coded = kernel.tobytes()
        self.content += struct.pack("<I", 0x01306B47) + coded + bytes(-len(coded) % 4)
        self.content += bias.tobytes()
        padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
        height, length = maps.shape[1:]
        result = np.zeros((width, height, length)) + bias[:, None, None]
        for row in range(3):
            for column in range(3):
                part = padded[:, row : row + height, column : column + length]
                taps = kernel[:, :, row, column].astype(np.float64)
                result += np.einsum("oi,ihw->ohw", taps, part)
        options = f"0={width} 1=3 4=1 5=1 6={kernel.size}"
        if activated:
            result = np.where(result > 0, result, 0.2 * result)
            options += " 9=2 -23310=1,2.000000e-01"
        return self._add("Convolution", [x], result, options)

    def concatenate(self, blobs: Sequence[str]) -> str:
        return self._add("Concat", blobs, np.concatenate([self.values[b] for b in blobs]), "")

    def add_residual(self, change: str, x: str) -> str:
        value = 0.2 * self.values[change] + self.values[x]
        options = "0=1 -23301=2,2.000000e-01,1.000000e+00"
        return self._add("Eltwise", [change, x], value, options)

    def add(self, a: str, b: str) -> str:
        return self._add("BinaryOp", [a, b], self.values[a] + self.values[b], "")

    def double(self, x: str) -> str:
        value = self.values[x].repeat(2, axis=1).repeat(2, axis=2)
        return self._add("Interp", [x], value, "0=1 1=2.000000e+00 2=2.000000e+00")

    def write(self, path: Path) -> Path:
        """Write both files; a blob that several layers read is split, as ncnn asks for."""
        uses = Counter(blob for _, inputs, _, _ in self._layers for blob in inputs)
        handed: Counter[str] = Counter()
        lines = []
        for kind, inputs, blob, options in self._layers:
            names = []
            for name in inputs:
                names.append(f"{name}_split{handed[name]}" if uses[name] > 1 else name)
                handed[name] += 1
            counts = f"{len(inputs)} 1"
            lines.append(" ".join([kind, f"layer_{blob}", counts, *names, blob, options]))
            if uses[blob] > 1:
                parts = " ".join(f"{blob}_split{number}" for number in range(uses[blob]))
                lines.append(f"Split split_{blob} 1 {uses[blob]} {blob} {parts}")
        path.write_text("\n".join(["7767517", f"{len(lines)} 0", *lines, ""]))
        path.with_suffix(".bin").write_bytes(self.content)
        return path


def rrdb_network(picture: Maps, doublings: int) -> tuple[NcnnNetwork, str]:
    """ESRGAN's generator with one block of 5 channels that grows by 3, and its output blob."""
    network = NcnnNetwork(picture)
    entry = x = network.convolve("data", 5)
    for _ in range(3):
        found = [x]
        for _ in range(4):
            joined = network.concatenate(found) if len(found) > 1 else x
            found.append(network.convolve(joined, 3, activated=True))
        x = network.add_residual(network.convolve(network.concatenate(found), 5), x)
    x = network.add_residual(x, entry)
    x = network.add(entry, network.convolve(x, 5))
    for _ in range(doublings):
        x = network.convolve(network.double(x), 5, activated=True)
    return network, network.convolve(network.convolve(x, 5, activated=True), 3)


@pytest.fixture
def picture() -> Maps:
    return np.random.default_rng(1).random((3, 7, 9))


@pytest.fixture
def param(tmp_path: Path, picture: Maps) -> Path:
    return rrdb_network(picture, 2)[0].write(tmp_path / "network.param")


def test_an_existing_model_file_is_kept(
    param: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"another")
    monkeypatch.setattr("sys.argv", ["ncnn_to_model", str(param), str(model)])
    with pytest.raises(OutputError, match="exists; use --overwrite"):
        ncnn_to_model.main()
    assert model.read_bytes() == b"another"
    monkeypatch.setattr("sys.argv", ["ncnn_to_model", str(param), str(model), "--overwrite"])
    ncnn_to_model.main()
    assert load_generator(model).scale == 4


def test_errors_of_tools_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["ncnn_to_model.py", str(tmp_path / "none.param"), str(tmp_path / "no" / "a.st")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match=r"^ncnn_to_model: .*no: no such folder$"):
        tool_main.run(ncnn_to_model.main)


@pytest.mark.parametrize("doublings", [1, 2])
def test_a_converted_model_computes_what_numpy_computes(
    tmp_path: Path, picture: Maps, doublings: int
) -> None:
    network, output = rrdb_network(picture, doublings)
    config, weights = ncnn_to_model.read_ncnn(network.write(tmp_path / "network.param"))
    generator = build_generator(config).double()
    generator.load_state_dict(weights)
    with torch.inference_mode():
        high = generator(torch.from_numpy(picture)[None, None])[0, 0].numpy()
    assert config.scale == 2**doublings
    np.testing.assert_allclose(high, network.values[output], atol=1e-12)


def test_the_model_file_names_its_origin(
    tmp_path: Path, param: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.safetensors"
    monkeypatch.setattr("sys.argv", ["ncnn_to_model", str(param), str(model)])
    ncnn_to_model.main()
    origin = read_origin(model)
    assert origin is not None
    assert (origin.name, origin.licence) == ("network", "BSD-3-Clause")
    assert load_generator(model).scale == 4


def test_a_truncated_bin_file_is_reported(param: Path) -> None:
    path = param.with_suffix(".bin")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ModelError, match=r"network\.bin: truncated"):
        ncnn_to_model.read_ncnn(param)


def test_bytes_after_the_last_convolution_are_reported(param: Path) -> None:
    with param.with_suffix(".bin").open("ab") as file:
        file.write(bytes(8))
    with pytest.raises(ModelError, match="8 bytes after the last convolution"):
        ncnn_to_model.read_ncnn(param)


def test_weights_that_are_not_f16_are_reported(param: Path) -> None:
    path = param.with_suffix(".bin")
    path.write_bytes(bytes(4) + path.read_bytes()[4:])
    with pytest.raises(ModelError, match=r"starts with 0x00000000 instead of 0x01306B47"):
        ncnn_to_model.read_ncnn(param)


def test_a_missing_bin_file_is_reported(param: Path) -> None:
    param.with_suffix(".bin").unlink()
    with pytest.raises(ModelError, match=r"network\.bin: No such file"):
        ncnn_to_model.read_ncnn(param)


@pytest.mark.parametrize(
    ("written", "instead", "reason"),
    [
        ("7767517", "7767518", "not an ncnn"),
        ("-23310=1,2.000000e-01", "-23310=1,1.000000e-01", "not that of an RRDB network"),
        ("-23301=2,2.000000e-01", "-23301=2,1.000000e+00", "not that of an RRDB network"),
        ("Interp", "PixelShuffle", "enlarges 0 times"),
        ("0=1 1=2.000000e+00", "0=2 1=2.000000e+00", "not that of an RRDB network"),
        ("BinaryOp", "Mul", "not that of an RRDB network"),
        ("1 data blob1", "1 nothing blob1", "truncated or not an ncnn"),
        ("0=5 1=3", "0=five 1=3", "truncated or not"),
        ("Convolution layer_blob1 1 1", "Convolution layer_blob1 one 1", "truncated or not"),
    ],
)
def test_another_network_is_reported(param: Path, written: str, instead: str, reason: str) -> None:
    text = param.read_text()
    assert written in text
    param.write_text(text.replace(written, instead))
    with pytest.raises(ModelError, match=reason):
        ncnn_to_model.read_ncnn(param)


def test_a_truncated_param_file_is_reported(param: Path) -> None:
    text = param.read_text()
    param.write_text(text[: len(text) // 2])
    with pytest.raises(ModelError, match="truncated"):
        ncnn_to_model.read_ncnn(param)


def test_a_network_that_enlarges_three_times_is_reported(tmp_path: Path, picture: Maps) -> None:
    network, _ = rrdb_network(picture, 3)
    with pytest.raises(ModelError, match="enlarges 3 times"):
        ncnn_to_model.read_ncnn(network.write(tmp_path / "network.param"))

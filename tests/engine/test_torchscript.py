"""What torch has deprecated and is still needed."""

import warnings
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import nn

from vsr.engine.backends.torchscript import traced, write_onnx
from vsr.engine.export import Step
from vsr.models import GeneratorConfig, RrdbnetConfig, SrresnetConfig, build_generator

LAYER = nn.Conv2d(3, 3, 1)
INPUT = torch.rand(1, 3, 8, 8)


@pytest.mark.parametrize(
    "config",
    [
        SrresnetConfig(channels=4, blocks=1),
        RrdbnetConfig(channels=4, growth=2, blocks=1),
    ],
    ids=lambda config: config.kind,
)
def test_still_networks_are_traced_and_written_without_a_warning(
    tmp_path: Path, config: GeneratorConfig
) -> None:
    generator = build_generator(config).eval()
    step = Step(generator).eval()
    with torch.inference_mode():
        (wanted,) = step(INPUT)
        (found,) = traced(step, [INPUT])(INPUT)
    assert torch.equal(found, wanted)
    path = tmp_path / "a.onnx"
    write_onnx(step, [INPUT], path, input_names=["low"], output_names=["high"])
    (made,) = onnxruntime.InferenceSession(str(path)).run(["high"], {"low": INPUT.numpy()})
    assert abs(made - wanted.numpy()).max() < 1e-4


def warn_of_removal(*given: Any, **named: Any) -> None:
    warnings.warn("will be removed in torch 3", FutureWarning, stacklevel=1)


def test_a_warning_of_tracings_removal_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.jit, "trace", warn_of_removal)
    with pytest.warns(FutureWarning, match="will be removed in torch 3"):
        traced(LAYER, [INPUT])


def test_a_warning_of_the_exporters_removal_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.onnx, "export", warn_of_removal)
    with pytest.warns(FutureWarning, match="will be removed in torch 3"):
        write_onnx(LAYER, [INPUT], Path("a.onnx"), input_names=["x"], output_names=["y"])


def test_warnings_outside_are_as_before() -> None:
    before = list(warnings.filters)
    traced(LAYER, [INPUT])
    assert warnings.filters == before

"""The node, called as ComfyUI calls it."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.films import scenes
from vsr.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS, UpscaleVideo
from vsr.engine.frame_server import load_generator
from vsr.errors import VsrError


def batch(*lengths: int, size: tuple[int, int] = (96, 64)) -> Tensor:
    return torch.from_numpy(np.stack(scenes(*size, lengths))).float() / 255


def execute(node: type[Any], inputs: dict[str, Any]) -> tuple[Any, ...]:
    """Call a node by the names and defaults that it declares, as ComfyUI's executor does."""
    declared = node.INPUT_TYPES()
    arguments = {}
    for section in ("required", "optional"):
        for name, (kind, *settings) in declared.get(section, {}).items():
            if name in inputs:
                arguments[name] = inputs[name]
            elif isinstance(kind, list):
                arguments[name] = kind[0]
            elif section == "required":
                arguments[name] = settings[0]["default"]
    outputs = getattr(node(), node.FUNCTION)(**arguments)
    assert len(outputs) == len(node.RETURN_TYPES)
    assert isinstance(outputs, tuple)
    return outputs


@pytest.fixture(scope="module")
def node() -> type[Any]:
    assert NODE_CLASS_MAPPINGS.keys() == NODE_DISPLAY_NAME_MAPPINGS.keys()
    (node,) = NODE_CLASS_MAPPINGS.values()
    return node


@pytest.mark.usefixtures("node")
def test_all_widgets_have_types_and_defaults_that_comfyui_accepts() -> None:
    inputs = UpscaleVideo.INPUT_TYPES()
    for kind, *settings in (*inputs["required"].values(), *inputs["optional"].values()):
        if isinstance(kind, list):
            assert kind
            assert all(isinstance(choice, str) for choice in kind)
        elif kind != "IMAGE":
            assert "default" in settings[0]


def test_a_batch_is_upscaled_with_the_state_of_earlier_frames(
    node: type[Any], tiny_model: Path
) -> None:
    images = batch(9)
    (high,) = execute(node, {"images": images, "model_file": str(tiny_model)})
    generator = load_generator(str(tiny_model), None, None, 64)
    with torch.inference_mode():
        expected = generator(images.permute(0, 3, 1, 2)[None])[0].permute(0, 2, 3, 1).clamp(0, 1)
    assert (high.dtype, high.device.type) == (torch.float32, "cpu")
    assert high.shape == (9, 256, 384, 3)
    assert float((high - expected).abs().max()) < 0.002


def test_an_overlap_continues_the_batch_before(node: type[Any], tiny_model: Path) -> None:
    images = batch(30, size=(48, 32))
    (whole,) = execute(node, {"images": images, "model_file": str(tiny_model)})
    inputs = {"images": images[2:], "model_file": str(tiny_model), "overlap": 24}
    (rest,) = execute(node, inputs)
    assert rest.shape[0] == 4
    assert float((rest - whole[26:]).abs().max()) < 1 / 255


def test_separate_pictures_have_no_influence_on_each_other(
    node: type[Any], tiny_model: Path
) -> None:
    inputs = {"images": batch(4), "model_file": str(tiny_model)}
    (high,) = execute(node, {**inputs, "images_are": "separate pictures"})
    (single,) = execute(node, {**inputs, "images": batch(4)[2:3]})
    assert torch.equal(high[2], single[0])


def test_opacity_is_kept(node: type[Any], tiny_model: Path) -> None:
    images = torch.cat((batch(2), torch.full((2, 64, 96, 1), 0.25)), dim=3)
    (high,) = execute(node, {"images": images, "model_file": str(tiny_model)})
    assert high.shape[3] == 4
    assert torch.allclose(high[..., 3], torch.tensor(0.25), atol=1e-5)


@pytest.mark.parametrize(("scale", "size"), [("2", (62, 34)), ("3", (93, 51)), ("4", (124, 68))])
def test_images_of_odd_size_have_any_scale(
    node: type[Any], scale: str, size: tuple[int, int]
) -> None:
    (high,) = execute(node, {"images": batch(1, size=(31, 17)), "scale": scale})
    assert tuple(high.shape[1:3]) == size[::-1]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"images": torch.zeros(0, 8, 8, 3)}, r"expected images \(B, H, W, 3 or 4\)"),
        ({"images": torch.zeros(8, 8, 3)}, "got \\(8, 8, 3\\)"),
        ({"model_file": "/nowhere.safetensors"}, "nowhere"),
        ({"steady": 0.5}, "steady is for models of single pictures"),
        ({"overlap": 1}, "an overlap of 1 leaves none of 1 images"),
        ({"device": "cuda:99"}, "device cuda:99 not found"),
        ({"images": torch.zeros(1, 64, 64, 3).expand(10**7, 64, 64, 3)}, "use fewer images"),
    ],
)
def test_wrong_inputs_are_one_clear_line(
    node: type[Any], inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(VsrError, match=message) as caught:
        execute(node, {"images": torch.zeros(1, 8, 8, 3), **inputs})
    assert "\n" not in str(caught.value)


def test_progress_is_reported_to_comfyui_which_can_cancel(
    node: type[Any], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    class ProgressBar:
        def __init__(self, total: int) -> None:
            assert total == 5

        def update(self, value: int) -> None:
            steps.append(value)

    def throw_exception_if_processing_interrupted() -> None:
        if len(steps) == 3:
            raise InterruptedError

    comfy, management, utils = (
        ModuleType(name) for name in ("comfy", "comfy.model_management", "comfy.utils")
    )
    management.throw_exception_if_processing_interrupted = (  # type: ignore[attr-defined]
        throw_exception_if_processing_interrupted
    )
    utils.ProgressBar = ProgressBar  # type: ignore[attr-defined]
    for module in (comfy, management, utils):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(InterruptedError):
        execute(node, {"images": batch(5), "model_file": str(tiny_model)})
    assert steps == [1, 1, 1]

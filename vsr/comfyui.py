"""A node for ComfyUI: frames of a film in, upscaled frames out.

A file in ComfyUI's folder `custom_nodes` imports `NODE_CLASS_MAPPINGS` from here.
"""

import logging
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from vsr.engine.backends import after_trial, pick_backend, place
from vsr.engine.backends.base import Backend
from vsr.engine.frame_server import ClipFrame, FrameServer, load_generator
from vsr.errors import MediaError, VsrError
from vsr.frames.yuv import planes_to_rgb, rgb_to_planes
from vsr.imaging.colour import ColourSpec, Matrix, Subsampling
from vsr.imaging.tensors import resize_bicubic
from vsr.system.machine import memory_bytes, other_accelerator
from vsr.zoo import QUALITIES, list_models

_SPEC = ColourSpec(Matrix.BT709, bit_depth=14, subsampling=Subsampling(across=1, down=1))
"""Format in which backends take frames. 14 bits keep RGB of 12 bits, and limited range keeps
overshoot, which is clamped only when it is RGB again."""
_log = logging.getLogger(__name__)
_CPU = torch.device("cpu")
_OF_THE_MODEL = -1.0
"""Value of `detail` for the default of the model."""


class UpscaleVideo:
    """Upscales the images of a batch, in order, and keeps the recurrent state between them."""

    CATEGORY = "image/upscaling"
    DESCRIPTION = "Upscale the frames of a film. Each frame uses what the frames before it showed."
    FUNCTION = "upscale"
    RETURN_TYPES: ClassVar[tuple[str, ...]] = ("IMAGE",)
    OUTPUT_TOOLTIPS: ClassVar[tuple[str, ...]] = ("The upscaled frames.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """Describe the inputs, as ComfyUI expects it."""
        models = [*QUALITIES, *(card.name for card in list_models())]
        devices = ["auto", "cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        if accelerator := other_accelerator():
            devices.append(str(accelerator))
        devices += ["intel-gpu", "intel-npu"]
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "Frames in order."}),
                "model": (models, {"tooltip": "fast and best choose the model for the scale."}),
                "scale": (
                    ["auto", "2", "3", "4"],
                    {"tooltip": "auto is 4 for up to 576 lines, and 2 above."},
                ),
                "detail": (
                    "FLOAT",
                    {
                        "default": _OF_THE_MODEL,
                        "min": _OF_THE_MODEL,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "Invented texture, from 0 to 1; -1 is the model's default.",
                    },
                ),
                "images_are": (
                    ["a film", "separate pictures"],
                    {"tooltip": "Cuts of a film are detected. Pictures are upscaled one by one."},
                ),
                "device": (devices, {"tooltip": "auto is the first GPU, or the CPU."}),
            },
            "optional": {
                "overlap": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 1000,
                        "tooltip": "First images that only warm the network up and aren't "
                        "returned: the last ones of the batch before, where a film is split.",
                    },
                ),
                "model_file": (
                    "STRING",
                    {"default": "", "tooltip": "A model file, which replaces the model above."},
                ),
                "steady": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "Less flicker of model files that know single pictures only.",
                    },
                ),
            },
        }

    def upscale(
        self,
        images: Tensor,
        model: str = "fast",
        scale: str = "auto",
        detail: float = _OF_THE_MODEL,
        images_are: str = "a film",
        device: str = "auto",
        overlap: int = 0,
        model_file: str = "",
        steady: float = 0.0,
    ) -> tuple[Tensor]:
        """Upscale images (B, H, W, C) in [0, 1] to (B - overlap, sH, sW, C), on the CPU.

        C is 3, or 4 with opacity, which is upscaled bicubically. Raises `VsrError`.
        """
        if images.ndim != 4 or images.shape[3] not in (3, 4) or not images.numel():
            raise MediaError(f"expected images (B, H, W, 3 or 4), got {tuple(images.shape)}")
        count, height, width, channels = images.shape
        generator = load_generator(
            model_file or model,
            None if scale == "auto" else int(scale),
            None if detail < 0 else detail,
            height,
            steady=steady,
        )
        if overlap >= count:
            raise VsrError(f"an overlap of {overlap} leaves none of {count} images")
        size = generator.scale * height, generator.scale * width
        _check_memory(count - overlap, *size, channels)
        placement, note = after_trial(place("auto", device, "auto"), generator)
        if note:
            _log.warning(note)

        def read(index: int) -> ClipFrame:
            rgb = images[index, ..., :3].permute(2, 0, 1).float().clamp(0, 1)
            is_cut = True if images_are == "separate pictures" else None
            return ClipFrame(rgb_to_planes(rgb, _SPEC), _SPEC, is_cut)

        def build(spec: ColourSpec) -> Backend:
            return pick_backend(
                name="auto",
                precision="auto",
                generator=generator,
                device=placement.device,
                specs=(spec, spec),
                size=(height, width),
                frames=count,
                openvino_device=placement.openvino_device,
            )

        server = FrameServer(read, count, build)
        output = torch.empty((count - overlap, *size, channels))
        report = _progress(count)
        for index in range(count):
            planes = server.upscale(index).planes
            report()
            if index < overlap:
                continue
            target = output[index - overlap]
            rgb = planes_to_rgb(planes, _SPEC, _CPU)
            target[..., :3] = rgb.clamp(0, 1).permute(1, 2, 0)
            if channels == 4:
                alpha = images[index, ..., 3].to(_CPU, torch.float32)
                target[..., 3] = resize_bicubic(alpha[None, None], size)[0, 0].clamp(0, 1)
        return (output,)


def _check_memory(count: int, height: int, width: int, channels: int) -> None:
    needed, memory = 4 * count * height * width * channels, memory_bytes(_CPU)
    if needed > memory:
        raise VsrError(
            f"{count} images of {width}x{height} need {needed / 1e9:.1f} GB of memory, and this "
            f"machine has {memory / 1e9:.1f} GB; use fewer images or a smaller scale"
        )


def _progress(count: int) -> Callable[[], None]:
    """Return a function that reports a frame to ComfyUI, and raises where the user cancels."""
    try:
        from comfy.model_management import throw_exception_if_processing_interrupted
        from comfy.utils import ProgressBar
    except ImportError:  # called outside ComfyUI
        return lambda: None
    bar = ProgressBar(count)

    def report() -> None:
        bar.update(1)
        throw_exception_if_processing_interrupted()

    return report


NODE_CLASS_MAPPINGS = {"VsrUpscaleVideo": UpscaleVideo}
NODE_DISPLAY_NAME_MAPPINGS = {"VsrUpscaleVideo": "Upscale Video (vsr)"}

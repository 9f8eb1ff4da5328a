"""vsr: video super-resolution. Makes film sharper and larger.

    import vsr
    model = vsr.load("tiny-x4")         # an nn.Module: (B, T, 3, H, W) to (B, T, 3, 4H, 4W)
    vsr.upscale_video("in.mp4", "out.mp4")
    vsr.upscale_image(array)            # uint8 (H, W, 3)
    vsr.evaluate("out.mp4", "reference.mp4")["psnr_y"].mean
    vsr.list_models()                   # what ships

Names are loaded when they are first used, so that importing `vsr` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vsr.engine.image import upscale_image
    from vsr.engine.upscale import upscale_video
    from vsr.evaluation import evaluate
    from vsr.zoo import list_models, load

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "list_models", "load", "upscale_image", "upscale_video"]

_HOMES = {
    "evaluate": ("vsr.evaluation", "evaluate"),
    "list_models": ("vsr.zoo", "list_models"),
    "load": ("vsr.zoo", "load"),
    "upscale_image": ("vsr.engine.image", "upscale_image"),
    "upscale_video": ("vsr.engine.upscale", "upscale_video"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vsr' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Video super-resolution with recurrent networks.

    import vsr
    model = vsr.load("tiny-x4")         # an nn.Module: (B, T, 3, H, W) to (B, T, 3, 4H, 4W)
    vsr.upscale_video("in.mp4", "out.mp4")
    vsr.upscale_image(array)            # uint8, uint16 or float32 (H, W, 3)
    vsr.upscale_picture("in.gif", "out.webp")   # a file, with its metadata
    vsr.upscale_stack(planes)           # measured values of any type and range (..., H, W)
    vsr.evaluate("out.mp4", "reference.mp4")["psnr_y"].mean
    vsr.list_models()                   # the models in the package

Each name is imported when it is first used, so that `import vsr` is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vsr.engine.image_array import upscale_image
    from vsr.engine.parallel.workers import Workers
    from vsr.engine.picture import upscale_picture
    from vsr.engine.profile import load_profile
    from vsr.engine.stack import upscale_stack
    from vsr.engine.upscale import upscale_video
    from vsr.errors import VsrError
    from vsr.evaluation import evaluate
    from vsr.media.decode.part import Part
    from vsr.media.encode.settings import EncoderSettings
    from vsr.zoo import list_models, load

__version__ = "0.1.0"
__all__ = [
    "EncoderSettings",
    "Part",
    "VsrError",
    "Workers",
    "__version__",
    "evaluate",
    "list_models",
    "load",
    "load_profile",
    "upscale_image",
    "upscale_picture",
    "upscale_stack",
    "upscale_video",
]

_MODULES = {
    "EncoderSettings": "vsr.media.encode.encoder",
    "Part": "vsr.media.decode.part",
    "VsrError": "vsr.errors",
    "Workers": "vsr.engine.parallel.workers",
    "evaluate": "vsr.evaluation",
    "list_models": "vsr.zoo",
    "load": "vsr.zoo",
    "load_profile": "vsr.engine.profile",
    "upscale_image": "vsr.engine.image_array",
    "upscale_picture": "vsr.engine.picture",
    "upscale_stack": "vsr.engine.stack",
    "upscale_video": "vsr.engine.upscale",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'vsr' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Decode frames for pydicom by imagecodecs.

pydicom decodes RLE itself, and JPEG of 8 bits and most JPEG 2000 by Pillow. Its other decoders are
packages that share the interface of this module: `is_available` and `DECODER_DEPENDENCIES`.
"""

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder

_CODECS = {
    **dict.fromkeys(uid.JPEGLSTransferSyntaxes, "jpegls"),
    **dict.fromkeys((uid.JPEG2000Lossless, uid.JPEG2000), "jpeg2k"),
    **dict.fromkeys((uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K), "htj2k"),
    **dict.fromkeys((uid.JPEGLossless, uid.JPEGLosslessSV1), "ljpeg"),
    uid.JPEGExtended12Bit: "jpeg",
}
"""Names of imagecodecs' codecs by transfer syntax."""
_DECORRELATED = ("YBR_ICT", "YBR_RCT")
"""Colours of JPEG 2000, which are decoded to RGB."""
DECODER_DEPENDENCIES = dict.fromkeys(_CODECS, ("imagecodecs",))


def is_available(syntax: str) -> bool:
    """Whether imagecodecs decodes a transfer syntax."""
    return syntax in _CODECS and find_spec("imagecodecs") is not None


@lru_cache(maxsize=1)
def register() -> None:
    """Add the decoders to those of pydicom, once."""
    for syntax in _CODECS:
        get_decoder(syntax).add_plugin("vsr", (__name__, "decode_frame"))


def decode_frame(source: bytes, runner: Any) -> bytearray:
    """Decode a frame of encapsulated pixel data, colours by pixel; as pydicom calls it."""
    import imagecodecs

    codec = _CODECS[runner.transfer_syntax]
    if codec == "ljpeg" and runner.samples_per_pixel == 1:
        codec = "jpeg"  # which supports all predictors, but may convert colours
    samples: Any = getattr(imagecodecs, f"{codec}_decode")(bytes(source))
    runner.set_option("bits_allocated", 8 * samples.dtype.itemsize)
    if samples.ndim == 3:
        runner.set_option("planar_configuration", 0)
        if runner.photometric_interpretation in _DECORRELATED:
            runner.set_option("photometric_interpretation", "RGB")
    return bytearray(np.ascontiguousarray(samples, samples.dtype.newbyteorder("<")).tobytes())

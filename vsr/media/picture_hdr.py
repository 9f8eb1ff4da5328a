"""Recognise HDR pictures by their description of colour."""

import struct

from vsr.media.frame import HDR_TRANSFERS
from vsr.media.still import Still

_PROFILE_HEADER_BYTES = 128


def hdr_of(still: Still) -> str:
    """Name the HDR transfer function of a picture, "PQ" or "HLG"; empty for SDR.

    It is that of the file (AVIF, HEIF, JPEG XL), of PNG's chunk cICP, or of the profile's tag cicp.
    """
    png = dict(still.tags.chunks).get(b"cICP", b"")
    named = still.transfer, png[1] if len(png) == 4 else None, _of_profile(still.icc_profile)
    return next((HDR_TRANSFERS[code] for code in named if code in HDR_TRANSFERS), "")


def _of_profile(profile: bytes | None) -> int | None:
    """Return the transfer function that an ICC profile names by H.273 (ICC.1:2022, 9.2.17)."""
    table = (profile or b"")[_PROFILE_HEADER_BYTES:]
    if not profile or len(table) < 4:
        return None
    (count,) = struct.unpack_from(">I", table)
    entries = table[4 : 4 + 12 * count]
    for name, start, _ in struct.iter_unpack(">4s2I", entries[: len(entries) // 12 * 12]):
        content = profile[start : start + 12]
        if name == content[:4] == b"cicp" and len(content) == 12:
            return content[9]
    return None

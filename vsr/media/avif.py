"""Read and write AVIF pictures of 10 and 12 bits per sample, by the package imagecodecs.

imagecodecs has the samples alone: the transfer function is read from the boxes of the file. The
profile, Exif data and XMP are added as a property and as items (ISO/IEC 23008-12).
"""

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vsr.media.boxes import box, boxes, full_box
from vsr.media.still import rotate_samples

_LEVEL = 95
_BT709, _UNKNOWN, _BT601, _SRGB = 1, 2, 6, 13
"""Codes of ITU-T H.273 for primaries, transfer and matrix."""
_OTHER_LAYOUT = "unknown layout of the encoder's file"
_LOCATION = struct.Struct(">3H2I")
_EXIF_HEAD = b"Exif\0\0"
_XMP_TYPE = b"application/rdf+xml\0"


def avif_bits(bits: int) -> int:
    """Return the bits per sample in which a picture of more than 8 bits is written."""
    return 10 if bits <= 10 else 12


def read_avif16(file: BinaryIO, bits: int, orientation: int) -> NDArray[np.uint16]:
    """Decode AVIF of more than 8 bits to samples of full range (H, W, C), upright."""
    import imagecodecs

    file.seek(0)
    codes = imagecodecs.avif_decode(file.read(), index=0, numthreads=1)
    if codes.dtype != np.uint16:
        raise ValueError("its depth differs from its description")
    samples = codes.reshape(*codes.shape[:2], -1)
    if samples.shape[2] < 3:  # grey
        samples = samples[..., [0, 0, 0, 1][: 2 + samples.shape[2]]]
    values: NDArray[np.uint16] = np.rint(samples * (65535 / ((1 << bits) - 1))).astype(np.uint16)
    return rotate_samples(values, orientation)


def avif_transfer(file: BinaryIO) -> int | None:
    """Return the transfer function of an AVIF picture, by H.273; None if the file names none.

    Only the properties of the primary item count: others may describe an HDR rendition of it.
    """
    file.seek(0)
    data = file.read()
    try:
        meta = next(part for part in boxes(data) if part.kind == b"meta")
        inside = {part.kind: part for part in boxes(data, meta.start + 4, meta.end)}
        wide = data[inside[b"pitm"].start] > 0
        primary = int.from_bytes(data[inside[b"pitm"].start + 4 :][: 4 if wide else 2], "big")
        parts = {part.kind: part for part in boxes(data, *inside[b"iprp"][1:])}
        used = _properties_of(data[parts[b"ipma"].start : parts[b"ipma"].end], primary)
        for index, (kind, start, _) in enumerate(boxes(data, *parts[b"ipco"][1:]), 1):
            if index in used and kind == b"colr" and data[start : start + 4] == b"nclx":
                return int.from_bytes(data[start + 6 : start + 8], "big")
    except (ValueError, LookupError, StopIteration, struct.error):
        pass  # the decoder has read the picture nevertheless
    return None


def _properties_of(uses: bytes, item: int) -> set[int]:
    """Return the indices, from 1, of the properties of an item in a box `ipma`."""
    id_bytes = 4 if uses[0] else 2
    index_bytes = 2 if uses[3] & 1 else 1
    unessential = (1 << (8 * index_bytes - 1)) - 1
    (entries,) = struct.unpack_from(">I", uses, 4)
    at = 8
    for _ in range(entries):
        number = int.from_bytes(uses[at : at + id_bytes], "big")
        at += id_bytes + 1
        end = at + index_bytes * uses[at - 1]
        if number == item:
            return {
                int.from_bytes(uses[start : start + index_bytes], "big") & unessential
                for start in range(at, end, index_bytes)
            }
        at = end
    return set()


def write_avif16(path: Path, samples: NDArray[Any], bits: int, options: dict[str, Any]) -> None:
    """Write uint16 samples (H, W, C), C = 1, 3 or 4, in 10 or 12 bits, without subsampling.

    `options` are those of Pillow for the profile, Exif data and XMP.
    """
    import imagecodecs

    if samples.shape[2] == 1:
        samples = samples[..., 0]
    codes = np.rint(samples * (((1 << bits) - 1) / 65535)).astype(np.uint16)
    profile = options.get("icc_profile")
    data = imagecodecs.avif_encode(
        codes,
        level=_LEVEL,
        bitspersample=bits,
        pixelformat="444" if codes.ndim == 3 else None,
        primaries=_UNKNOWN if profile else _BT709,
        transfer=_UNKNOWN if profile else _SRGB,
        matrix=_BT601,
        numthreads=1,
    )
    exif = options.get("exif", b"").removeprefix(_EXIF_HEAD)
    items = [(b"Exif", b"", bytes(4) + exif)] if exif else []
    if xmp := options.get("xmp"):
        items.append((b"mime", _XMP_TYPE, xmp))
    path.write_bytes(_with_metadata(bytes(data), profile, items))


def _with_metadata(
    data: bytes, profile: bytes | None, items: list[tuple[bytes, bytes, bytes]]
) -> bytes:
    """Add a profile, and items of (type, type of content, content), to a file of libavif."""
    top = {part.kind: part for part in boxes(data)}
    meta, media = top[b"meta"], top[b"mdat"]
    if media.start - 8 != meta.end:
        raise ValueError(_OTHER_LAYOUT)
    inside = {part.kind: part for part in boxes(data, meta.start + 4, meta.end)}
    content = {kind: data[part.start : part.end] for kind, part in inside.items()}
    (primary,) = struct.unpack_from(">H", content[b"pitm"], 4)
    first = 1 + max(_identifiers(content[b"iloc"]))
    entries = [
        full_box(b"infe", struct.pack(">2H4s", first + at, 0, kind), b"\0", kind_of, version=2)
        for at, (kind, kind_of, _) in enumerate(items)
    ]
    links = [box(b"cdsc", struct.pack(">3H", first + at, 1, primary)) for at in range(len(items))]
    (count,) = struct.unpack_from(">H", content[b"iinf"], 4)
    content[b"iinf"] = b"".join(
        [bytes(4), struct.pack(">H", count + len(items)), content[b"iinf"][6:], *entries]
    )
    if links:
        content[b"iref"] = content.get(b"iref", bytes(4)) + b"".join(links)
    if profile:
        content[b"iprp"] = _with_profile(content[b"iprp"], profile, primary)
    sizes = [len(body) for _, _, body in items]
    grown = sum(map(len, content.values())) + len(items) * _LOCATION.size
    grown += 8 * len(content) + 4 - (meta.end - meta.start)
    content[b"iloc"] = _located(content[b"iloc"], grown, first, media.end + grown, sizes)
    made = full_box(b"meta", *(box(kind, body) for kind, body in content.items()))
    bodies = b"".join(body for _, _, body in items)
    head = data[: meta.start - 8]
    return head + made + box(b"mdat", data[media.start : media.end], bodies)


def _identifiers(locations: bytes) -> list[int]:
    """Return the identifiers of items of one extent each, with positions of 32 bits."""
    if locations[:6] != b"\0\0\0\0\x44\0":
        raise ValueError(_OTHER_LAYOUT)
    return [entry[0] for entry in _LOCATION.iter_unpack(locations[8:])]


def _located(locations: bytes, moved: int, first: int, start: int, sizes: list[int]) -> bytes:
    """Move the positions of items, and add items from `start` on."""
    entries = [
        (number, reference, count, position + moved, size)
        for number, reference, count, position, size in _LOCATION.iter_unpack(locations[8:])
    ]
    for at, size in enumerate(sizes):
        entries.append((first + at, 0, 1, start + sum(sizes[:at]), size))
    rows = b"".join(_LOCATION.pack(*entry) for entry in entries)
    return locations[:6] + struct.pack(">H", len(entries)) + rows


def _with_profile(properties: bytes, profile: bytes, item: int) -> bytes:
    """Add a profile to the properties of an item."""
    parts = {part.kind: properties[part.start : part.end] for part in boxes(properties)}
    number = 1 + sum(1 for _ in boxes(parts[b"ipco"]))
    uses, rows, at = parts[b"ipma"], b"", 8
    while at < len(uses):
        identifier, count = struct.unpack_from(">HB", uses, at)
        own = uses[at + 3 : at + 3 + count]
        at += 3 + count
        if identifier == item:
            own += bytes([number])
        rows += struct.pack(">HB", identifier, len(own)) + own
    described = box(b"ipco", parts[b"ipco"], box(b"colr", b"prof", profile))
    return described + box(b"ipma", uses[:8], rows)

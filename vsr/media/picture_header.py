"""Read what Pillow doesn't report of a picture file."""

import re
from typing import Any, BinaryIO

import tifffile

_WIDTH, _LENGTH = 0x0100, 0x0101


def frames_of(opened: Any, lost: list[str]) -> int:
    """Count frames or pages; a line is added to `lost` if further ones can't be read."""
    try:
        return int(getattr(opened, "n_frames", 1))
    except Exception:  # damaged data, or pages of TIFF that Pillow doesn't know
        opened.seek(0)
        if opened.format == "TIFF" and (count := _tiff_pages(opened.fp)):
            return count
        lost.append("further frames or pages, which can't be read")
        return 1


def _tiff_pages(file: BinaryIO) -> int:
    """Count the pages of a TIFF file by their directories; 0 if any is damaged."""
    file.seek(0)
    try:
        pages = [page.aspage() for page in tifffile.TiffFile(file).pages]
        complete = all({_WIDTH, _LENGTH} <= set(page.tags.keys()) for page in pages)
        return len(pages) if complete else 0
    except Exception:  # damaged data raises many types of error
        return 0


def is_grey_png(file: BinaryIO) -> bool:
    """Whether a PNG file is greyscale, with or without alpha, by its colour type."""
    file.seek(0)
    return file.read(26)[25] in (0, 4)


def bits_of(opened: Any, file: BinaryIO) -> int:
    """Return the bits per sample in the file of a loaded picture; Pillow may reduce them to 8."""
    file.seek(0)
    match opened.format:
        case "PNG":
            return file.read(25)[24]
        case "TIFF":
            bits = opened.tag_v2.get(0x0102, (8,))
            return max(bits) if isinstance(bits, tuple) else int(bits)
        case "PPM":
            fields = re.sub(rb"#[^\n]*\n", b" ", file.read(4096)).split(maxsplit=4)
            return 16 if fields[0] not in (b"P1", b"P4") and int(fields[3]) > 255 else 8
        case "SGI":
            return 8 * file.read(4)[3]
        case "HEIF":
            return int(opened.info.get("bit_depth", 8))
        case "AVIF":
            head = file.read(1 << 16)
            position = head.find(b"pixi")
            return head[position + 9] if 0 <= position < len(head) - 9 else 8
        case "JPEG2000":
            head = file.read(1 << 16)
            position = head.find(b"\xff\x51")
            return (head[position + 40] & 0x7F) + 1 if 0 <= position < len(head) - 40 else 8
    return 8

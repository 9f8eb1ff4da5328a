"""Films with side data: encoded by Debian's ffmpeg, then completed byte by byte."""

import struct
from pathlib import Path

from tests.helpers.ffmpeg import X264, ffmpeg

CAPTION = b"\xfc\x94\x2c\xfc\xc8\xe9"
"""Two triplets of CEA-608: erase what is displayed, and two letters."""


def captioned_mpeg2(path: Path, frames: int = 20, first: int = 0, caption: bytes = CAPTION) -> Path:
    """MPEG-2 video, as an elementary stream, with captions from its `first` frame on."""
    plain = path.with_suffix(".plain.m2v")
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=size=64x48:rate=25:duration={frames / 25}",
           "-c:v", "mpeg2video", "-q:v", "2", "-g", "10", "-bf", "0", str(plain))  # fmt: skip
    data, out, place, index = plain.read_bytes(), bytearray(), 0, 0
    count = bytes([0x40 | len(caption) // 3, 0xFF])
    user_data = b"\0\0\1\xb2GA94\x03" + count + caption + b"\xff"
    while (slice_start := data.find(b"\0\0\1\x01", place)) >= 0:
        inserted = user_data if index >= first else b""
        out += data[place:slice_start] + inserted + data[slice_start : slice_start + 4]
        place, index = slice_start + 4, index + 1
    path.write_bytes(out + data[place:])
    plain.unlink()
    return path


def captioned(
    path: Path, *more: str, frames: int = 20, first: int = 0, caption: bytes = CAPTION
) -> Path:
    """A film whose pictures hold captions, as H.264 by default."""
    raw = captioned_mpeg2(path.with_suffix(".m2v"), frames, first, caption)
    ffmpeg("-fflags", "+genpts", "-framerate", "25", "-f", "mpegvideo", "-i", str(raw), *X264,
           "-a53cc", "1", *more, str(path))  # fmt: skip
    raw.unlink()
    return path


def hevc(path: Path, *more: str) -> Path:
    """Ten frames of HEVC in PQ, as an elementary stream."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25:duration=0.4", "-c:v", "libx265",
           "-preset", "ultrafast", "-pix_fmt", "yuv420p10le", "-x265-params",
           "log-level=none:bframes=0:repeat-headers=1", "-color_primaries", "bt2020", "-color_trc",
           "smpte2084", "-colorspace", "bt2020nc", *more, "-f", "hevc", str(path))  # fmt: skip
    return path


HDR10_PLUS = f"{1:02b}{1000:027b}0{40000:017b}{38000:017b}{36000:017b}{9000:017b}{0:04b}{3:010b}000"
"""Metadata of one window, without distribution, curve and saturation."""


def hdr10_plus(path: Path, bits: str = HDR10_PLUS) -> Path:
    """HEVC with a message of HDR10+ before each picture (SMPTE ST 2094-40)."""
    plain = hevc(path.with_suffix(".plain.hevc"))
    bits += "0" * (-len(bits) % 8)
    content = int(bits, 2).to_bytes(len(bits) // 8, "big")
    payload = b"\xb5\x00\x3c\x00\x01\x04\x01" + content
    message, zeros = bytearray(), 0
    for byte in b"\x04" + bytes([len(payload)]) + payload + b"\x80":
        if zeros >= 2 and byte <= 3:
            message.append(3)
            zeros = 0
        message.append(byte)
        zeros = 0 if byte else zeros + 1
    data, out, place = plain.read_bytes(), bytearray(), 0
    while (start := data.find(b"\0\0\1", place)) >= 0:
        is_picture = data[start + 3] >> 1 & 63 < 32 and data[start + 5] & 0x80
        before = b"\0\0\1\x4e\x01" + bytes(message) if is_picture else b""
        out += data[place:start] + before + data[start : start + 3]
        place = start + 3
    marked = path.with_suffix(".marked.hevc")
    marked.write_bytes(out + data[place:])
    tag = ("-tag:v", "hvc1") if path.suffix in (".mp4", ".mov") else ()
    ffmpeg("-framerate", "25", "-f", "hevc", "-i", str(marked), "-c", "copy", *tag, str(path))
    plain.unlink()
    marked.unlink()
    return path


def with_box(path: Path, entry: bytes, box: bytes) -> Path:
    """Put a box into the sample entry of an MP4 file's video, whose index lies at the end."""
    data = bytearray(path.read_bytes())
    skipped = {b"stsd": 8, entry: 78}
    start, parents, end = 0, [], 0
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", entry):
        while data[start + 4 : start + 8] != name:
            start += struct.unpack(">I", data[start : start + 4])[0]
        parents.append(start)
        end = start + struct.unpack(">I", data[start : start + 4])[0]
        start += 8 + skipped.get(name, 0)
    data[end:end] = box
    for parent in parents:
        size = struct.unpack(">I", data[parent : parent + 4])[0]
        data[parent : parent + 4] = struct.pack(">I", size + len(box))
    path.write_bytes(data)
    return path


def dolby_vision(path: Path, profile: int = 8) -> Path:
    """HEVC in MP4 that is configured as Dolby Vision, by default with HDR10 as its base."""
    raw = hevc(path.with_suffix(".hevc"))
    ffmpeg("-framerate", "25", "-f", "hevc", "-i", str(raw), "-c", "copy", "-tag:v", "hvc1",
           str(path))  # fmt: skip
    raw.unlink()
    name, base = (b"dvvC", 16) if profile > 7 else (b"dvcC", 0)
    content = bytes([1, 0]) + struct.pack(">H", profile << 9 | 1 << 3 | 5) + bytes([base])
    return with_box(path, b"hvc1", struct.pack(">I4s", 32, name) + content + bytes(19))


def spherical(path: Path) -> Path:
    """A 360 degree film in MP4, equirectangular (sv3d of Google's RFC, version 2)."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x48:rate=25:duration=0.4", *X264, str(path))
    header = struct.pack(">I4sIB", 13, b"svhd", 0, 0)
    pose = struct.pack(">I4sI3i", 24, b"prhd", 0, 0, 0, 0)
    equirectangular = struct.pack(">I4sI4I", 28, b"equi", 0, 0, 0, 0, 0)
    inner = pose + equirectangular
    projection = struct.pack(">I4s", 8 + len(inner), b"proj") + inner
    content = header + projection
    return with_box(path, b"avc1", struct.pack(">I4s", 8 + len(content), b"sv3d") + content)


def side_by_side(path: Path, *more: str) -> Path:
    """A stereoscopic film, side by side as signalled in its bitstream."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x48:rate=25:duration=0.4", *X264,
           "-x264-params", "frame-packing=3", *more, str(path))  # fmt: skip
    return path

"""Whether a file has all the bytes that its own structure promises.

FFmpeg reads what is there of a download that was cut short, and then reports the usual end. The
sizes in a file's structure are followed instead: boxes of ISO/IEC 14496-12, elements of
RFC 8794, chunks of RIFF, the header of ASF, the last tag of FLV, keys of SMPTE ST 336, pages of
RFC 3533, and packets of ISO/IEC 13818-1.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot"}
_EBML = b"\x1a\x45\xdf\xa3"
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MXF = bytes.fromhex("060e2b34")
_TAIL = 1 << 17
"""More than the longest page of Ogg."""


def is_cut_short(path: Path) -> bool:
    """Whether bytes are missing at the end; False where the format doesn't tell.

    Raises OSError.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(600)
        size = os.fstat(file.fileno()).st_size
        check = _check_of(head)
        return check is not None and check(file, size)


def _check_of(head: bytes) -> Callable[[BinaryIO, int], bool] | None:
    if head[4:8] in _BOXES:
        return _boxes
    if head.startswith(_EBML):
        return _elements
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return _chunks
    if head.startswith(_ASF):
        return _asf
    if head.startswith(b"FLV"):
        return _flv_tag
    if head.startswith(_MXF):
        return _keys
    if head.startswith(b"OggS"):
        return _ogg_page
    for length, first in ((188, 0), (192, 4)):
        if all(head[place : place + 1] == b"G" for place in (first, first + length)):
            return lambda file, size: size % length != 0
    return None


def _boxes(file: BinaryIO, size: int) -> bool:
    place, kind = 0, b""
    while place + 8 <= size:
        length, kind = struct.unpack(">I4s", _read(file, place, 8))
        if length == 0:  # to the end of the file
            return False
        if length == 1:
            length = int.from_bytes(_read(file, place + 8, 8), "big")
        if length < 8:
            return False
        place += length
    return place > size or kind == b"moof"


def _elements(file: BinaryIO, size: int) -> bool:
    place = 0
    while place < size:
        head = _read(file, place, 12)
        key = _vint_length(head)
        length = _vint_length(head[key:])
        if not key or not length:
            return False
        value = int.from_bytes(head[key : key + length], "big") & ((1 << 7 * length) - 1)
        unknown = value == (1 << 7 * length) - 1
        place += key + length + (0 if unknown else value)
    return place > size


def _vint_length(data: bytes) -> int:
    """Bytes of a number of EBML; 0 where it is none."""
    return 9 - data[0].bit_length() if data and data[0] else 0


def _chunks(file: BinaryIO, size: int) -> bool:
    place = 0
    while place + 12 <= size:
        kind, length = struct.unpack("<4sI", _read(file, place, 8))
        if kind != b"RIFF" or not length:  # not written where a recorder crashed
            return False
        place += 8 + length + length % 2
    return place > size + 1  # the last may lack its padding


def _asf(file: BinaryIO, size: int) -> bool:
    head = _read(file, 0, 1 << 16)
    place = head.find(_ASF_FILE)
    if place < 0 or place + 92 > len(head):
        return False
    promised, flags = struct.unpack_from("<Q40xI", head, place + 40)
    return not flags & 1 and promised > size


def _flv_tag(file: BinaryIO, size: int) -> bool:
    if size < 24:
        return False
    length = int.from_bytes(_read(file, size - 4, 4), "big")
    if not 11 <= length <= size - 4:
        return True
    tag = _read(file, size - 4 - length, 4)
    return int.from_bytes(tag[1:4], "big") + 11 != length


def _keys(file: BinaryIO, size: int) -> bool:
    place = 0
    while place + 17 <= size:
        head = _read(file, place, 25)
        if not head.startswith(_MXF):
            return False
        more = head[16] & 0x7F if head[16] & 0x80 else 0
        length = int.from_bytes(head[17 : 17 + more], "big") if more else head[16]
        place += 17 + more + length
    return place > size


def _ogg_page(file: BinaryIO, size: int) -> bool:
    start = max(0, size - _TAIL)
    tail = _read(file, start, _TAIL)
    place = tail.rfind(b"OggS")
    if place < 0 or place + 27 > len(tail):
        return place >= 0
    lacing = tail[place + 27 : place + 27 + tail[place + 26]]
    return place + 27 + tail[place + 26] + sum(lacing) > len(tail)


def _read(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)

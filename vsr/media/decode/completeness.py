"""Detect films that are cut short, in a file or from a pipe, by the sizes in their structure.

FFmpeg reads a truncated download up to its last byte, and then reports an ordinary end of file. The
sizes in the film's structure are checked instead: boxes of ISO/IEC 14496-12, elements of RFC 8794,
chunks of RIFF, the header of ASF, the last tag of FLV, keys of SMPTE ST 336, pages of RFC 3533,
packets of ISO/IEC 13818-1, the index that FFmpeg writes at the end of NUT, and frames of YUV4MPEG2.
"""

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from vsr.system.address import PIPE, seekable_input

ENDS_EARLY = "the source can't be read to its end; what came before is kept"
"""Note about a file that is cut short."""
ANOTHER_FOLLOWS = (
    "another film follows the first in this file, and may not be read: make two files of it"
)
"""Note about concatenated films whose container has one index or header only."""

_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot"}
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MXF = bytes.fromhex("060e2b34")
_NUT, _NUT_INDEX = b"nut/multimedia container\0", bytes.fromhex("4e58dd672f23e64e")
_UNKNOWN = 0xFFFFFFFF
"""FFmpeg's length of a RIFF chunk in an output that it can't seek in."""
_MAGIC_BYTES = 600
"""Bytes that identify a format."""
_ELEMENT_HEAD = 256
"""Bytes that contain the length of an element."""
_HEAD = 1 << 16
_TAIL = 1 << 17
"""Longer than the longest page of Ogg."""


class _Readable(Protocol):
    """Bytes that can be read at any position."""

    def seek(self, position: int, /) -> int: ...

    def read(self, count: int, /) -> bytes: ...


_Check = Callable[[_Readable, int], bool]
"""Returns whether bytes are missing, from the first and last bytes and the size."""


class _Chain:
    """A sequence of elements that store their own length."""

    def __init__(
        self, length_of: Callable[[bytes], int | None], min_bytes: int = 1, slack: int = 0
    ) -> None:
        """Parse elements with `length_of`, which needs their first `min_bytes` bytes.

        It returns the length, or None where that is unknown. The last element may lack `slack`
        bytes.
        """
        self._length_of, self.min_bytes, self._slack = length_of, min_bytes, slack
        self._last = b""
        self.position: int | None = 0
        """Position of the next element; None once that is unknown."""

    def skip(self, head: bytes) -> None:
        """Skip the element that starts with `head`."""
        length = self._length_of(head)
        if self.position is not None:
            self.position = None if length is None else self.position + length
        self._last = head

    def is_cut_short(self, size: int) -> bool:
        """Whether a file of this size ends within an element, or before the media of a fragment."""
        if self.position is None:
            return False
        return self.position > size + self._slack or self._last[4:8] == b"moof"


class StreamEnd:
    """Checks a pipe for missing bytes while it is read."""

    def __init__(self) -> None:
        self._check: _Check | _Chain | None = None
        self._head, self._tail = bytearray(), bytearray()
        self._waiting = bytearray()
        """Bytes that the chain hasn't skipped yet."""
        self._at = self._size = 0
        """Positions of the first of these, and of the next byte from the pipe."""
        self._is_at_end = False

    def feed(self, data: bytes) -> None:
        """Add the next bytes of the pipe; none at its end."""
        self._is_at_end = not data
        self._size += len(data)
        self._head += data[: _HEAD - len(self._head)]
        self._tail += data
        del self._tail[:-_TAIL]
        if self._check is None and (len(self._head) >= _MAGIC_BYTES or self._is_at_end):
            self._check = _check_of(bytes(self._head[:_MAGIC_BYTES]))
        if self._check is None or isinstance(self._check, _Chain):
            self._waiting += data
        if isinstance(self._check, _Chain):
            self._follow(self._check)

    def is_cut_short(self) -> bool:
        """Whether bytes are missing; False before the end, or where the format has no sizes."""
        if not self._is_at_end or self._check is None:
            return False
        if isinstance(self._check, _Chain):
            return self._check.is_cut_short(self._size)
        kept = _Ends(bytes(self._head), bytes(self._tail), self._size)
        return self._check(kept, self._size)

    def _follow(self, chain: _Chain) -> None:
        needed = chain.min_bytes if self._is_at_end else _ELEMENT_HEAD
        while chain.position is not None and chain.position + needed <= self._size:
            start = chain.position - self._at
            chain.skip(bytes(self._waiting[start : start + _ELEMENT_HEAD]))
        done = self._size if chain.position is None else min(chain.position, self._size)
        del self._waiting[: done - self._at]
        self._at = done


class _Ends:
    """The first and last bytes of a pipe; none between them."""

    def __init__(self, head: bytes, tail: bytes, size: int) -> None:
        self._head, self._tail, self._size = head, tail, size
        self._place = 0

    def seek(self, position: int, /) -> int:
        self._place = position
        return position

    def read(self, count: int, /) -> bytes:
        start = self._place - (self._size - len(self._tail))
        if start >= 0:
            return self._tail[start : start + count]
        return self._head[self._place : self._place + count]


def check_end(path: Path) -> list[str]:
    """Return notes about a film that is cut short or followed by another one.

    Of pipes, only standard input redirected from a file is checked. Raises OSError.
    """
    if path == PIPE:
        file = seekable_input()
        return [ENDS_EARLY] if file is not None and is_input_cut_short(file) else []
    notes = [ANOTHER_FOLLOWS] if holds_another(path) else []
    return [*notes, ENDS_EARLY] if is_cut_short(path) else notes


def is_cut_short(path: Path) -> bool:
    """Whether bytes are missing at the end of a file; False where the format has no sizes.

    Raises OSError.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _is_cut_short(file, os.fstat(file.fileno()).st_size)


def holds_another(path: Path) -> bool:
    """Whether a second film follows the first, as in files joined by `cat`.

    FFmpeg stops at the end of the first film's index or header; of fragmented MP4, it reads some of
    the second film, and of Matroska, all of the second and none of a third. Raises OSError.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = _read(file, 0, _HEAD)
        if head[4:8] in _BOXES:
            return _count(file, size, _Chain(_box, min_bytes=8), b"moov", offset=4) > 1
        if head.startswith(_EBML):
            return _count(file, size, _Chain(_element), _SEGMENT, offset=0) > 2
        end, start = size, b""
        if head.startswith(_ASF) and (position := head.find(_ASF_FILE)) >= 0:
            end, start = int.from_bytes(head[position + 40 : position + 48], "little"), _ASF
        elif head.startswith(b"FLV") and (position := head.find(b"filesize\0")) >= 0:
            value = head[position + 9 : position + 17]
            end, start = round(struct.unpack(">d", value)[0]) if len(value) == 8 else size, b"FLV"
        return 0 < end < size and _read(file, end, len(start)) == start


def _count(file: _Readable, size: int, chain: _Chain, name: bytes, offset: int) -> int:
    """Count the elements of a chain with `name`, of four bytes, at `offset` in their header."""
    count = 0
    while chain.position is not None and chain.position + chain.min_bytes <= size:
        head = _read(file, chain.position, _ELEMENT_HEAD)
        count += head[offset : offset + 4] == name
        chain.skip(head)
    return count


def is_input_cut_short(file: BinaryIO) -> bool:
    """Whether bytes are missing at the end of an open file; its position is unchanged."""
    position = file.tell()
    result = _is_cut_short(file, file.seek(0, os.SEEK_END))
    file.seek(position)
    return result


def _is_cut_short(file: _Readable, size: int) -> bool:
    check = _check_of(_read(file, 0, _MAGIC_BYTES))
    if isinstance(check, _Chain):
        while check.position is not None and check.position + check.min_bytes <= size:
            check.skip(_read(file, check.position, _ELEMENT_HEAD))
        return check.is_cut_short(size)
    return check is not None and check(file, size)


def _check_of(head: bytes) -> _Check | _Chain | None:
    if head[4:8] in _BOXES:
        return _Chain(_box, min_bytes=8)
    if head.startswith(_EBML):
        return _Chain(_element)
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return _Chain(_chunk, min_bytes=12, slack=1)  # the last chunk may lack its padding byte
    if head.startswith(_MXF):
        return _Chain(_key, min_bytes=17)
    if head.startswith(b"YUV4MPEG2 "):
        return _Chain(_y4m_frames(head))
    if head.startswith(_NUT):
        return _nut_index
    if head.startswith(_ASF):
        return _asf
    if head.startswith(b"FLV"):
        return _flv_tag
    if head.startswith(b"OggS"):
        return _ogg_page
    for length, first in ((188, 0), (192, 4)):
        if all(head[position : position + 1] == b"G" for position in (first, first + length)):
            return lambda file, size: size % length != 0
    return None


def _box(head: bytes) -> int | None:
    length: int = struct.unpack(">I", head[:4])[0]
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    return length if length >= 8 else None  # 0: extends to the end of the file


def _element(head: bytes) -> int | None:
    key = _vint_length(head)
    length = _vint_length(head[key:])
    if not key or not length:
        return None
    value = int.from_bytes(head[key : key + length], "big") & ((1 << 7 * length) - 1)
    unknown = value == (1 << 7 * length) - 1
    return key + length + (0 if unknown else value)


def _vint_length(data: bytes) -> int:
    """Length in bytes of an EBML integer; 0 if it is invalid."""
    return 9 - data[0].bit_length() if data and data[0] else 0


def _chunk(head: bytes) -> int | None:
    name, length = struct.unpack("<4sI", head[:8])
    if name != b"RIFF" or length in (0, _UNKNOWN):  # the recorder crashed, or wrote into a pipe
        return None
    return int(8 + length + length % 2)


def _key(head: bytes) -> int | None:
    if not head.startswith(_MXF):
        return None
    more = head[16] & 0x7F if head[16] & 0x80 else 0
    length = int.from_bytes(head[17 : 17 + more], "big") if more else head[16]
    return 17 + more + length


def _y4m_frames(head: bytes) -> Callable[[bytes], int | None]:
    """Return the function that computes the lengths of a header and of its frames."""
    fields = {field[:1]: field[1:].decode("latin-1") for field in head.split(b"\n")[0].split()[1:]}
    try:
        width, height = int(fields[b"W"]), int(fields[b"H"])
    except (KeyError, ValueError):
        return lambda line: None
    colour = fields.get(b"C", "420")
    across, down = {"420": (2, 2), "422": (2, 1), "411": (4, 1)}.get(colour[:3], (1, 1))
    samples = width * height
    if not colour.startswith("mono"):
        samples += 2 * (-(-width // across) * -(-height // down))
    if colour == "444alpha":
        samples += width * height
    depth = re.search(r"(?:p|mono)(\d+)$", colour)
    frame = samples * (2 if depth and int(depth[1]) > 8 else 1)

    def length_of(line: bytes) -> int | None:
        end = line.find(b"\n") + 1
        if line.startswith(b"FRAME"):
            return end + frame
        return end if end and line.startswith(b"YUV4MPEG2 ") else None

    return length_of


def _nut_index(file: _Readable, size: int) -> bool:
    back = int.from_bytes(_read(file, size - 12, 8), "big")
    if not 0 < back <= size:
        return True
    start = _read(file, size - back, 8)
    return bool(start) and start != _NUT_INDEX


def _asf(file: _Readable, size: int) -> bool:
    head = _read(file, 0, _HEAD)
    position = head.find(_ASF_FILE)
    if position < 0 or position + 92 > len(head):
        return False
    promised, flags = struct.unpack_from("<Q40xI", head, position + 40)
    return not flags & 1 and promised > size


def _flv_tag(file: _Readable, size: int) -> bool:
    if size < 24:
        return False
    length = int.from_bytes(_read(file, size - 4, 4), "big")
    if not 11 <= length <= size - 4:
        return True
    tag = _read(file, size - 4 - length, 4)
    return bool(tag) and int.from_bytes(tag[1:4], "big") + 11 != length


def _ogg_page(file: _Readable, size: int) -> bool:
    start = max(0, size - _TAIL)
    tail = _read(file, start, _TAIL)
    position = tail.rfind(b"OggS")
    if position < 0 or position + 27 > len(tail):
        return position >= 0
    lacing = tail[position + 27 : position + 27 + tail[position + 26]]
    return position + 27 + tail[position + 26] + sum(lacing) > len(tail)


def _read(file: _Readable, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)

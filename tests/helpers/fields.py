"""Interlaced and telecined films by Debian's ffmpeg, and the films that they come from."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.helpers.ffmpeg import ffmpeg, ffmpeg_output

LOSSLESS = ("-c:v", "ffv1", "-pix_fmt", "yuv420p")
FLAGGED = ("-flags", "+ildct+ilme")
NTSC_FILM = "24000/1001"
GLIDING = "lum='128+60*sin((X+3*N)/5)*cos((Y+X/2-N)/7)+40*sin((2*X-N)/9)':cb=128:cr=128"
"""Smooth motion, as samples of a function of place and time."""


class WovenFilm(NamedTuple):
    """A film of fields, and the progressive film that they come from."""

    path: Path
    original: Path


def lumas(path: Path, size: tuple[int, int] = (64, 48)) -> NDArray[np.int16]:
    """Luma of all frames of a film (T, H, W), decoded by ffmpeg."""
    data = ffmpeg_output("-i", path, "-vf", "extractplanes=y", "-f", "rawvideo", "-")
    return np.frombuffer(data, np.uint8).reshape(-1, size[1], size[0]).astype(np.int16)


def original(path: Path, rate: str, frames: int) -> Path:
    """A progressive film with motion, without loss."""
    picture = ("-f", "lavfi", "-i", f"nullsrc=size=64x48:rate={rate},geq={GLIDING}")
    ffmpeg(*picture, "-frames:v", frames, *LOSSLESS, path)
    return path


def interlaced(
    path: Path,
    frames: int = 20,
    rate: str = "50",
    order: str = "top",
    flag: str = "tff",
    codec: tuple[str, ...] = LOSSLESS,
) -> WovenFilm:
    """Fields of a film with twice the frame rate."""
    base = original(path.with_name(f"{path.stem}-original.nut"), rate, 2 * frames)
    weave = f"tinterlace=interleave_{order},setfield={flag}"
    flags = () if flag == "prog" else FLAGGED
    ffmpeg("-i", base, "-vf", weave, *codec, *flags, path)
    return WovenFilm(path, base)


def telecined(
    path: Path,
    frames: int = 24,
    order: str = "top",
    flag: str = "prog",
    codec: tuple[str, ...] = LOSSLESS,
    more: tuple[str, ...] = (),
    rate: str = NTSC_FILM,
) -> WovenFilm:
    """Film of 24 frames per second as video of 30."""
    base = original(path.with_name(f"{path.stem}-original.nut"), rate, frames)
    telecine = f"telecine=first_field={order}:pattern=23,setfield={flag}"
    flags = () if flag == "prog" else FLAGGED
    ffmpeg("-i", base, *more, "-vf", telecine, *codec, *flags, path)
    return WovenFilm(path, base)


def psnr(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    """Peak signal-to-noise ratio of 8-bit samples, in dB."""
    error = float(np.mean(np.square(one.astype(float) - other)))
    return 10 * float(np.log10(255**2 / max(error, 1e-9)))


def soft_telecined(path: Path, frames: int = 24) -> Path:
    """MPEG-2 film whose flags tell players to repeat fields, as on DVDs."""
    plain = path.with_suffix(".plain.m2v")
    picture = ("-f", "lavfi", "-i", f"nullsrc=size=64x64:rate=30000/1001,geq={GLIDING}")
    coding = ("-c:v", "mpeg2video", "-q:v", "2", "-bf", "0", "-g", "12", "-f", "mpeg2video")
    ffmpeg(*picture, "-frames:v", frames, *coding, plain)
    data, place, index = bytearray(plain.read_bytes()), 0, 0
    while (place := data.find(b"\0\0\1\xb5", place)) >= 0:
        extension = data[place + 4] >> 4
        if extension == 1:  # of the sequence, which is no longer progressive
            data[place + 5] &= ~0x08
        elif extension == 8:  # of a picture: top field first, and repeat first field
            top, repeat = ((1, 1), (0, 0), (0, 1), (1, 0))[index % 4]
            data[place + 7] = data[place + 7] & 0x7D | top << 7 | repeat << 1
            index += 1
        place += 4
    plain.write_bytes(data)
    ffmpeg("-fflags", "+genpts", "-f", "mpegvideo", "-i", plain, "-c", "copy", path)
    plain.unlink()
    return path

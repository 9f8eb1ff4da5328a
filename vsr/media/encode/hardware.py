"""Hardware encoders: which FFmpeg has, what they support, and their options for quality and speed.

The formats are those that all generations of the hardware support.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from vsr.errors import OutputError
from vsr.media.encode.codecs import ON_CPU, Codec, CodecName

HardwareName = Literal["nvenc", "qsv", "amf", "videotoolbox", "vaapi"]
EncoderName = Literal["cpu", "gpu", HardwareName]
"""Values of `--encoder`; `gpu` is another name of `nvenc`."""
ENCODER_NAMES: tuple[str, ...] = ("cpu", "gpu", *get_args(HardwareName))

_NV12 = {"yuv420p": "nv12", "yuv420p10le": "p010le"}
_P010 = {"yuv420p10le": "p010le"}
_QSV_PRESETS = ("veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_AMF_PRESETS = ("speed", "balanced", "quality")
_QINDEX_STEP = 4
"""Steps of AV1's quantiser index, 0 to 255, in a step of `--crf`."""
_QP2LAMBDA = 118
"""FFmpeg's unit of `global_quality` where it is a quantiser scale."""


@dataclass(frozen=True)
class Hardware:
    """One manufacturer's encoders, or one programming interface to them."""

    label: str
    """Name in messages."""
    presets: tuple[str, ...]
    default_preset: str
    crf: Mapping[CodecName, int]
    """Codecs, each with the default of `--crf`."""
    chroma: tuple[tuple[int, int], ...] = ((2, 2),)
    pixel_formats: Mapping[str, str] = field(default_factory=lambda: _NV12)
    uploads: bool = False
    """Whether frames have to be copied into the memory of the device before encoding."""


_HARDWARE: dict[HardwareName, Hardware] = {
    "nvenc": Hardware(
        label="NVIDIA NVENC",
        presets=tuple(f"p{level}" for level in range(1, 8)),
        default_preset="p6",
        crf={"h264": 19, "hevc": 21, "av1": 25},
        chroma=((2, 2), (1, 1)),
        pixel_formats=_P010 | {"yuv444p10le": "yuv444p16le"},
    ),
    "qsv": Hardware(
        label="Intel Quick Sync",
        presets=_QSV_PRESETS,
        default_preset="medium",
        crf={"h264": 20, "hevc": 22, "av1": 24},
    ),
    "amf": Hardware(
        label="AMD AMF",
        presets=_AMF_PRESETS,
        default_preset="quality",
        crf={"h264": 19, "hevc": 21, "av1": 25},
        pixel_formats=_P010,
    ),
    "videotoolbox": Hardware(
        label="Apple VideoToolbox",
        presets=(),
        default_preset="",
        crf={"h264": 18, "hevc": 20},
        pixel_formats=_P010,
    ),
    "vaapi": Hardware(
        label="VA-API",
        presets=(),
        default_preset="",
        crf={"h264": 20, "hevc": 22, "av1": 25},
        uploads=True,
    ),
}
_LONGEST_SIDE: dict[CodecName, int] = {"h264": 4096, "hevc": 8192, "av1": 8192}


def hardware_of(encoder: EncoderName) -> Hardware:
    """Look up the hardware of an encoder other than `cpu`."""
    return _HARDWARE[_family(encoder)]


def codec_of(name: CodecName, encoder: EncoderName) -> Codec:
    """Look up the encoder of a codec; raises `OutputError` if the hardware has none."""
    if encoder == "cpu":
        return ON_CPU[name]
    hardware = hardware_of(encoder)
    if name not in hardware.crf:
        raise OutputError(
            f"--encoder {encoder}: {hardware.label} doesn't encode {name}; "
            f"use one of {', '.join(hardware.crf)}, or --encoder cpu"
        )
    is_nvenc = _family(encoder) == "nvenc"
    return replace(
        ON_CPU[name],
        encoder=f"{name}_{_family(encoder)}",
        crf=hardware.crf[name],
        presets=hardware.presets,
        default_preset=hardware.default_preset,
        depths=(8,) if name == "h264" else (8, 10),
        chroma=((2, 2),) if name == "av1" else hardware.chroma,
        longest_side=_LONGEST_SIDE[name],
        sitings=("left",),
        aspect=is_nvenc or name != "av1",
        max_crf=63 if name == "av1" and _family(encoder) != "qsv" else 51,
        pixel_formats=hardware.pixel_formats,
    )


def quality_options(name: CodecName, encoder: EncoderName, crf: int) -> dict[str, str]:
    """Return FFmpeg's options for the constant quality nearest to a constant rate factor."""
    qindex = str(_QINDEX_STEP * crf) if name == "av1" else str(crf)
    match _family(encoder):
        case "nvenc":
            return {"rc": "vbr", "cq": str(crf), "b": "0"}
        case "qsv":  # intelligent constant quality, from 1
            return {"global_quality": str(max(1, crf))}
        case "amf":
            frames = ("qp_i", "qp_p") if name == "hevc" else ("qp_i", "qp_p", "qp_b")
            return {"rc": "cqp"} | dict.fromkeys(frames, qindex)
        case "videotoolbox":  # 1 to 100, higher is better
            quality = round(100 - 99 * crf / 51)
            return {"flags": "+qscale", "global_quality": str(_QP2LAMBDA * quality)}
        case "vaapi":
            key = "global_quality" if name == "av1" else "qp"
            return {"rc_mode": "CQP", key: str(max(1, int(qindex)))}


def speed_options(encoder: EncoderName, preset: str) -> dict[str, str]:
    """Return FFmpeg's options for a preset."""
    if not preset:
        return {}
    return {"preset": preset} | ({"tune": "hq"} if _family(encoder) == "nvenc" else {})


def _family(encoder: EncoderName) -> HardwareName:
    assert encoder != "cpu"
    return "nvenc" if encoder == "gpu" else encoder

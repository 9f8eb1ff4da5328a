"""Encoder settings, and the properties of the stream that they produce."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field

from vsr.config import check_dataclass
from vsr.errors import OutputError
from vsr.media.encode.codecs import PACKED_FOR_FFV1, Codec, CodecName
from vsr.media.encode.encoder_options import check_encoder_options, sets_rate, with_parameter
from vsr.media.encode.hardware import EncoderName, codec_of
from vsr.media.frame import PixelLayout, StreamInfo

_STRONGEST_FILM_GRAIN = 50
"""The highest `film-grain` of SVT-AV1."""


@dataclass(frozen=True)
class EncoderSettings:
    """Options of the video encoder. Raises `VsrError` for values of a wrong type."""

    codec: CodecName = "h264"
    crf: Annotated[int, Field(ge=0)] | None = None
    """Constant rate factor: lower is better and larger; None for the codec's default."""
    preset: str | None = None
    """The encoder's name for a trade-off of speed and size; None for the codec's default."""
    encoder: EncoderName = "cpu"
    """Where to encode: on the CPU, or with a hardware encoder of h264, hevc or av1, which is
    faster, at lower quality. `gpu` is `nvenc`."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options of FFmpeg's encoder by name, such as `{"tune": "film"}`. Parameters of the
    library itself are in `x264-params`, `x265-params` and `svtav1-params`."""

    def __post_init__(self) -> None:
        """Raise `ConfigError` for values of a wrong type."""
        check_dataclass(self)

    @property
    def capabilities(self) -> Codec:
        """The encoder's capabilities; raises `OutputError` where the hardware has no such one."""
        return codec_of(self.codec, self.encoder)

    def layout_for(self, layout: PixelLayout) -> PixelLayout:
        """Choose the supported layout nearest to `layout`, with the least loss."""
        codec = self.capabilities
        chroma = (layout.across, layout.down)
        if chroma not in codec.chroma:
            # Finer chroma than the codec supports becomes its finest, coarser its coarsest.
            chroma = codec.chroma[-1] if chroma < codec.chroma[-1] else codec.chroma[0]
        if layout.alpha and codec.alpha and chroma not in codec.alpha:
            chroma = codec.alpha[0]
        depth = layout.bit_depth if layout.bit_depth in codec.depths else codec.depths[-1]
        return PixelLayout(depth, *chroma, alpha=layout.alpha and bool(codec.alpha))


def check_options(settings: EncoderSettings, suffix: str) -> None:
    """Raise `OutputError` where a codec doesn't fit a container, or by `check_values`."""
    codec = settings.capabilities
    if suffix not in codec.containers:
        allowed = ", ".join(sorted(codec.containers))
        raise OutputError(f"{suffix} doesn't support {settings.codec}; use {allowed}")
    check_values(settings)


def check_values(settings: EncoderSettings) -> None:
    """Raise `OutputError` where a codec lacks an option, or an option can't have its value."""
    codec = settings.capabilities
    for option, value, is_supported in (
        ("crf", settings.crf, codec.crf is not None),
        ("preset", settings.preset, bool(codec.presets)),
    ):
        if value is not None and not is_supported:
            raise OutputError(f"{settings.codec} has no --{option}; leave it out")
    if settings.crf is not None and settings.crf > codec.max_crf:
        raise OutputError(
            f"--crf {settings.crf}: {settings.codec} has 0 to {codec.max_crf}; lower is better"
        )
    if settings.preset is not None and settings.preset not in codec.presets:
        known = ", ".join(codec.presets)
        raise OutputError(
            f"unknown preset {settings.preset!r} for {settings.codec}; use one of {known}"
        )
    check_encoder_options(settings.options, codec.encoder)
    if settings.crf is not None and (key := sets_rate(settings.options)):
        raise OutputError(f"--crf and --encoder-option {key} contradict each other; leave one out")


def with_film_grain(settings: EncoderSettings, strength: float) -> EncoderSettings:
    """Request film grain from SVT-AV1, which adds it in the decoder; `strength` is 0 to 1.

    Raises `OutputError` if the options request it too.
    """
    parameters = settings.options.get("svtav1-params", "")
    if "film-grain" in parameters:
        raise OutputError(
            f"--grain and --encoder-option svtav1-params={parameters} both set the film grain; "
            "leave one out"
        )
    level = max(1, round(_STRONGEST_FILM_GRAIN * strength))
    added = f"film-grain={level}:film-grain-denoise=0"
    return replace(settings, options=with_parameter(settings.options, "svtav1-params", added))


def synthesizes_grain(settings: EncoderSettings) -> bool:
    """Whether the encoder describes film grain for decoders to add."""
    return settings.capabilities.encoder == "libsvtav1"


def output_info(
    source: StreamInfo, size: tuple[int, int], matrix: int, settings: EncoderSettings
) -> StreamInfo:
    """Describe the stream that results from upscaling `source` to `size` = (width, height).

    `matrix` is the H.273 matrix code to write. It is set even where the source doesn't specify one:
    players would guess it from the new height. Chroma keeps its siting if the codec can specify it;
    otherwise it moves to the left, the default of players. Raises `OutputError` where frames become
    too large.
    """
    codec = settings.capabilities
    width, height = size
    if max(width, height) > codec.longest_side:
        raise OutputError(
            f"{settings.codec} supports frames of up to {codec.longest_side} pixels a side, "
            f"not {width}x{height}; use a smaller size or another --codec"
        )
    check_frame_size(size)
    siting = source.colour.siting if source.colour.siting in codec.sitings else "left"
    return replace(
        source,
        width=width,
        height=height,
        layout=settings.layout_for(source.layout),
        coded_bits=None,
        colour=replace(source.colour, matrix=matrix, siting=siting),
    )


def check_frame_size(size: tuple[int, int]) -> None:
    """Raise `OutputError` where FFmpeg can't hold a frame of `size` = (width, height)."""
    width, height = size
    if (8 * width + 1024) * (height + 128) >= 2**31:  # av_image_check_size2
        raise OutputError(
            f"frames of {width}x{height} are too large for FFmpeg; use a smaller size"
        )


def unsupported_features(
    source: StreamInfo, output: StreamInfo, settings: EncoderSettings, source_codec: str = ""
) -> list[str]:
    """List features of the source that the codec can't store, one line each."""
    lost = []
    if source.layout.alpha and not output.layout.alpha:
        lost.append(f"transparency ({settings.codec} holds none; prores and ffv1 do)")
    depth = output.layout.bit_depth
    if source_codec == settings.codec == "prores" and output.layout.across == 1:
        depth = 12  # as it is decoded; FFmpeg encodes it from 10
    if source.bits > depth and settings.codec != "pictures":  # which have losses of their own
        more = "" if settings.codec in ("hevc", "ffv1") else "; hevc and ffv1 hold 12"
        if settings.codec == "ffv1" and output.layout.name in PACKED_FOR_FFV1:
            more = f", stored as {PACKED_FOR_FFV1[output.layout.name]}"
        lost.append(f"{source.bits} bit depth ({settings.codec} is written with {depth}{more})")
    finer = (source.layout.across, source.layout.down) < (output.layout.across, output.layout.down)
    if finer:
        lost.append(f"chroma finer than {output.layout.name} (h264, hevc and ffv1 hold it)")
    return lost


def stores_aspect_ratio(settings: EncoderSettings) -> bool:
    """Whether the codec's bitstream stores the pixel aspect ratio."""
    return settings.capabilities.aspect


def estimate_bytes(info: StreamInfo, settings: EncoderSettings, frames: int) -> int:
    """Estimate the size of the encoded video."""
    per_pixel = settings.capabilities.bits_per_pixel * info.layout.bit_depth / 8
    return round(info.width * info.height * frames * per_pixel / 8)

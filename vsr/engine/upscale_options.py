"""The options of an upscaling run that determine its output."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from vsr.config import check_dataclass
from vsr.engine.backend_options import BackendName, Precision, Tiling
from vsr.media.decode.decoder import Decoder
from vsr.media.decode.deinterlace import Deinterlace
from vsr.media.decode.part import Part
from vsr.media.encode.settings import EncoderSettings, synthesizes_grain
from vsr.media.mux.copy_plan import AudioMode, SubtitleMode

Rotate = Literal["keep", "apply"]
_Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class UpscaleOptions:
    """Options that determine the output. See `upscale.upscale_video`.

    Raises `ConfigError` for values of a wrong type, or out of range.
    """

    model: str | None = None
    scale: float | None = None
    width: int | None = None
    height: int | None = None
    size: str | None = None
    square_pixels: bool = False
    detail: _Share | None = None
    device: str = "auto"
    backend: BackendName = "auto"
    provider: str = "auto"
    """Execution provider of ONNX Runtime, such as "cuda:1"."""
    precision: Precision = "auto"
    tiling: Tiling = "auto"
    settings: EncoderSettings = field(default_factory=EncoderSettings)
    deinterlace: Deinterlace = "auto"
    rotate: Rotate = "keep"
    decoder: Decoder = "cpu"
    denoise: _Share | None = None
    steady: _Share = 0.0
    deblock: _Share = 0.0
    video: int | None = None
    """The video stream to upscale, from 1; None for the default one."""
    audio: AudioMode = "auto"
    subtitles: SubtitleMode = "copy"
    grain: _Share = 0.0
    part: Part | None = None
    inverse_telecine: bool = False
    rate: Fraction | None = None
    """Frames per second of numbered pictures."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_dataclass(self)


def picture_options(options: UpscaleOptions) -> UpscaleOptions:
    """Return options with the same frames, without all that doesn't change them.

    Film grain that decoders would add is drawn into the frames.
    """
    codec = options.settings.codec
    if options.grain and synthesizes_grain(options.settings):
        codec = "hevc"
    return replace(
        options, settings=EncoderSettings(codec), audio="auto", subtitles="copy", part=None
    )

"""Options of a job, a preview or a plan: those of `vsr upscale` that make sense in a browser."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from vsr.config import Config

if TYPE_CHECKING:
    from vsr.engine.upscale_options import UpscaleOptions

_Share = Annotated[float, Field(ge=0, le=1)]
_Side = Annotated[int, Field(ge=1, le=65_536)]
_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
"""A name, never a path: a client can't name files of the server."""
_Time = Annotated[str, Field(max_length=60)] | Annotated[float, Field(ge=0)]

Container = Literal["mp4", "mov", "mkv", "webm"]
DEFAULT_CONTAINER: Container = "mp4"
_OPTION_NAMES = {"start": "from", "end": "to"}
"""Options of the command line whose names differ from those of the fields."""


class JobOptions(Config):
    """How a film is upscaled: as by the options of `vsr upscale` with the same names."""

    model: _Name | None = None
    """`fast`, `best` or the name of a model, included or the owner's own; by default `fast`."""
    scale: Annotated[float, Field(gt=0, le=64)] | None = None
    """Output size over input size; by default 4 up to 576 lines, else 2."""
    width: _Side | None = None
    """Width of the output."""
    height: _Side | None = None
    """Height of the output."""
    size: Annotated[str, Field(max_length=20)] | None = None
    """Screen that the output fits into, such as `1080p`."""
    detail: _Share | None = None
    """Texture of the model's twin; by default that of the model."""
    denoise: _Share | None = None
    """Strength of the temporal filter."""
    steady: _Share | None = None
    """Strength of the filter along motion, for models of single pictures."""
    deblock: _Share | None = None
    """Removal of the blocks of compression."""
    grain: _Share | None = None
    """Strength of film grain."""
    profile: _Name | None = None
    """Name of an included profile; the other options take precedence."""
    deinterlace: Literal["auto", "on", "off", "double"] | None = None
    """Frames to deinterlace."""
    rotate: Literal["keep", "apply"] | None = None
    """Whether the rotation tag is kept or applied."""
    inverse_telecine: bool = False
    """Restore the frames of film from 3:2 pulldown."""
    container: Container | None = None
    """Format of the output; by default mp4."""
    codec: Literal["h264", "hevc", "av1", "prores", "ffv1"] | None = None
    """Video codec; by default h264, or av1 in webm."""
    crf: Annotated[int, Field(ge=0, le=63)] | None = None
    """Constant rate factor: lower is better and larger."""
    preset: Annotated[str, Field(max_length=40)] | None = None
    """Speed preset of the encoder."""
    audio: Literal["copy", "auto", "none"] | None = None
    """What happens to sound."""
    subtitles: Literal["copy", "none"] | None = None
    """What happens to subtitles."""
    video: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Video stream to take, from 1."""
    start: _Time | None = None
    """Start of the part to upscale, such as `1:30`, `120f`, or seconds."""
    end: _Time | None = None
    """End of the part, excluded."""
    backend: Literal["auto", "torch", "openvino", "onnx"] | None = None
    """Software that computes the model."""

    @property
    def suffix(self) -> str:
        """Suffix of the output, with its dot."""
        return f".{self.container or DEFAULT_CONTAINER}"

    def arguments(self) -> list[str]:
        """Return the options as arguments of `vsr upscale`; the container is in the output."""
        words = []
        for name, value in self._given().items():
            option = f"--{_OPTION_NAMES.get(name, name).replace('_', '-')}"
            words.append(option if value is True else f"{option}={value}")
        return words

    def upscale_options(self) -> "UpscaleOptions":
        """Return the options as those of the engine, checked as `vsr upscale` does.

        Imports the engine's options; call it in a thread. Raises `VsrError`.
        """
        from vsr.engine.output_size import SizeRequest
        from vsr.engine.profile import as_keywords, read_profile, without_overridden
        from vsr.engine.upscale_options import UpscaleOptions
        from vsr.media.decode.part import Part
        from vsr.media.encode.settings import check_options
        from vsr.zoo import choose_model, model_path

        values = self._given()
        bounds = [values.pop(name, None) for name in ("start", "end")]
        if (name := values.pop("profile", None)) is not None:
            values = without_overridden(read_profile(name), values, self.suffix) | values
        values.setdefault("codec", "av1" if self.suffix == ".webm" else "h264")
        part = None if bounds == [None, None] else Part.parse(*bounds)
        options = UpscaleOptions(**as_keywords(values), part=part)
        check_options(options.settings, self.suffix)
        SizeRequest(options.scale, options.width, options.height, options.size)
        model_path(choose_model(options.model, None, 0))
        return options

    def _given(self) -> dict[str, Any]:
        """Return the options that differ from the default, without the container."""
        values = self.model_dump(exclude_none=True, exclude={"container"})
        return {name: value for name, value in values.items() if value is not False}

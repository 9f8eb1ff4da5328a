"""A VapourSynth filter: `clip = vsr.vapoursynth.upscale(clip)`."""

import weakref
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np

from vsr.engine.backend_options import BackendName, Precision, Tiling
from vsr.engine.backends import after_trial, pick_backend, place
from vsr.engine.backends.base import Backend
from vsr.engine.digests import weights_digest
from vsr.engine.frame_server import WARM_UP_FRAMES, ClipFrame, FrameServer, load_generator
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import VsrError
from vsr.imaging.colour import (
    CODE_OF_MATRIX,
    ColourSpec,
    Siting,
    Subsampling,
    matrix_from_code,
)
from vsr.media.decode.conform import is_specified

try:
    import vapoursynth as vs
except ImportError as error:
    raise VsrError(
        "vsr.vapoursynth needs VapourSynth: pip install vapoursynth, with Python 3.12 or newer"
    ) from error

_DEEPEST = 14
"""Bits per sample of clips of 16 bits, of floats and of RGB while they are upscaled."""
_SITINGS = {0: Siting.LEFT, 1: Siting.CENTER, 2: Siting.TOP_LEFT}
"""By `_ChromaLocation`."""
_CODE_OF_SITING = {siting: code for code, siting in _SITINGS.items()}
_SUBSAMPLINGS = (1, 1), (1, 0), (0, 0)
"""Binary logarithms, horizontally and vertically, of 4:2:0, 4:2:2 and 4:4:4."""


def upscale(
    clip: Any,
    model: str | Path | None = None,
    scale: int | None = None,
    detail: float | None = None,
    *,
    denoise: float | None = None,
    steady: float = 0.0,
    device: str = "auto",
    backend: BackendName = "auto",
    provider: str = "auto",
    precision: Precision = "auto",
    tiling: Tiling = "auto",
    warm_up: int | None = WARM_UP_FRAMES,
) -> Any:
    """Upscale a clip, and return the clip of the upscaled frames, in the same format.

    The clip has a constant size and format: YUV 4:2:0, 4:2:2 or 4:4:4, RGB or GRAY, of integers or
    floats. `scale` is an integer up to the scale of the model. All options but `warm_up` are those
    of `vsr upscale`.

    Frames are read in order with two frames of look-ahead. The state is reset at cuts: where frames
    have the property `_SceneChangePrev`, where it is 1, and else where the detector finds a cut.
    After a seek, frames from the last cut on are upscaled first, but at most `warm_up`, or any
    number if it is None; see `FrameServer` for what this changes.

    Colours are read by `_Matrix`, `_Range` (`_ColorRange`) and `_ChromaLocation`. An unspecified
    matrix follows from the height, an unspecified range is limited, an unspecified location is
    left; the properties of the returned frames are these. All other properties are copied.

    Raises `vs.Error`.
    """
    try:
        name = None if model is None else str(model)
        UpscaleOptions(  # checks the values
            model=name,
            scale=scale,
            detail=detail,
            denoise=denoise,
            steady=steady,
            device=device,
            backend=backend,
            provider=provider,
            precision=precision,
            tiling=tiling,
        )
        if warm_up is not None and (not isinstance(warm_up, int) or warm_up < 0):
            raise VsrError(f"warm_up is a count of frames or None, not {warm_up!r}")
        _check_format(clip)
        generator = load_generator(name, scale, detail, clip.height, denoise, steady)
        placement, note = after_trial(place(backend, device, provider, precision), generator)
        if note:
            vs.core.log_message(vs.MESSAGE_TYPE_WARNING, f"vsr: {note}")
        source, restore = _with_planes(clip)
        weights = weights_digest(generator.state_dict())
        options = (backend, precision, tiling, clip.num_frames)
        built: dict[Hashable, Backend] = {}

        def build(spec: ColourSpec) -> Backend:
            key = (weights, placement, options, spec, clip.width, clip.height)
            found = _SPARE.take(key)
            built.clear()
            built[key] = found or pick_backend(
                name=backend,
                precision=precision,
                generator=generator,
                device=placement.device,
                specs=(spec, spec),
                size=(clip.height, clip.width),
                frames=clip.num_frames,
                tiling=tiling,
                openvino_device=placement.openvino_device,
                provider=placement.provider,
            )
            return built[key]

        server = FrameServer(_reader(source), clip.num_frames, build, warm_up)
        weakref.finalize(server, _SPARE.give, built).atexit = False
        return restore(_served(source, server, generator.scale))
    except VsrError as error:
        raise vs.Error(f"vsr: {error}") from None


def _check_format(clip: Any) -> None:
    """Raise `VsrError` for a clip that can't be upscaled."""
    if not isinstance(clip, vs.VideoNode):
        raise VsrError(f"expected a video clip, got {type(clip).__name__}")
    form = clip.format
    if form is None or form.color_family == vs.UNDEFINED or not clip.width or not clip.height:
        raise VsrError("the clip has frames of several sizes or formats; convert them to one")
    if (
        form.color_family == vs.YUV
        and (form.subsampling_w, form.subsampling_h) not in _SUBSAMPLINGS
    ):
        raise VsrError(
            f"chroma subsampling of {form.name} isn't supported; convert the clip, such as by "
            "core.resize.Bicubic(clip, format=vs.YUV420P8)"
        )


def _with_planes(clip: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Convert a clip to YUV of integers that backends take.

    Also returns the function that converts the upscaled clip back.
    """
    form = clip.format
    is_deep = form.sample_type == vs.FLOAT or form.bits_per_sample > _DEEPEST
    bits = _DEEPEST if is_deep or form.color_family == vs.RGB else form.bits_per_sample
    if form.color_family == vs.RGB:
        target = _format(vs.YUV, bits)
        source = clip.resize.Point(format=target, matrix_s="709", range_s="limited")
        return source, lambda high: high.resize.Point(format=form.id, matrix_in_s="709")
    target = _format(form.color_family, bits, form.subsampling_w, form.subsampling_h)
    source = clip.resize.Point(format=target) if is_deep else clip
    if form.color_family == vs.GRAY:
        neutral = vs.core.std.BlankClip(source, color=1 << (bits - 1), keep=True)
        source = vs.core.std.ShufflePlanes([source, neutral, neutral], [0, 0, 0], vs.YUV)

    def restore(high: Any) -> Any:
        if form.color_family == vs.GRAY:
            high = vs.core.std.ShufflePlanes(high, 0, vs.GRAY)
        return high.resize.Point(format=form.id) if is_deep else high

    return source, restore


def _format(family: Any, bits: int, across: int = 0, down: int = 0) -> int:
    """Return a format of integers."""
    return int(vs.core.query_video_format(family, vs.INTEGER, bits, across, down).id)


class _Spare:
    """Keeps the backend of the last freed filter for the next one with the same options.

    Players create the filter again after each seek.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, Backend] = {}

    def take(self, key: Hashable) -> Backend | None:
        """Return a backend, which nobody else uses, or None."""
        return self._kept.pop(key, None)

    def give(self, built: dict[Hashable, Backend]) -> None:
        """Keep a backend instead of the last one."""
        if built:
            self._kept = built


_SPARE = _Spare()


def _reader(clip: Any) -> Callable[[int], ClipFrame]:
    """Return a function that reads frames of a clip by number."""
    warned: list[int] = []

    def read(index: int) -> ClipFrame:
        frame = clip.get_frame(index)
        if frame.props.get("_FieldBased", 0) and not warned:
            warned.append(index)
            text = f"vsr: frame {index} is interlaced; deinterlace the clip before it is upscaled"
            vs.core.log_message(vs.MESSAGE_TYPE_WARNING, text)
        mark = frame.props.get("_SceneChangePrev")
        return ClipFrame(
            planes=tuple(np.array(frame[plane]) for plane in range(3)),
            spec=_colour_spec(frame),
            is_cut=None if mark is None else mark == 1 or index == 0,
            source=frame,
        )

    return read


def _served(clip: Any, server: FrameServer, scale: int) -> Any:
    """Return the upscaled clip of one with planes that backends take."""
    canvas = vs.core.std.BlankClip(
        clip, width=scale * clip.width, height=scale * clip.height, keep=True
    )

    def write(n: int, f: Any) -> Any:
        try:
            planes, low = server.upscale(n)
        except VsrError as error:
            raise vs.Error(f"vsr: {error}") from None
        output = f.copy()
        for index, plane in enumerate(planes):
            np.copyto(np.asarray(output[index]), plane)
        _copy_properties(low, output)
        return output

    return vs.core.std.ModifyFrame(canvas, canvas, write)


def _colour_spec(frame: Any) -> ColourSpec:
    """Return the colour description of a YUV frame; raises `VsrError`."""
    props, form = frame.props, frame.format
    location = int(props.get("_ChromaLocation", 0))
    if not form.subsampling_h:
        location %= 2  # locations that differ only vertically
    if location not in _SITINGS:
        raise VsrError(
            f"chroma location {location} isn't supported; convert the clip, such as by "
            'core.resize.Bicubic(clip, chromaloc_s="left")'
        )
    return ColourSpec(
        matrix=matrix_from_code(_matrix_code(frame), frame.height),
        full_range=_is_full_range(props),
        bit_depth=form.bits_per_sample,
        subsampling=Subsampling(1 << form.subsampling_w, 1 << form.subsampling_h),
        siting=_SITINGS[location],
    )


def _matrix_code(frame: Any) -> int:
    """Return the matrix; `_ColorSpace` is its name in some versions of mpv."""
    return int(frame.props.get("_Matrix", frame.props.get("_ColorSpace", 2)))


def _is_full_range(props: Any) -> bool:
    if _has_range():
        return bool(props.get("_Range", 0) == 1)
    return bool(props.get("_ColorRange", 1) == 0)


def _has_range() -> bool:
    """Return whether this VapourSynth has `_Range`, which replaced `_ColorRange`."""
    return hasattr(vs, "Range")


def _copy_properties(low: ClipFrame, output: Any) -> None:
    """Copy the properties of a frame, and specify its colours."""
    for name in list(output.props):
        del output.props[name]
    output.props.update(low.source.props)
    spec = low.spec
    if not is_specified(int(output.props.get("_Matrix", 2))):
        code = _matrix_code(low.source)
        output.props["_Matrix"] = code if is_specified(code) else CODE_OF_MATRIX[spec.matrix]
    if _has_range():
        output.props["_Range"] = int(spec.full_range)
    else:
        output.props["_ColorRange"] = int(not spec.full_range)
    if spec.subsampling != (1, 1):
        output.props["_ChromaLocation"] = _CODE_OF_SITING[spec.siting]

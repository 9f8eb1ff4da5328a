"""Options that the user passes to FFmpeg's encoder: names, reserved names, merging.

Some options hold parameters of the library behind the encoder, as `key=value:key=value`.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

import av
from av.codec.context import OptionFlags

from vsr.errors import OutputError

PARAMETERS = ("x264-params", "x265-params", "svtav1-params")
"""Options that hold parameters of a library."""


def _reasons(*groups: tuple[str, str]) -> dict[str, str]:
    """Map each name to the reason of its group, given as names separated by spaces and a reason."""
    return {name: reason for names, reason in groups for name in names.split()}


_FROM_FILM = "vsr sets it from the film"
_ONE_PASS = "each frame is encoded once"
_RESERVED = _reasons(
    ("crf cq", "use --crf"),
    ("preset", "use --preset"),
    ("x264opts", "use x264-params"),
    ("video_size pixel_format time_base aspect sar field_order dolbyvision", _FROM_FILM),
    ("colorspace color_primaries color_trc color_range chroma_sample_location", _FROM_FILM),
    ("bits_per_raw_sample alpha_mode", _FROM_FILM),
    ("pass passlogfile stats x265-stats", _ONE_PASS),
)
"""Options that vsr sets, or that don't work with it, each with the reason."""
_RESERVED_PARAMETERS = _reasons(
    ("crf", "use --crf"),
    ("preset", "use --preset"),
    ("width height input-res resize-mode frame-resz-events", _FROM_FILM),
    ("crop crop-rect display-window", _FROM_FILM),
    ("fps fps-num fps-denom timebase force-cfr sar frame-packing", _FROM_FILM),
    ("input-depth output-depth input-csp output-csp color-format", _FROM_FILM),
    ("colorprim transfer colormatrix range fullrange chromaloc", _FROM_FILM),
    ("color-primaries transfer-characteristics matrix-coefficients color-range", _FROM_FILM),
    ("chroma-sample-position", _FROM_FILM),
    ("master-display max-cll mastering-display content-light cll dhdr10-info", _FROM_FILM),
    ("dolby-vision-profile dolby-vision-rpu nalu-file", _FROM_FILM),
    ("interlace interlaced field tff bff fake-interlaced pic-struct", _FROM_FILM),
    ("annexb repeat-headers", "the container needs vsr's value"),
    ("log-level", "vsr reads the log itself"),
    ("pass passes stats multi-pass-opt-analysis slow-firstpass", _ONE_PASS),
    ("csv dump-yuv recon analysis-save analysis-load qpfile", "it names another file"),
    ("non-deterministic", "an interrupted run couldn't resume to the same bytes"),
)
_RATE_OPTIONS = "b qp global_quality rc rc_mode qp_i qp_p qp_b qvbr_quality_level"
_RATE_PARAMETERS = "qp rc tbr bitrate lossless"
"""Names that replace the constant rate factor."""


def parse_encoder_options(words: Iterable[str]) -> dict[str, str]:
    """Parse `key=value` words; parameters of a library add up. Raises `OutputError`."""
    options: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if not key.strip() or not value.strip():
            raise OutputError(f"--encoder-option {word}: is not KEY=VALUE, such as tune=film")
        if key in PARAMETERS:
            options = with_parameter(options, key, value)
        elif key in options:
            raise OutputError(f"--encoder-option {key}: is given twice; leave one out")
        else:
            options[key] = value
    return options


def with_parameter(options: Mapping[str, str], key: str, added: str) -> dict[str, str]:
    """Append parameters of a library to those that the options hold."""
    return dict(options) | {key: ":".join(filter(None, (options.get(key), added)))}


def check_encoder_options(options: Mapping[str, str], encoder: str) -> None:
    """Raise `OutputError` for a reserved option, or one that FFmpeg's encoder doesn't have."""
    known = None
    for key, value in options.items():
        _check_reserved(key, value)
        if encoder not in av.codecs_available:  # reported when it is opened
            continue
        known = known or _names(encoder)
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; see `ffmpeg -h encoder={encoder}`"
            raise OutputError(
                f"--encoder-option {key}={value}: {encoder} has no option {key}{hint}"
            )


def sets_rate(options: Mapping[str, str]) -> str | None:
    """Return the first option or parameter that replaces the constant rate factor."""
    found = [key for key in options if key in _RATE_OPTIONS.split()]
    for key in PARAMETERS:
        names = _parameters(options.get(key, ""))
        found += [f"{key}={name}" for name in names if name in _RATE_PARAMETERS.split()]
    return found[0] if found else None


def _check_reserved(key: str, value: str) -> None:
    found = {key: _RESERVED[key]} if key in _RESERVED else {}
    if key in PARAMETERS:
        found = {
            name: _RESERVED_PARAMETERS[name]
            for name in _parameters(value)
            if name in _RESERVED_PARAMETERS
        }
    for name, reason in found.items():
        raise OutputError(f"--encoder-option {key}={value}: {name} can't be set here: {reason}")


def _parameters(text: str) -> Iterator[str]:
    """List the names of parameters, in the libraries' own spelling."""
    for part in text.split(":"):
        name = part.partition("=")[0].strip().lower().replace("_", "-")
        yield name.removeprefix("no-")


def _names(encoder: str) -> list[str]:
    """List an encoder's own options and FFmpeg's general ones for encoding video."""
    options = av.CodecContext.create(encoder, "w").supported_options
    wanted = OptionFlags.ENCODING_PARAM | OptionFlags.VIDEO_PARAM
    general = [option.name for option in options.generic if option.flags & wanted == wanted]
    return [*(option.name for option in options.private), *general]

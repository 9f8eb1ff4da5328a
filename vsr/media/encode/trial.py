"""Try an encoder before any work, in a process of its own.

Libraries report most refusals only in their logs, which are written to standard error by their own
threads. A process of its own collects the logs of FFmpeg and of the libraries without a callback,
and survives an encoder that crashes.
"""

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np

from vsr.errors import OutputError
from vsr.media.encode.codecs import CodecName
from vsr.media.encode.encoder import VideoEncoder
from vsr.media.encode.hardware import ENCODER_NAMES, EncoderName, codec_of, hardware_of
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import ColourTags, Frame, PixelLayout, StreamInfo

_FRAMES = 5
_SIDES = (320, 256)
"""Width and height of the trial's frames, which every hardware encoder supports."""
_SECONDS = 120
_MARK = "--- options of the user ---"
_DECODERS: dict[CodecName, str] = {"av1": "libdav1d"}
"""FFmpeg's decoders, where their name isn't that of the codec."""
_WITH_HEADERS = ("h264", "hevc", "av1")
"""Codecs whose headers a container stores apart from the frames."""
_REFUSED_PARAMETER = re.compile("Error parsing option|Unknown option|Invalid value for")
"""Warnings of FFmpeg's wrappers about a parameter of a library that is then ignored."""
_PREFIX = re.compile(r"^(\[[^\]]* @ [^\]]*\]\s*|\w+ \[error\]:\s*|Svt\[error\]:\s*)+")
_UNIMPORTANT = re.compile(r"Svt\[(warn|info)\]|x26[45] \[(warning|info|debug)\]")
_UNSPECIFIC = ("Error setting ", "Possible ")
"""Starts of lines that say less about an error than others."""


@dataclass(frozen=True)
class _Stream:
    """Properties of the decoded trial that no option may change."""

    size: str
    pixel_format: str
    matrix: int
    primaries: int
    transfer: int
    range: int
    pixel_aspect: str
    interlacing: bool
    frame_times: str
    global_headers: bool


class _Outcome(NamedTuple):
    """What became of a trial."""

    error: str
    """FFmpeg's error; empty for none."""
    changed: str
    """A property of the stream that the user's options change; empty for none."""
    log: list[str]
    """Lines that the encoder logged because of the user's options, without unimportant ones."""


def check_encoder(info: StreamInfo, settings: EncoderSettings) -> None:
    """Raise `OutputError` where a hardware encoder, or an encoder with options, refuses to work.

    `info` describes the output. An encoder on the CPU without options is not tried.
    """
    if settings.encoder != "cpu":
        _check_hardware(info, settings)
    if not settings.options:
        return
    outcome = _try(info, settings)
    encoder = settings.capabilities.encoder
    if outcome.error:
        at_fault = _at_fault(settings.options, outcome.log)
        reason = _reason(outcome.log, settings.options) or outcome.error
        raise OutputError(f"--encoder-option {at_fault}: {encoder} refuses it: {reason}")
    for line in outcome.log:
        if _REFUSED_PARAMETER.search(line):
            at_fault = _at_fault(settings.options, outcome.log)
            raise OutputError(f"--encoder-option {at_fault}: {encoder} refuses it: {line}")
    if outcome.changed:
        at_fault = _at_fault(settings.options, [])
        raise OutputError(f"--encoder-option {at_fault}: would change the {outcome.changed}")


def openable_encoders() -> dict[CodecName, list[EncoderName]]:
    """List the encoders of each codec that can be opened on this machine."""
    found: dict[CodecName, list[EncoderName]] = {}
    for encoder in _hardware_names():
        for name in hardware_of(encoder).crf:
            if _is_in_ffmpeg(name, encoder) and _opens(_trial_info(), _plain(name, encoder)):
                found.setdefault(name, []).append(encoder)
    return found


def _check_hardware(info: StreamInfo, settings: EncoderSettings) -> None:
    """Raise `OutputError` where FFmpeg lacks a hardware encoder, or can't open it."""
    name, encoder = settings.codec, settings.encoder
    label = hardware_of(encoder).label
    instead = f"use {_instead(name, encoder)}"
    if not _is_in_ffmpeg(name, encoder):
        full_name = settings.capabilities.encoder
        raise OutputError(
            f"--encoder {encoder}: FFmpeg as installed with PyAV has no {full_name}; {instead}"
        )
    plain = replace(settings, options={})
    if _opens(info, plain):
        return
    outcome = _try(info, plain)
    reason = _reason(outcome.log, {}) or outcome.error
    small = _trial_info(settings.layout_for(PixelLayout()))
    if _opens(small, plain):
        raise OutputError(
            f"--encoder {encoder}: {label} can't encode {info.width}x{info.height} as {name} "
            f"({reason}); {instead}"
        )
    raise OutputError(
        f"--encoder {encoder}: this machine has no {label} encoder for {name} ({reason}); {instead}"
    )


def _instead(name: CodecName, encoder: EncoderName) -> str:
    """Suggest encoders that work."""
    others = [
        f"--encoder {other}"
        for other in _hardware_names()
        if other != encoder
        and name in hardware_of(other).crf
        and _is_in_ffmpeg(name, other)
        and _opens(_trial_info(), _plain(name, other))
    ]
    return " or ".join([*others, "--encoder cpu"])


def _hardware_names() -> Iterator[EncoderName]:
    """Iterate over the encoders except `cpu`, and `gpu`, which is another name."""
    yield from (name for name in ENCODER_NAMES if name not in ("cpu", "gpu"))  # type: ignore[misc]


def _is_in_ffmpeg(name: CodecName, encoder: EncoderName) -> bool:
    return codec_of(name, encoder).encoder in av.codecs_available


def _plain(name: CodecName, encoder: EncoderName) -> EncoderSettings:
    return EncoderSettings(name, encoder=encoder)


def _opens(info: StreamInfo, settings: EncoderSettings) -> bool:
    try:
        VideoEncoder(info, settings)
    except (av.error.FFmpegError, OSError, ValueError, NotImplementedError):
        return False
    return True


def _trial_info(layout: PixelLayout = PixelLayout()) -> StreamInfo:
    return StreamInfo(
        width=_SIDES[0],
        height=_SIDES[1],
        layout=layout,
        colour=ColourTags(),
        time_base=Fraction(1, 25),
        frame_rate=Fraction(25),
        frame_count=None,
        sample_aspect_ratio=Fraction(1),
    )


def _try(info: StreamInfo, settings: EncoderSettings) -> _Outcome:
    """Encode frames in a process of its own."""
    code = "from vsr.media.encode.trial import run_trial; run_trial()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=pickle.dumps((info, settings)),
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _Outcome(f"{_FRAMES} frames took more than {_SECONDS} s", "", [])
    before, _, after = done.stderr.decode(errors="replace").partition(_MARK)
    log = [line for line in _lines(after) if line not in set(_lines(before))]
    if done.returncode != 0:
        return _Outcome(f"it crashed (exit code {done.returncode})", "", log)
    error, changed = json.loads(done.stdout)
    return _Outcome(error, changed, log)


def run_trial() -> None:
    """Encode frames without and with the user's options, for a caller in another process.

    Standard input is a pickled description and settings, standard output a JSON list of error and
    changed property, and standard error the log, with a mark where the user's options begin.
    """
    info, settings = pickle.load(sys.stdin.buffer)
    os.environ["SVT_LOG"] = "1"
    # Possible values of an option are information.
    av.logging.set_libav_level(av.logging.INFO if settings.options else av.logging.WARNING)
    av.logging.restore_default_callback()
    small = replace(info, width=_SIDES[0], height=_SIDES[1])
    error, changed, plain = "", "", None
    if settings.options:
        plain = _encode(small, replace(settings, options={}))
    print(_MARK, file=sys.stderr, flush=True)
    try:
        VideoEncoder(info, settings)
        with_options = _encode(small, settings)
    except (av.error.FFmpegError, OSError, ValueError, NotImplementedError) as failure:
        error = str(getattr(failure, "strerror", None) or failure).lower()
    else:
        if plain is not None:
            changed = _difference(plain, with_options)
    print(json.dumps([error, changed]))


def _encode(info: StreamInfo, settings: EncoderSettings) -> _Stream:
    """Encode frames, decode them, and describe what a player gets."""
    encoder = VideoEncoder(info, settings)
    packets = [packet for frame in _frames(info) for packet in encoder.encode(frame)]
    packets += encoder.finish()
    decoder: Any = av.CodecContext.create(_DECODERS.get(settings.codec, settings.codec), "r")
    if extradata := encoder.video.extradata:
        decoder.extradata = extradata
    if encoder.video.tag:
        decoder.codec_tag = encoder.video.tag
    decoder.width, decoder.height = info.width, info.height
    decoder.pix_fmt = encoder.pixel_format
    frames: list[Any] = []
    for packet in packets:
        coded = av.Packet(packet.data)
        coded.pts, coded.dts, coded.time_base = packet.pts, packet.dts, info.time_base
        frames += decoder.decode(coded)
    frames += decoder.decode(None)
    if not frames:
        raise ValueError("it encoded no frame")
    first = frames[0]
    return _Stream(
        size=f"{first.width}x{first.height}",
        pixel_format=first.format.name,
        matrix=int(first.colorspace),
        primaries=int(first.color_primaries),
        transfer=int(first.color_trc),
        range=int(first.color_range),
        pixel_aspect=str(decoder.sample_aspect_ratio),
        interlacing=any(frame.interlaced_frame for frame in frames),
        frame_times=str([frame.pts for frame in frames]),
        global_headers=bool(extradata) or settings.codec not in _WITH_HEADERS,
    )


def _frames(info: StreamInfo) -> Iterator[Frame]:
    """Draw frames with detail and motion, so that encoders use all of their tools."""
    layout = info.layout
    middle = 1 << (layout.bit_depth - 1)
    dtype = np.uint8 if layout.bit_depth == 8 else np.uint16
    rows, columns = np.mgrid[: info.height, : info.width]
    chroma = (-(-info.height // layout.down), -(-info.width // layout.across))
    ticks = max(1, round(1 / (info.frame_rate * info.time_base)))
    for index in range(_FRAMES):
        luma = middle + middle // 4 * np.sin((rows + 3 * columns + 5 * index) / 7)
        planes = [luma.astype(dtype), *(np.full(chroma, middle, dtype) for _ in range(2))]
        if layout.alpha:
            planes.append(np.full(luma.shape, 2 * middle - 1, dtype))
        yield Frame(planes, pts=index * ticks, duration=ticks)


def _difference(plain: _Stream, with_options: _Stream) -> str:
    """Describe the first property that differs; empty for none."""
    found = asdict(with_options)
    for name, value in asdict(plain).items():
        if found[name] != value:
            return f"{name.replace('_', ' ')} of the video from {value} to {found[name]}"
    return ""


def _lines(log: str) -> list[str]:
    """List the lines of a log, without addresses, levels and unimportant lines."""
    lines = [line.strip() for line in log.splitlines()]
    cleaned = [_PREFIX.sub("", line) for line in lines if not _UNIMPORTANT.match(line)]
    return [line.rstrip(".") for line in cleaned if line and not _UNIMPORTANT.match(line)]


def _reason(log: Iterable[str], options: Mapping[str, str]) -> str:
    """Return the first line of a log, with the values that an option can have, if listed."""
    lines = list(log)
    specific = [line for line in lines if not line.startswith(_UNSPECIFIC)]
    choices = [line for line in lines if line.startswith(tuple(f"Possible {o}s:" for o in options))]
    return "; ".join((specific or lines)[:1] + choices[: len(lines) - 1])


def _at_fault(options: Mapping[str, str], log: Iterable[str]) -> str:
    """Name the options whose name or value a log mentions, or else all."""
    text = " ".join(log)
    named = [key for key in options if re.search(rf"\b{re.escape(key)}\b", text)]
    named = named or [key for key, value in options.items() if value in text]
    return " ".join(f"{key}={options[key]}" for key in named or options)

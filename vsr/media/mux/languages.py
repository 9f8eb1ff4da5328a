"""Language tags: the two codes that some languages have, and those that MP4 and QuickTime store."""

import io
from functools import cache
from typing import Any

import av
from av.packet import Packet

_SYNONYMS = (
    "alb sqi, arm hye, baq eus, bur mya, chi zho, cze ces, dut nld, fre fra, geo kat, ger deu, "
    "gre ell, ice isl, mac mkd, mao mri, may msa, per fas, rum ron, slo slk, swe sve, tib bod, "
    "wel cym"
)
"""Bibliographic and terminological codes of ISO 639-2; `sve` is QuickTime's code of Swedish."""
_PAIRS = _SYNONYMS.split(", ")
_CANONICAL = {pair[4:]: pair[:3] for pair in _PAIRS}
_OTHER = _CANONICAL | {pair[:3]: pair[4:] for pair in _PAIRS}
UNSPECIFIED = ("", "und")
"""Tags that name no language."""


def canonical(language: str) -> str:
    """Return the same code for all codes of a language."""
    return _CANONICAL.get(language, language)


def storable_language(language: str, suffix: str) -> str | None:
    """Return a code of a language that a container stores; None if it stores none."""
    if suffix not in (".mp4", ".mov") or language in UNSPECIFIED:
        return language
    candidates = filter(None, (language, _OTHER.get(language)))
    return next((code for code in candidates if _is_stored(code, suffix)), None)


@cache
def _is_stored(code: str, suffix: str) -> bool:
    """Whether FFmpeg reads a language code again that it has written to a file."""
    written = io.BytesIO()
    with av.open(written, "w", format=suffix.removeprefix(".")) as trial:
        stream: Any = trial.add_stream("pcm_s16le")
        stream.metadata["language"] = code
        packet: Any = Packet(bytes(4))
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        trial.mux(packet)
    written.seek(0)
    with av.open(written, "r") as container:
        return container.streams[0].metadata.get("language") == code

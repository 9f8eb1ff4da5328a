"""Compare the text of subtitles across codecs."""

import re
from typing import Any

import av


def text_of(packet: Any) -> bytes:
    """Decode the text of a subtitle packet, as ASS; the packet itself if it can't be decoded."""
    try:
        found = packet.stream.codec_context.decode2(packet)
    except av.error.FFmpegError:
        return bytes(packet)
    lines = [rect.dialogue for rect in (found or ()) if hasattr(rect, "dialogue")]
    return b"\n".join(lines).strip()


def normalised(line: str) -> str:
    """Rewrite a line of ASS with the effective styles before each piece of text.

    Decoders end a style in different ways: by its opposite, or by a reset of all styles.
    """
    result, current, written = "", frozenset[str](), frozenset[str]()
    for part in re.split(r"(\{[^}]*\})", line):
        if part.startswith("{"):
            for name, value in re.findall(r"\\([a-z]+)([^\\}]*)", part):
                kept = {style for style in current if not style.startswith(f"\\{name}=")}
                current = frozenset() if name == "r" else frozenset(kept)
                if name != "r" and value != "0":
                    current |= {f"\\{name}={value}"}
        elif part:
            result += ("" if current == written else "{" + "".join(sorted(current)) + "}") + part
            written = current
    return result

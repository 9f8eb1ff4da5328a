"""Summarise a data set: a table, a JSON file and a contact sheet."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from vsr.data.store import Store, StoredClip
from vsr.imaging.colour import to_rgb
from vsr.imaging.tensors import to_uint8
from vsr.media.contact_sheet import Captioned, write_sheet
from vsr.system.files import write_text

SUMMARY_FILE = "summary.json"
SHEET_FILE = "contact-sheet.png"
_THUMBNAIL = (160, 90)
_COLUMNS = 8
_MAX_PICTURES = 96


class SourceSummary(NamedTuple):
    """Result of preparing one source."""

    name: str
    type: str
    split: str
    width: int
    height: int
    stored_width: int
    """Size of its clips: without black bars, and smaller if the source had been enlarged."""
    stored_height: int
    frames: int
    clips: int
    frames_taken: int
    left_out: dict[str, int]
    """Rejected frames, by reason."""
    error: str | None


def summarise(store: Store) -> list[SourceSummary]:
    """Summarise each completed source, in order."""
    sources, clips, rejected = store.sources, store.clips(), store.rejected()
    rows = []
    for identity, end in store.finished.items():
        start = sources.get(identity)
        accepted = [clip for clip in clips if clip.source == identity]
        reasons: Counter[str] = Counter()
        for line in rejected:
            if line.source == identity:
                reasons[line.reason] += line.frames
        rows.append(
            SourceSummary(
                name=end.name,
                type=start.type if start else "",
                split=start.split if start else "",
                width=start.width if start else 0,
                height=start.height if start else 0,
                stored_width=start.stored[1] if start else 0,
                stored_height=start.stored[0] if start else 0,
                frames=end.frames,
                clips=len(accepted),
                frames_taken=sum(clip.frames for clip in accepted),
                left_out=dict(reasons),
                error=end.error,
            )
        )
    return rows


def table(rows: Sequence[SourceSummary]) -> list[str]:
    """Format the summaries for a terminal; accepted photographs share a line."""
    lines = [
        f"{'source':<34} {'split':<5} {'size':>9} {'stored':>9} {'frames':>7} {'used':>6}  "
        "rejected (frames)"
    ]
    photographs = [row for row in rows if row.type == "photograph" and row.clips]
    for row in rows:
        if row in photographs:
            continue
        size, stored = f"{row.width}x{row.height}", f"{row.stored_width}x{row.stored_height}"
        rejected = ", ".join(f"{count} {reason}" for reason, count in row.left_out.items())
        name = row.name if len(row.name) <= 34 else f"{row.name[:33]}~"
        lines.append(
            f"{name:<34} {row.split:<5} {size:>9} {stored:>9} {row.frames:>7} "
            f"{row.frames_taken:>6}  {rejected}{' read error' if row.error else ''}".rstrip()
        )
    if photographs:
        lines.append(f"and {len(photographs)} photographs")
    for split in ("train", "val"):
        in_split = [row for row in rows if row.split == split]
        frames = sum(row.frames_taken for row in in_split)
        clips = sum(row.clips for row in in_split)
        lines.append(f"{split}: {clips} clips, {frames} frames, of {len(in_split)} sources")
    return lines


def write_summary(store: Store, rows: Sequence[SourceSummary]) -> None:
    """Write `summary.json` atomically."""
    tree = {"sources": [row._asdict() for row in rows], "bytes": _bytes(store)}
    write_text(store.folder / SUMMARY_FILE, json.dumps(tree, indent=1) + "\n")


def write_contact_sheet(store: Store) -> None:
    """Write `contact-sheet.png`: the middle frame of clips spread over the data set."""
    clips = store.clips()
    step = max(1, -(-len(clips) // _MAX_PICTURES))
    names = store.sources
    pictures = [_thumbnail(store, clip, names[clip.source].name) for clip in clips[::step]]
    rows = [pictures[n : n + _COLUMNS] for n in range(0, len(pictures), _COLUMNS)]
    write_sheet(store.folder / SHEET_FILE, rows)


def _thumbnail(store: Store, clip: StoredClip, name: str) -> Captioned:
    planes = [torch.from_numpy(plane[clip.frames // 2]) for plane in store.read(clip)]
    rgb = to_uint8(to_rgb(planes, clip.spec)).permute(1, 2, 0).contiguous().numpy()
    share = min(_THUMBNAIL[0] / clip.width, _THUMBNAIL[1] / clip.height)
    size = (max(1, round(clip.width * share)), max(1, round(clip.height * share)))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, f"{'val: ' if clip.split == 'val' else ''}{Path(name).name}"


def _bytes(store: Store) -> int:
    return sum(path.stat().st_size for path in store.folder.iterdir() if path.is_file())

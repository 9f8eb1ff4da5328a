"""What a data set holds, for people: a table, a JSON file and a sheet of pictures."""

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
_MOST_PICTURES = 96


class Row(NamedTuple):
    """What became of one source."""

    name: str
    type: str
    split: str
    width: int
    height: int
    stored_width: int
    """Of its clips: without black bars, and smaller where it had been enlarged."""
    stored_height: int
    frames: int
    clips: int
    frames_taken: int
    left_out: dict[str, int]
    """Frames, by reason."""
    error: str | None


def summarise(store: Store) -> list[Row]:
    """What became of each source that is done with, in order."""
    sources, clips, left_out = store.sources, store.clips(), store.rejected()
    rows = []
    for identity, ended in store.finished.items():
        begun = sources.get(identity)
        taken = [clip for clip in clips if clip.source == identity]
        reasons: Counter[str] = Counter()
        for line in left_out:
            if line.source == identity:
                reasons[line.reason] += line.frames
        rows.append(
            Row(
                name=ended.name,
                type=begun.type if begun else "",
                split=begun.split if begun else "",
                width=begun.width if begun else 0,
                height=begun.height if begun else 0,
                stored_width=begun.stored[1] if begun else 0,
                stored_height=begun.stored[0] if begun else 0,
                frames=ended.frames,
                clips=len(taken),
                frames_taken=sum(clip.frames for clip in taken),
                left_out=dict(reasons),
                error=ended.error,
            )
        )
    return rows


def table(rows: Sequence[Row]) -> list[str]:
    """Lines for a terminal; photographs that were taken whole share one."""
    lines = [f"{'source':<34} {'split':<5} {'size':>9} {'kept at':>9} {'frames':>7} {'taken':>6}  "]
    lines[0] += "left out (frames)"
    photographs = [row for row in rows if row.type == "photograph" and row.clips]
    for row in rows:
        if row in photographs:
            continue
        size, kept = f"{row.width}x{row.height}", f"{row.stored_width}x{row.stored_height}"
        why = ", ".join(f"{count} {reason}" for reason, count in row.left_out.items())
        shown = row.name if len(row.name) <= 34 else f"{row.name[:33]}~"
        lines.append(
            f"{shown:<34} {row.split:<5} {size:>9} {kept:>9} {row.frames:>7} "
            f"{row.frames_taken:>6}  {why or ''}{' broken' if row.error else ''}".rstrip()
        )
    if photographs:
        lines.append(f"and {len(photographs)} photographs")
    for split in ("train", "val"):
        mine = [row for row in rows if row.split == split]
        frames, clips = sum(r.frames_taken for r in mine), sum(r.clips for r in mine)
        lines.append(f"{split}: {clips} clips, {frames} frames, of {len(mine)} sources")
    return lines


def write_summary(store: Store, rows: Sequence[Row]) -> None:
    """As `summary.json`, whole or not at all."""
    tree = {"sources": [row._asdict() for row in rows], "bytes": _bytes(store)}
    write_text(store.folder / SUMMARY_FILE, json.dumps(tree, indent=1) + "\n")


def write_contact_sheet(store: Store) -> None:
    """The middle frame of clips spread over the data set, as `contact-sheet.png`."""
    clips = store.clips()
    step = max(1, -(-len(clips) // _MOST_PICTURES))
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

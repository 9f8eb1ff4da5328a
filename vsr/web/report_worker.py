"""Compute what is shown of outputs, in processes of their own."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vsr.engine.upscale_options import UpscaleOptions

COPY, LAST_FRAME = "copy.mp4", "last.jpg"
"""Names of files."""
_LARGEST_PICTURE = 1920
"""Longest side of the last frame in pixels."""
_QUALITY = 85


def verify_output(
    folder: Path, source: Path, output: Path, options: "UpscaleOptions"
) -> dict[str, Any]:
    """Compare an output with its source. Raises `MediaError`."""
    from vsr.media.mux.copy_plan import Selection
    from vsr.media.verify import verify_film

    selection = Selection(options.audio, options.subtitles)
    findings = verify_film(source, output, options.video, selection, options.part)
    kept = all(finding.kept for finding in findings)
    return {"kept": kept, "findings": [asdict(finding) for finding in findings]}


def measure_output(
    folder: Path, source: Path, output: Path, options: "UpscaleOptions"
) -> dict[str, Any]:
    """Measure flicker and tOF second by second. Raises `VsrError`."""
    from vsr.evaluation.stability import measure_stability

    seconds = measure_stability(source, output, options)
    return {
        "seconds": [asdict(one) for one in seconds],
        "flicker": _mean([one.flicker for one in seconds if one.flicker is not None]),
        "tof": _mean([one.tof for one in seconds if one.tof is not None]),
    }


def make_playable(folder: Path, film: Path) -> dict[str, Any]:
    """Describe a film for the comparison page, and write a copy if browsers don't play it.

    Raises `VsrError`.
    """
    from vsr.evaluation.compare import probe_film, write_playable_copy
    from vsr.media.decode.frame_times import frame_times

    info, codec, plays = probe_film(film)
    played = film
    if not plays:
        played = folder / COPY
        write_playable_copy(film, played)
    return {
        "codec": codec,
        "is_copy": not plays,
        "width": info.width,
        "height": info.height,
        "times": frame_times(played),
    }


def save_last_frame(folder: Path, output: Path) -> dict[str, Any]:
    """Write the last finished frame of an unfinished output as JPEG. Raises `MediaError`."""
    from vsr.engine.resume.last_frame import last_frame_of

    picture = last_frame_of(output).to_image()
    picture.thumbnail((_LARGEST_PICTURE, _LARGEST_PICTURE))
    picture.save(folder / LAST_FRAME, "JPEG", quality=_QUALITY)
    return {"width": picture.width, "height": picture.height}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None

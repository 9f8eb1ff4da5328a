"""Compute what is shown of outputs, in processes of their own."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

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


def describe_playback(folder: Path, film: Path) -> dict[str, Any]:
    """Describe a film for the comparison page. Raises `MediaError`."""
    from vsr.media.decode.frame_times import frame_times
    from vsr.media.playback import probe_playback

    info, codec, is_playable = probe_playback(film)
    return {
        "codec": codec,
        "is_playable": is_playable,
        "is_copy": False,
        "width": info.width,
        "height": info.height,
        "times": frame_times(film) if is_playable else [],
    }


def copy_playable(folder: Path, film: Path, described: dict[str, Any]) -> dict[str, Any]:
    """Write a copy of a film that browsers play, and describe that. Raises `VsrError`."""
    from vsr.evaluation.compare import write_playable_copy
    from vsr.media.decode.frame_times import frame_times

    copy = folder / COPY
    write_playable_copy(film, copy, overwrite=True)
    return described | {"is_playable": True, "is_copy": True, "times": frame_times(copy)}


def save_last_frame(folder: Path, output: Path) -> dict[str, Any]:
    """Write the last finished frame of an unfinished output as JPEG. Raises `MediaError`."""
    from vsr.engine.resume.last_frame import last_frame_of

    picture: Image.Image = last_frame_of(output).to_image()  # type: ignore[no-untyped-call]
    picture.thumbnail((_LARGEST_PICTURE, _LARGEST_PICTURE))
    picture.save(folder / LAST_FRAME, "JPEG", quality=_QUALITY)
    return {"width": picture.width, "height": picture.height}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None

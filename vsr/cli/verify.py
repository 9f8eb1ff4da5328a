"""`vsr verify`: what an output kept of its source."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from vsr.cli.options import (
    FILE,
    audio_option,
    json_option,
    parse_part,
    part_options,
    subtitles_option,
    video_option,
)
from vsr.cli.streams import print_result
from vsr.errors import VsrError


@click.command("verify")
@click.argument("source", metavar="IN", type=FILE)
@click.argument("output", metavar="OUT", type=FILE)
@video_option
@audio_option
@subtitles_option
@part_options
@json_option
def verify_command(
    source: Path,
    output: Path,
    video: int | None,
    audio: Any,
    subtitles: Any,
    from_time: str | None,
    to_time: str | None,
    duration: str | None,
    as_json: bool,
) -> None:
    """Check that an upscaled film or picture kept all of its source.

    The exit code is 1 if anything was lost or changed.

    Films are compared in timestamps, streams, chapters and tags; sound, subtitles and attachments
    packet by packet, and converted sound by its samples or its loudness. Give --video, --audio,
    --subtitles and the part of IN as for `vsr upscale`.

    Pictures, and folders of pictures, are compared in content, bits, colours, transparency and
    metadata; DICOM files and TIFF stacks plane by plane, in content, range, type and tags.

    Numbered pictures, named by their folder or a pattern, are compared with a film or with numbered
    pictures in count, sizes, bits, transparency and numbers.

    \b
    vsr verify holiday.mp4 holiday-large.mp4
    vsr verify holiday.mp4 clip-large.mp4 --from 1:30 --to 1:45
    vsr verify photo.jpg photo-large.png
    vsr verify photos/ larger/
    vsr verify frames/ new.mkv
    """
    from vsr.media.dicom import is_dicom
    from vsr.media.mux.copy_plan import Selection
    from vsr.media.verify import (
        format_findings,
        is_picture,
        names_numbered,
        verify_film,
        verify_numbered,
        verify_picture,
        verify_pictures,
    )

    part = parse_part(from_time, to_time, duration)
    if names_numbered(source, output):
        findings = verify_numbered(source, output, part)
    elif source.is_dir() and output.is_dir():
        findings = verify_pictures(source, output)
    elif is_dicom(source) or (is_picture(source) and is_picture(output)):
        findings = verify_picture(source, output)
    else:
        findings = verify_film(
            source, output, video=video, selection=Selection(audio, subtitles), part=part
        )
    if as_json:
        print_result(json.dumps([asdict(finding) for finding in findings]))
    else:
        print_result(format_findings(findings))
    lost = [finding.what for finding in findings if not finding.kept]
    if lost:
        raise VsrError(f"{output}: lost or changed: {', '.join(lost)}")

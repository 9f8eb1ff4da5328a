"""What is shown of outputs: verification, flicker, comparison, and the last frame of a run."""

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from vsr.system.files import file_stamp
from vsr.web.computations import Computation, Computations, Work
from vsr.web.report_worker import (
    copy_playable,
    describe_playback,
    measure_output,
    save_last_frame,
    verify_output,
)

if TYPE_CHECKING:
    from vsr.engine.upscale_options import UpscaleOptions

_VERIFY_SECONDS, _LAST_FRAME_SECONDS, _REPORT_SECONDS = 1800.0, 60.0, 6 * 3600.0
"""Time limits."""
_VERIFY_PRIORITY = 1
"""After descriptions and filmstrips."""
_COPY_PRIORITY, _FLICKER_PRIORITY = range(2)


class Results:
    """Reports about outputs."""

    def __init__(self, light: Computations, heavy: Computations) -> None:
        """`light` computes without torch, and `heavy` what takes long."""
        self._light, self._heavy = light, heavy

    def verify(self, source: Path, output: Path, options: "UpscaleOptions") -> Future[Computation]:
        """Compare an output with its source. Raises `MediaError` where a file is missing."""
        chosen = (options.video, options.audio, options.subtitles, options.part)
        work = Work(
            function=verify_output,
            arguments=(source, output, options),
            priority=_VERIFY_PRIORITY,
            seconds=_VERIFY_SECONDS,
        )
        identity = ("verify", file_stamp(source), file_stamp(output), chosen)
        return self._light.request(identity, {}, work)[1]

    def stability(self, source: Path, output: Path, options: "UpscaleOptions") -> Computation:
        """Return flicker and tOF, or start to measure them. Raises `MediaError`."""
        work = Work(
            function=measure_output,
            arguments=(source, output, options),
            priority=_FLICKER_PRIORITY,
            seconds=_REPORT_SECONDS,
            is_fresh=True,
        )
        identity = ("flicker", file_stamp(source), file_stamp(output), options)
        return self._heavy.request(identity, {}, work)[0]

    def playable(self, film: Path) -> Computation:
        """Return a film as browsers play it, or start to copy it. Raises `MediaError`."""
        stamp = file_stamp(film)
        work = Work(describe_playback, (film,), priority=_VERIFY_PRIORITY, seconds=_VERIFY_SECONDS)
        found = self._light.request(("playback", stamp), {}, work)[0]
        if found.state != "done" or found.result["is_playable"]:
            return found
        work = Work(
            function=copy_playable,
            arguments=(film, dict(found.result)),
            priority=_COPY_PRIORITY,
            seconds=_REPORT_SECONDS,
        )
        return self._heavy.request(("copy", stamp), {}, work)[0]

    def last_frame(self, output: Path) -> Future[Computation] | None:
        """Return the last finished frame of an unfinished output; None before the first segment.

        Raises `MediaError`.
        """
        from vsr.engine.resume.journal import newest_segment

        if (found := newest_segment(output)) is None:
            return None
        work = Work(save_last_frame, (output,), seconds=_LAST_FRAME_SECONDS)
        return self._light.request(("last frame", file_stamp(found[0])), {}, work)[1]

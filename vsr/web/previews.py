"""Previews: a frame or two seconds of a film, before and after upscaling."""

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vsr.system.files import file_stamp
from vsr.web.computations import Computation, Computations, Work
from vsr.web.preview_worker import clip_preview, frame_preview

if TYPE_CHECKING:
    from vsr.engine.upscale_options import UpscaleOptions

PreviewKind = Literal["frame", "clip"]
FRAME_PRIORITY, CLIP_PRIORITY, PLAN_PRIORITY = range(3)
"""Order of the tasks in the process of previews."""
_MOST_WAITING = {"frame": 24, "clip": 4}
"""Waiting previews of each kind; older ones are dropped."""
_SECONDS = {"frame": 300.0, "clip": 900.0}
"""Time limits."""


class Previews:
    """Computes previews, the newest frame first, in one process that keeps its models."""

    def __init__(self, computations: Computations) -> None:
        self._computations = computations

    def request(
        self,
        source: Path,
        reference: str,
        seconds: float,
        kind: PreviewKind,
        options: "UpscaleOptions",
    ) -> tuple[Computation, Future[Computation]]:
        """Return a preview at a time in seconds, or start to compute it.

        `reference` names the source for clients. Raises `VsrError` if source or model is missing.
        """
        from vsr.engine.upscale_options import picture_options
        from vsr.zoo import model_stamp

        seconds = round(seconds, 3)
        options = picture_options(options)
        stamps = (file_stamp(source), model_stamp(options.model))
        identity = ("preview", kind, stamps, seconds, options)
        work = Work(
            function=frame_preview if kind == "frame" else clip_preview,
            arguments=(source, seconds, options),
            priority=FRAME_PRIORITY if kind == "frame" else CLIP_PRIORITY,
            newest_first=True,
            most_waiting=_MOST_WAITING[kind],
            seconds=_SECONDS[kind],
        )
        subject = {"kind": kind, "file": reference, "time": seconds}
        return self._computations.request(identity, subject, work)

    def find(self, key: str) -> Computation | None:
        """Return a preview that was requested."""
        found = self._computations.find(key)
        return found if found is not None and "kind" in found.subject else None

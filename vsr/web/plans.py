"""Plans: time, memory and disk of upscaling a film on this machine."""

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from vsr.system.files import file_stamp
from vsr.web.computations import Computation, Computations, Work
from vsr.web.preview_worker import plan_film
from vsr.web.previews import PLAN_PRIORITY

if TYPE_CHECKING:
    from vsr.engine.upscale_options import UpscaleOptions

_SECONDS = 900.0
"""Time limit."""
_MOST_WAITING = 8


class Plans:
    """Measures plans, each in a process of its own, so that its memory is that of a run.

    They share the lane of previews, since two at a time would measure each other.
    """

    def __init__(self, computations: Computations) -> None:
        self._computations = computations

    def request(
        self, source: Path, reference: str, suffix: str, options: "UpscaleOptions"
    ) -> tuple[Computation, Future[Computation]]:
        """Return the plan for an output with `suffix`, or start to measure it.

        `reference` names the source for clients. Raises `VsrError` if source or model is missing.
        """
        from vsr.zoo import model_stamp

        work = Work(
            function=plan_film,
            arguments=(source, suffix, options),
            priority=PLAN_PRIORITY,
            most_waiting=_MOST_WAITING,
            seconds=_SECONDS,
            is_fresh=True,
        )
        identity = ("plan", file_stamp(source), model_stamp(options.model), suffix, options)
        subject = {"plan": True, "file": reference}
        return self._computations.request(identity, subject, work)

    def find(self, key: str) -> Computation | None:
        """Return a plan that was requested."""
        found = self._computations.find(key)
        return found if found is not None and "plan" in found.subject else None

"""Events of `vsr upscale --json-progress`, as changes of a job."""

from collections.abc import Callable
from typing import Any

from vsr.web.jobs import Job, StageSeconds

_KEPT_MESSAGES = 50
_LONGEST_MESSAGE = 500


def apply_event(job: Job, event: dict[str, Any], shorten: Callable[[str], str]) -> Job:
    """Return the job after an event; `shorten` removes paths from messages.

    Events and keys that aren't known are ignored, see `docs/reference/events.md`.
    """
    match event.get("event"):
        case "start":
            changes = {name: event[name] for name in ("model", "backend", "width", "height")}
            changes |= {"frames": event["resumed_frames"], "frame_count": event["frames"]}
            changes["left_out"] = list(event["left_out"])
        case "progress":
            names = ("frames", "frames_per_second", "seconds", "seconds_left")
            changes = {name: event[name] for name in names}
            changes |= {"frame_count": event["of"], "stages": StageSeconds(**event["stages"])}
        case "message":
            lines = [*job.messages, shorten(str(event["text"]))[:_LONGEST_MESSAGE]]
            changes = {"messages": lines[-_KEPT_MESSAGES:]}
        case "result":
            stages = {name: event["stages"][name]["busy"] for name in StageSeconds.model_fields}
            changes = {name: event[name] for name in ("frames", "seconds", "width", "height")}
            changes |= {"stages": StageSeconds(**stages), "frame_count": event["frames"]}
            changes["left_out"] = list(event["left_out"])
            notes = [shorten(note) for note in event["notes"] if shorten(note) not in job.messages]
            changes["messages"] = [*job.messages, *notes][-_KEPT_MESSAGES:]
        case _:
            changes = {}
    return job.model_copy(update=changes)

"""Events: what changes, as it changes."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter

from vsr.web.errors import ERRORS
from vsr.web.events import encode_event
from vsr.web.jobs import Job
from vsr.web.services import ServicesDep

router = APIRouter(tags=["events"], responses=ERRORS)
_JOBS = TypeAdapter(list[Job])
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get("/events", response_class=StreamingResponse, responses=_STREAM)
async def stream_events(services: ServicesDep) -> StreamingResponse:
    """Stream events: `snapshot` (all jobs), then `job`, `removed`, `preview`, `plan`."""

    def snapshot() -> str:
        return encode_event("snapshot", _JOBS.dump_json(services.queue.all()).decode())

    return StreamingResponse(
        services.hub.stream(snapshot),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )

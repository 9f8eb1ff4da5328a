"""Jobs: the queue, and the outputs."""

from typing import Any

from fastapi import APIRouter

from vsr.web.errors import ERRORS
from vsr.web.file_answer import FileAnswer
from vsr.web.jobs import Job, NewJob, NewPosition
from vsr.web.services import ServicesDep

router = APIRouter(tags=["jobs"], responses=ERRORS)
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    206: {"description": "The part of the file that Range asks for"},
}


@router.get("/jobs")
async def list_jobs(services: ServicesDep) -> list[Job]:
    """List jobs: the queue in its order, then the finished ones, the newest first."""
    return services.queue.all()


@router.post("/jobs", status_code=201)
async def add_job(services: ServicesDep, new: NewJob) -> Job:
    """Append a film to the queue."""
    return await services.queue.add(new)


@router.get("/jobs/{job}")
async def get_job(services: ServicesDep, job: str) -> Job:
    """Return a job."""
    return services.queue.get(job)


@router.delete("/jobs/{job}", status_code=204)
async def delete_job(services: ServicesDep, job: str, output: bool = False) -> None:
    """Remove a job that isn't running, and with `output` its output."""
    await services.queue.delete(job, output)


@router.post("/jobs/{job}/pause")
async def pause_job(services: ServicesDep, job: str) -> Job:
    """Pause a job: a running one after its segment, or at once if asked again."""
    return await services.queue.pause(job)


@router.post("/jobs/{job}/resume")
async def resume_job(services: ServicesDep, job: str) -> Job:
    """Continue a paused job."""
    return await services.queue.resume(job)


@router.post("/jobs/{job}/cancel")
async def cancel_job(services: ServicesDep, job: str) -> Job:
    """End a job, and remove its unfinished work; a failed job then starts again from the film."""
    return await services.queue.cancel(job)


@router.post("/jobs/{job}/retry")
async def retry_job(services: ServicesDep, job: str) -> Job:
    """Queue a failed or cancelled job again."""
    return await services.queue.retry(job)


@router.put("/jobs/{job}/position")
async def move_job(services: ServicesDep, job: str, new: NewPosition) -> Job:
    """Move a job within the queue."""
    return await services.queue.move(job, new.position)


@router.get("/jobs/{job}/output", response_class=FileAnswer, responses=_FILE)
@router.head("/jobs/{job}/output", include_in_schema=False)
async def download_output(services: ServicesDep, job: str) -> FileAnswer:
    """Download the output of a job; Range and If-Range are supported."""
    path = services.queue.output(job)
    return FileAnswer(path, filename=path.name, media_type="application/octet-stream")

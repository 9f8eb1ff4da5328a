"""Previews and plans: what upscaling looks like, and what it takes."""

from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Response

from vsr.errors import DataError
from vsr.web.computations import Computation
from vsr.web.errors import ERRORS
from vsr.web.file_answer import FileAnswer
from vsr.web.film_info import FilmInfo
from vsr.web.preview_worker import AFTER, BEFORE, CLIP
from vsr.web.refusals import NotFound
from vsr.web.routes.films import find_film
from vsr.web.services import Services, ServicesDep
from vsr.web.view_models import Plan, PlanRequest, Preview, PreviewRequest

router = APIRouter(tags=["previews"], responses=ERRORS)
_TYPES = {BEFORE: "image/webp", AFTER: "image/webp", CLIP: "video/mp4"}
_UNCHANGING = {"cache-control": "private, max-age=31536000, immutable"}
"""For files whose address holds a hash of their content's origin."""


def _file(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {
            "description": "The file",
            "content": {media_type: {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {"description": "The part of the file that Range asks for"},
    }


_STARTED: dict[int | str, dict[str, Any]] = {202: {"description": "It is being computed"}}


@router.post("/previews", responses=_STARTED | {202: {"model": Preview}})
async def request_preview(
    services: ServicesDep, response: Response, request: PreviewRequest
) -> Preview:
    """Show a moment of a film before and after upscaling; an equal request computes nothing."""
    path, info = await find_film(services, request.file)
    _check_time(info, request.time)
    options = await run_sync(request.options.upscale_options)
    found, _ = await run_sync(
        services.views.previews.request, path, request.file, request.time, request.kind, options
    )
    response.status_code = 200 if found.state == "done" else 202
    return preview_of(services, found)


@router.get("/previews/{preview}")
async def get_preview(services: ServicesDep, preview: str) -> Preview:
    """Return a preview, or the state of its computation."""
    return preview_of(services, await _find_preview(services, preview))


@router.get(
    "/previews/{preview}/before.webp", response_class=FileAnswer, responses=_file("image/webp")
)
async def get_before(services: ServicesDep, preview: str) -> FileAnswer:
    """Return the frame upscaled bicubically."""
    return await _preview_file(services, preview, BEFORE)


@router.get(
    "/previews/{preview}/after.webp", response_class=FileAnswer, responses=_file("image/webp")
)
async def get_after(services: ServicesDep, preview: str) -> FileAnswer:
    """Return the frame upscaled by the model."""
    return await _preview_file(services, preview, AFTER)


@router.get("/previews/{preview}/clip.mp4", response_class=FileAnswer, responses=_file("video/mp4"))
async def get_clip(services: ServicesDep, preview: str) -> FileAnswer:
    """Return the clip; Range is supported."""
    return await _preview_file(services, preview, CLIP)


@router.post("/plans", responses=_STARTED | {202: {"model": Plan}})
async def request_plan(services: ServicesDep, response: Response, request: PlanRequest) -> Plan:
    """Measure time, memory and disk of upscaling a film on this machine."""
    path, _ = await find_film(services, request.file)
    options = await run_sync(request.options.upscale_options)
    found, _ = await run_sync(
        services.views.plans.request, path, request.file, request.options.suffix, options
    )
    response.status_code = 200 if found.state == "done" else 202
    return plan_of(services, found)


@router.get("/plans/{plan}")
async def get_plan(services: ServicesDep, plan: str) -> Plan:
    """Return a plan, or the state of its measurement."""
    found = await run_sync(services.views.plans.find, plan)
    if found is None:
        raise NotFound("no such plan; ask for it again")
    return plan_of(services, found)


def publish_change(services: Services, changed: Computation) -> None:
    """Send an event about a preview or a plan."""
    if "kind" in changed.subject:
        services.hub.publish("preview", changed.key, preview_of(services, changed))
    else:
        services.hub.publish("plan", changed.key, plan_of(services, changed))


def preview_of(services: Services, found: Computation) -> Preview:
    """Describe a preview to clients."""
    return Preview.of(found, _error(services, found))


def plan_of(services: Services, found: Computation) -> Plan:
    """Describe a plan to clients."""
    return Plan.of(found, _error(services, found))


def _error(services: Services, found: Computation) -> str | None:
    return None if found.error is None else services.roots.shorten(str(found.error))


def _check_time(info: FilmInfo, time: float) -> None:
    """Raise `DataError` for times that are surely after the end; lengths may be estimates."""
    if info.seconds is not None and time >= info.seconds + 1:
        raise DataError(f"{info.file}: lasts {info.seconds:.2f} s; {time:g} s is after its end")


async def _find_preview(services: Services, preview: str) -> Computation:
    found = await run_sync(services.views.previews.find, preview)
    if found is None:
        raise NotFound("no such preview; ask for it again")
    return found


async def _preview_file(services: Services, preview: str, name: str) -> FileAnswer:
    found = await _find_preview(services, preview)
    path = None if found.folder is None else found.folder / name
    if path is None or not await run_sync(path.is_file):
        raise NotFound(f"{name}: the preview has no such file, or isn't done")
    return FileAnswer(path, media_type=_TYPES[name], headers=_UNCHANGING)

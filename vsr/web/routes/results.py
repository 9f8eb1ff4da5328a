"""Results of jobs: what was kept, how steady they are, and comparison with the source."""

from pathlib import Path
from typing import Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from vsr.errors import MediaError, VsrError
from vsr.web.computations import Computation
from vsr.web.errors import ERRORS
from vsr.web.file_answer import FileAnswer
from vsr.web.filmstrip import STRIP
from vsr.web.guard import API
from vsr.web.refusals import Conflict
from vsr.web.report_worker import COPY, LAST_FRAME
from vsr.web.routes.films import draw_strip, finished
from vsr.web.services import Services, ServicesDep
from vsr.web.view_models import Stability, Verification

router = APIRouter(tags=["results"], responses=ERRORS)
COMPARE_ASSETS = "/static/compare"
"""Address of the script and the styles of the comparison page."""
_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "HTML", "content": {"text/html": {"schema": {"type": "string"}}}}
}
_PREPARING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="3">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/css/base.css">
<title>Comparison</title></head>
<body><p>A copy that browsers play is being written. This page follows.</p></body></html>
"""


def _file(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {
            "description": "The file",
            "content": {media_type: {"schema": {"type": "string", "format": "binary"}}},
        },
    }


@router.get("/jobs/{job}/verify")
async def verify_job(services: ServicesDep, job: str) -> Verification:
    """Compare the output of a job with its source, as `vsr verify`."""
    source, output, options = await _films(services, job)
    started = await run_sync(services.views.results.verify, source, output, options)
    return Verification(**(await finished(started)).result)


@router.get("/jobs/{job}/flicker")
async def get_flicker(services: ServicesDep, job: str) -> Stability:
    """Return flicker and tOF of each second of an output, or start to measure them."""
    source, output, options = await _films(services, job)
    found = await run_sync(services.views.results.stability, source, output, options)
    error = None if found.error is None else services.roots.shorten(str(found.error))
    return Stability(state=found.state, error=error, **found.result)


@router.get(
    "/jobs/{job}/last-frame.jpg",
    response_class=FileAnswer,
    responses=_file("image/jpeg") | {204: {"description": "No segment is finished yet"}},
)
async def get_last_frame(services: ServicesDep, job: str) -> Response:
    """Return the last frame of the newest finished segment of an unfinished job."""
    output = services.queue.unfinished_output(job)
    last_frame, found = services.views.results.last_frame, None
    try:
        if (started := await run_sync(last_frame, output)) is not None:
            found = await finished(started)
    except MediaError:
        if await run_sync(last_frame, output) is not None:
            raise
    if found is None:  # no segment is finished, or the run has just ended
        return Response(status_code=204)
    assert found.folder is not None
    return FileAnswer(
        found.folder / LAST_FRAME, media_type="image/jpeg", headers={"cache-control": "no-cache"}
    )


@router.get(
    "/jobs/{job}/still.jpg",
    response_class=FileAnswer,
    responses=_file("image/jpeg") | {204: {"description": "The film can't be read"}},
)
async def get_still(services: ServicesDep, job: str) -> Response:
    """Return a small frame from the middle of a job's output, or of its film before that."""
    found = services.queue.get(job)
    try:
        strip = await draw_strip(services, found.output or found.file, 1)
    except VsrError:  # the job tells why, or will
        return Response(status_code=204)
    assert strip.folder is not None
    return FileAnswer(
        strip.folder / STRIP, media_type="image/jpeg", headers={"cache-control": "no-cache"}
    )


@router.get("/jobs/{job}/compare", response_class=Response, responses=_PAGE)
async def compare_job(services: ServicesDep, job: str) -> HTMLResponse:
    """Return a page that plays the source and the output side by side."""
    source, output, options = await _films(services, job)
    found = []
    for film in (source, output):
        playable = await run_sync(services.views.results.playable, film)
        if playable.error is not None:
            raise playable.error
        found.append(playable)
    if any(one.state != "done" for one in found):
        return HTMLResponse(_PREPARING)
    page = await run_sync(_page, job, (source, output), found, options)
    return HTMLResponse(page)


@router.get("/jobs/{job}/media/{which}", response_class=FileAnswer, responses=_file("video/mp4"))
async def play(services: ServicesDep, job: str, which: Literal["source", "output"]) -> FileAnswer:
    """Return the source or output as browsers play it; Range is supported."""
    source, output, _ = await _films(services, job)
    film = source if which == "source" else output
    found = await run_sync(services.views.results.playable, film)
    if found.state != "done":
        raise found.error or Conflict(f"{film.name}: a copy that browsers play isn't written yet")
    if found.result["is_copy"]:
        assert found.folder is not None
        film = found.folder / COPY
    media_type = "video/webm" if film.suffix.lower() == ".webm" else "video/mp4"
    return FileAnswer(film, media_type=media_type, headers={"cache-control": "no-cache"})


def _page(job: str, films: tuple[Path, Path], found: list[Computation], options: Any) -> str:
    """Render the comparison page; the times of the source are those of the part."""
    from vsr.evaluation.comparison_page import ComparedFilm, comparison_page

    shown = []
    for which, film, playable in zip(("source", "output"), films, found, strict=True):
        result = playable.result
        times = result["times"]
        if which == "source":
            times = _times_of_part(times, len(found[1].result["times"]), options)
        shown.append(
            ComparedFilm(
                address=f"{API}/jobs/{job}/media/{which}",
                label=film.name,
                width=result["width"],
                height=result["height"],
                times=times,
            )
        )
    return comparison_page(shown, COMPARE_ASSETS)


def _times_of_part(times: list[float], count: int, options: Any) -> list[float]:
    """Return the times of the source's frames in the part that was upscaled."""
    if options.part is None:
        return times
    start = options.part.start
    if start.in_frames:
        return times[int(start.value) :][:count]
    first = times[0] + float(start.value) - 1e-6
    return [time for time in times if time >= first][:count]


async def _films(services: Services, job: str) -> tuple[Path, Path, Any]:
    """Return source, complete output and options of a job; raises `VsrError`."""
    found = services.queue.get(job)
    output = services.queue.output(job)
    source = await run_sync(services.roots.resolve_media, found.file)
    return source, output, await run_sync(found.options.upscale_options)

"""Films and pictures: what they hold, and filmstrips."""

import asyncio
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query

from vsr.web.computations import Computation
from vsr.web.errors import ERRORS
from vsr.web.file_answer import FileAnswer
from vsr.web.files import kind_of
from vsr.web.film_info import FilmInfo, PictureInfo
from vsr.web.filmstrip import MAX_TILES, STRIP
from vsr.web.refusals import PictureRefused
from vsr.web.services import Services, ServicesDep
from vsr.web.view_models import Filmstrip

router = APIRouter(tags=["films"], responses=ERRORS)
File = Annotated[str, Query(max_length=4000)]
Count = Annotated[int, Query(ge=1, le=MAX_TILES)]
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JPEG",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/film")
async def describe_file(services: ServicesDep, file: File) -> FilmInfo | PictureInfo:
    """Describe a film or a picture."""
    return await describe(services, file)


@router.get("/filmstrip")
async def get_filmstrip(services: ServicesDep, file: File, count: Count = 12) -> Filmstrip:
    """Draw frames of a film at equal distances."""
    found = await draw_strip(services, file, count)
    return Filmstrip.of(found.result, file, count)


@router.get("/filmstrip.jpg", response_class=FileAnswer, responses=_JPEG)
async def get_filmstrip_picture(services: ServicesDep, file: File, count: Count = 12) -> FileAnswer:
    """Return the picture of a filmstrip."""
    found = await draw_strip(services, file, count)
    assert found.folder is not None
    return FileAnswer(
        found.folder / STRIP, media_type="image/jpeg", headers={"cache-control": "no-cache"}
    )


async def describe(services: Services, file: str) -> FilmInfo | PictureInfo:
    """Describe a film or picture; raises `VsrError`."""
    path = await run_sync(services.roots.resolve_media, file)
    is_picture = kind_of(path) == "picture"
    found = await finished(await run_sync(services.views.films.describe, path, is_picture))
    if is_picture:
        return PictureInfo(file=file, name=path.name, **found.result)
    services.views.warm_up()
    return FilmInfo(file=file, name=path.name, **found.result)


async def finished(future: Future[Computation]) -> Computation:
    """Wait for a computation; raises its error.

    A client that leaves doesn't cancel what others may wait for.
    """
    found = await asyncio.shield(asyncio.wrap_future(future))
    if found.error is not None:
        raise found.error
    return found


async def find_film(services: Services, file: str) -> tuple[Path, FilmInfo]:
    """Return the path of a film, and what it holds; raises `VsrError`, also for pictures."""
    info = await describe(services, file)
    if isinstance(info, PictureInfo):
        raise PictureRefused(file)
    return await run_sync(services.roots.resolve_media, file), info


async def draw_strip(services: Services, file: str, count: int) -> Computation:
    """Draw a filmstrip; raises `VsrError`."""
    path, _ = await find_film(services, file)
    return await finished(await run_sync(services.views.films.strip, path, count))

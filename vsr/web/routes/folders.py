"""Folders: the films and pictures that can be chosen."""

from anyio.to_thread import run_sync
from fastapi import APIRouter

from vsr.web.errors import ERRORS
from vsr.web.files import FolderListing
from vsr.web.services import ServicesDep

router = APIRouter(tags=["files"], responses=ERRORS)


@router.get("/folders")
async def list_folder(services: ServicesDep, path: str = "") -> FolderListing:
    """List films, pictures and folders in a folder; without `path`, the roots."""
    most = services.settings.limits.listed_files
    return await run_sync(services.roots.list, path, most)

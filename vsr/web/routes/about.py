"""What this server can do."""

import asyncio

from anyio.to_thread import run_sync
from fastapi import APIRouter

from vsr.web.about import About, Device, describe_server
from vsr.web.errors import ERRORS
from vsr.web.services import ServicesDep

router = APIRouter(tags=["server"], responses=ERRORS)


@router.get("/about")
async def about(services: ServicesDep) -> About:
    """Describe models, profiles, formats, folders and limits."""
    return await run_sync(describe_server, services.settings)


@router.get("/device")
async def device(services: ServicesDep) -> Device:
    """Name the device that computes models; the first answer takes seconds."""
    return Device(name=await asyncio.shield(asyncio.wrap_future(services.views.device())))

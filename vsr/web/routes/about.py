"""What this server can do."""

from anyio.to_thread import run_sync
from fastapi import APIRouter

from vsr.web.about import About, describe_server
from vsr.web.errors import ERRORS
from vsr.web.services import ServicesDep

router = APIRouter(tags=["server"], responses=ERRORS)


@router.get("/about")
async def about(services: ServicesDep) -> About:
    """Describe models, profiles, formats, folders and limits."""
    return await run_sync(describe_server, services.settings)

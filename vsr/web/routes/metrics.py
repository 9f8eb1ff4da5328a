"""Metrics for Prometheus."""

from anyio.to_thread import run_sync
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from vsr.web.exposition import CONTENT_TYPE, metrics_page
from vsr.web.services import ServicesDep

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
async def metrics(services: ServicesDep) -> PlainTextResponse:
    """Return all metrics."""
    page = await run_sync(metrics_page, services)
    return PlainTextResponse(page, media_type=CONTENT_TYPE)

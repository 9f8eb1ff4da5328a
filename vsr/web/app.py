"""The application: routes, guard, static files."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from vsr import __version__
from vsr.evaluation.page import ASSETS
from vsr.web.about import describe_server
from vsr.web.database import Database
from vsr.web.errors import add_error_handlers, describe_errors
from vsr.web.events import EventHub
from vsr.web.files import Roots
from vsr.web.guard import API, Guard, Traffic
from vsr.web.job_queue import JobQueue
from vsr.web.routes import (
    about,
    events,
    films,
    folders,
    jobs,
    metrics,
    previews,
    results,
    uploads,
)
from vsr.web.services import Services
from vsr.web.settings import ServerSettings
from vsr.web.uploads import Uploads
from vsr.web.views import Views

STATIC = Path(__file__).parent / "static"


class _Application(FastAPI):
    """FastAPI whose document describes errors as they are sent."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            describe_errors(super().openapi())
        return super().openapi()


def create_app(settings: ServerSettings) -> FastAPI:
    """Create the application of one server, whose data folder exists. Raises `VsrError`."""
    database = Database(settings.data / "serve.sqlite3")
    roots, hub, limits = Roots(settings.all_roots), EventHub(), settings.limits
    services = Services(
        settings=settings,
        roots=roots,
        traffic=Traffic(),
        hub=hub,
        uploads=Uploads(settings.data, database, limits),
        queue=JobQueue(roots, database, hub, limits),
        views=Views(settings.data / "cache", limits.preview_bytes),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # The first description imports modules, which takes half a second.
        describing = run_sync(describe_server, settings, abandon_on_cancel=True)
        warming_up = asyncio.create_task(describing)
        await services.queue.start()
        services.views.start(lambda changed: previews.publish_change(services, changed))
        try:
            yield
        finally:
            warming_up.cancel()
            await run_sync(services.views.close)
            await services.queue.stop()
            database.close()

    app = _Application(
        title="vsr",
        version=__version__,
        summary="Upscale films on this machine",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.services = services
    add_error_handlers(app)
    api = APIRouter(prefix=API)
    for module in (about, events, films, folders, jobs, previews, results, uploads):
        api.include_router(module.router)
    app.include_router(api)
    app.include_router(metrics.router)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount(results.COMPARE_ASSETS, StaticFiles(directory=ASSETS))
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_middleware(Guard, settings=settings, traffic=services.traffic)
    return app

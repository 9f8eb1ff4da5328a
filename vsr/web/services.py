"""What the routes of one server share."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from vsr.web.events import EventHub
from vsr.web.files import Roots
from vsr.web.guard import Traffic
from vsr.web.job_queue import JobQueue
from vsr.web.settings import ServerSettings
from vsr.web.uploads import Uploads
from vsr.web.views import Views


@dataclass(frozen=True)
class Services:
    """The parts of one server."""

    settings: ServerSettings
    roots: Roots
    traffic: Traffic
    hub: EventHub
    uploads: Uploads
    queue: JobQueue
    views: Views


def services_of(request: Request) -> Services:
    """Return the parts of the server that got a request."""
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:
    return services_of(request)


ServicesDep = Annotated[Services, Depends(_services)]
"""Parameter of a route: the parts of the server."""

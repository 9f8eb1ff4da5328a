"""Requests made up from the OpenAPI document: none is an error of the server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.helpers.films import scenes, write_film
from tests.web.client import Client
from tests.web.server import PATIENCE_SECONDS
from vsr.web.app import create_app
from vsr.web.guard import API
from vsr.web.jobs import Job, JobRecord, JobState
from vsr.web.options import JobOptions
from vsr.web.settings import Limits, make_settings

pytestmark = pytest.mark.slow

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
FILE, JOB = "films/a.mp4", "0123456789abcdef"
STATES: tuple[JobState, ...] = ("waiting", "running", "done", "failed")


class Fuzzed(Client):
    """An application without workers for models, so that nothing is computed for long."""

    def __init__(self, folder: Path) -> None:
        (folder / "films").mkdir()
        film = write_film(folder / "films" / "a.mp4", scenes(48, 32, [3]), codec="libx264")
        settings = make_settings(
            folder / "data",
            "127.0.0.1",
            8765,
            roots=[film.parent],
            host_names=["testserver"],
            limits=Limits(uploads=1000),
        )
        self.film, self.output = film, settings.data / "outputs" / "a.mp4"
        super().__init__(create_app(settings))
        self.services = self.app.state.services
        for lane in (self.services.views._heavy, self.services.views._reports):
            lane.close()
        self.services.views._is_warm = True
        self.document: Any = schemathesis.openapi.from_asgi(f"{API}/openapi.json", self.app)

    def aim(self, case: Any, state: JobState) -> None:
        """Replace what no one guesses: the film, a job in a state, an upload, a preview."""
        parameters = case.path_parameters or {}
        if "job" in parameters:
            job = Job(
                job=JOB, file=FILE, name="a.mp4", options=JobOptions(), state=state, created=0
            )
            self.services.queue._records[JOB] = JobRecord(job=job, rank=0)
            self.output.write_bytes(self.film.read_bytes())
            parameters["job"] = JOB
        if "upload" in parameters:
            new = self.post(f"{API}/uploads", json={"name": "b.mp4", "bytes": 3}).json()
            parameters["upload"] = new["upload"]
        for what in {"preview", "plan"} & set(parameters):
            body = {"file": FILE, "time": 0} if what == "preview" else {"file": FILE}
            parameters[what] = self.post(f"{API}/{what}s", json=body).json()[what]
        if "file" in (case.query or {}):
            case.query["file"] = FILE
        if isinstance(case.body, dict) and "file" in case.body:
            case.body["file"] = FILE
        if isinstance(case.body, dict) and "bytes" in case.body:
            case.body["name"] = f"{case.body['name']}.mp4"


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    made = Fuzzed(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.services.views.close()


def test_no_request_is_an_error_of_the_server(fuzzed: Fuzzed) -> None:
    operations = [found.ok() for found in fuzzed.document.get_all_operations()]
    assert len(operations) > 25
    for operation in operations:
        if operation.path != f"{API}/events":  # has no end
            check_requests(fuzzed, operation)


def check_requests(fuzzed: Fuzzed, operation: Any) -> None:
    """Send requests that are made up for an operation: as they are, or with real objects."""
    states = iter((None, *STATES))

    @hypothesis.seed(1)
    @hypothesis.settings(
        max_examples=1 + len(STATES),
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def check(case: Any) -> None:
        if (state := next(states, None)) is not None:
            fuzzed.aim(case, state)
        case.call_and_validate(checks=CHECKS, timeout=PATIENCE_SECONDS)

    check()

"""A server process whose jobs are paused, killed and resumed; `test_page` kills the server."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.cli import complaint
from tests.helpers.films import scenes, write_film
from tests.web.client import Client
from tests.web.server import ServerProcess, wait_for
from vsr.web.app import create_app
from vsr.web.settings import make_settings

pytestmark = pytest.mark.slow

OPTIONS = {"model": "tiny-x2", "backend": "torch", "preset": "ultrafast"}
SLOW = OPTIONS | {"model": "base-x2"}
"""For jobs that must still run when something happens to them, on a busy machine, too."""


@dataclass
class Story:
    """What was seen of a server and its jobs."""

    server: ServerProcess
    film: Path
    outputs: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Jobs as they were shown, by the moment."""
    events: list[str] = field(default_factory=list)
    """Types of events that a listener received."""
    segments: int = 0
    """Finished segments when the job was paused."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Pause, resume, kill the job, retry, finish."""
    folder = tmp_path_factory.mktemp("serve")
    films, data = folder / "films", folder / "data"
    films.mkdir()
    film = write_film(
        films / "film.mp4",
        scenes(48, 32, [50, 50, 50, 50]),
        codec="libx264",
        options={"crf": "20", "threads": "1"},
    )
    (films / "broken.mp4").write_bytes(b"no film" * 1000)
    server = ServerProcess(data, "--root", str(films))
    story = Story(server, film, data / "outputs")
    job = server.add("films/film.mp4", options=OPTIONS)
    second = server.add("films/broken.mp4")

    journal = story.outputs / ".film.mp4.vsr" / "journal.jsonl"
    wait_for(lambda: journal.exists() and journal.read_text().count("\n") > 1)
    server.request("POST", f"/jobs/{job}/pause")
    story.jobs["paused"] = server.wait(job, "paused")
    story.segments = journal.read_text().count("\n") - 1
    story.jobs["broken"] = server.wait(second, "failed")

    server.request("POST", f"/jobs/{job}/resume")
    wait_for(server.children)[0].kill()
    story.jobs["killed"] = server.wait(job, "failed")

    server.request("POST", f"/jobs/{job}/retry")
    with server.client.stream("GET", "/api/v1/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                story.events.append(line.removeprefix("event: "))
            if line.startswith("data: {") and json.loads(line[6:])["state"] == "done":
                break
    story.jobs["done"] = server.wait(job, "done")
    yield story
    if server.process.poll() is None:
        server.stop()


def test_a_paused_job_keeps_its_finished_segments(story: Story) -> None:
    assert story.segments >= 1
    assert story.jobs["paused"]["frames"] == 50 * story.segments
    assert story.jobs["paused"]["finished"] is None


def test_the_next_job_runs_while_another_is_paused(story: Story) -> None:
    assert story.jobs["broken"]["state"] == "failed"


def test_a_broken_film_fails_in_one_line_without_paths(story: Story) -> None:
    error = story.jobs["broken"]["error"]
    assert re.match(r"films/broken\.mp4: can't be read as video", error)
    assert "\n" not in error


def test_a_killed_process_is_a_failed_job(story: Story) -> None:
    assert "ended by SIGKILL" in story.jobs["killed"]["error"]
    assert "\n" not in story.jobs["killed"]["error"]


def test_a_finished_job_tells_what_was_done(story: Story) -> None:
    job = story.jobs["done"]
    assert (job["frames"], job["frame_count"]) == (200, 200)
    assert (job["width"], job["height"], job["model"]) == (96, 64, "tiny-x2")
    assert job["output"] == "outputs/film.mp4"
    assert job["output_bytes"] == (story.outputs / "film.mp4").stat().st_size
    assert set(job["stages"]) == {"decode", "upscale", "encode"}
    assert any("resuming after" in message for message in job["messages"])
    assert not list(story.outputs.glob(".*"))


def test_listeners_get_a_snapshot_and_then_changes(story: Story) -> None:
    assert story.events[0] == "snapshot"
    assert set(story.events[1:]) == {"job"}


def test_an_output_is_downloaded_in_parts(story: Story) -> None:
    job, client = story.jobs["done"]["job"], story.server.client
    whole = (story.outputs / "film.mp4").read_bytes()
    path = f"/api/v1/jobs/{job}/output"
    answer = client.get(path)
    assert answer.content == whole
    assert answer.headers["content-disposition"] == 'attachment; filename="film.mp4"'
    part = client.get(path, headers={"range": "bytes=100-199", "if-range": answer.headers["etag"]})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    changed = client.get(path, headers={"range": "bytes=100-199", "if-range": '"another"'})
    assert (changed.status_code, changed.content) == (200, whole)
    assert client.get(path, headers={"range": f"bytes={len(whole)}-"}).status_code == 416
    assert client.head(path).headers["content-length"] == str(len(whole))


def test_a_second_server_can_not_use_the_same_data(story: Story) -> None:
    line = complaint("serve", "--port", 0, "--data", story.outputs.parent)
    assert "another vsr serve uses it" in line


def test_the_metrics_count_jobs_and_frames(story: Story) -> None:
    text = story.server.client.get("/metrics").text
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["vsr_jobs", "done"] == 1
    assert samples["vsr_jobs", "failed"] == 1
    assert samples["vsr_frames_total",] > 0
    assert samples["vsr_http_requests_total", "200"] > 3


def test_a_failed_job_can_be_cancelled(story: Story) -> None:
    job = story.jobs["broken"]["job"]
    cancelled = story.server.request("POST", f"/jobs/{job}/cancel")
    assert cancelled["state"] == "cancelled"


def test_a_cancelled_job_leaves_no_work(story: Story) -> None:
    server = story.server
    job = server.add("films/film.mp4", options=SLOW, name="cancelled")
    server.wait(job, "running")
    wait_for(server.children)
    server.request("POST", f"/jobs/{job}/cancel")
    server.wait(job, "cancelled")
    assert not list(story.outputs.glob("*cancelled*"))
    assert not server.children()


def test_a_server_that_ends_keeps_its_running_job(story: Story) -> None:
    server = story.server
    job = server.add("films/film.mp4", options=SLOW, name="kept")
    server.wait(job, "running")
    child = wait_for(server.children)[0]
    assert server.stop() == 0
    assert not child.is_running()
    assert "Traceback" not in server.log
    settings = make_settings(story.outputs.parent, "127.0.0.1", 8765, roots=[story.film.parent])
    assert Client(create_app(settings)).get(f"/api/v1/jobs/{job}").json()["state"] == "waiting"

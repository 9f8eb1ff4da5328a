"""The queue: order, states and refusals. No job runs here."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.web.client import Client, with_limits
from vsr.web.app import create_app
from vsr.web.database import Database
from vsr.web.settings import ServerSettings


@pytest.fixture
def film(films: Path) -> str:
    (films / "film.mp4").write_bytes(b"no film")
    return "films/film.mp4"


def add(client: Client, film: str, **values: Any) -> str:
    answer = client.post("/api/v1/jobs", json={"file": film, **values})
    assert answer.status_code == 201, answer.text
    job: str = answer.json()["job"]
    return job


def order(client: Client) -> list[str]:
    jobs = client.get("/api/v1/jobs").json()
    queue = [job["job"] for job in jobs if job["position"] is not None]
    assert [job["position"] for job in jobs[: len(queue)]] == list(range(len(queue)))
    return queue


def act(client: Client, job: str, action: str) -> Any:
    return client.post(f"/api/v1/jobs/{job}/{action}")


def test_jobs_wait_in_the_order_of_their_creation(client: Client, film: str) -> None:
    jobs = [add(client, film) for _ in range(3)]
    assert order(client) == jobs


@pytest.mark.parametrize(
    ("moved", "position", "expected"),
    [(2, 0, [2, 0, 1]), (0, 2, [1, 2, 0]), (0, 1000, [1, 2, 0]), (1, 1, [0, 1, 2])],
)
def test_a_job_moves_in_the_queue(
    client: Client,
    settings: ServerSettings,
    film: str,
    moved: int,
    position: int,
    expected: list[int],
) -> None:
    jobs = [add(client, film) for _ in range(3)]
    path = f"/api/v1/jobs/{jobs[moved]}/position"
    answer = client.request("PUT", path, json={"position": position})
    assert answer.json()["position"] == min(position, 2)
    assert order(client) == [jobs[index] for index in expected]
    restarted = Client(create_app(settings))
    assert order(restarted) == [jobs[index] for index in expected]


def test_a_paused_job_keeps_its_place(client: Client, film: str) -> None:
    jobs = [add(client, film) for _ in range(2)]
    assert act(client, jobs[0], "pause").json()["state"] == "paused"
    assert order(client) == jobs
    assert act(client, jobs[0], "resume").json()["state"] == "waiting"


def test_a_cancelled_job_can_be_retried_at_the_end(client: Client, film: str) -> None:
    jobs = [add(client, film) for _ in range(2)]
    assert act(client, jobs[0], "cancel").json()["state"] == "cancelled"
    assert order(client) == jobs[1:]
    assert act(client, jobs[0], "retry").json()["state"] == "waiting"
    assert order(client) == [jobs[1], jobs[0]]


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_a_cancelled_job_has_no_other_action(client: Client, film: str, action: str) -> None:
    job = add(client, film)
    act(client, job, "cancel")
    answer = act(client, job, action)
    assert answer.status_code == 409
    assert "is cancelled" in answer.json()["error"]


def test_a_waiting_job_has_no_output(client: Client, film: str) -> None:
    job = add(client, film)
    assert client.get(f"/api/v1/jobs/{job}/output").status_code == 409
    assert act(client, job, "retry").status_code == 409


def test_a_removed_job_stays_removed(client: Client, settings: ServerSettings, film: str) -> None:
    job = add(client, film)
    assert client.request("DELETE", f"/api/v1/jobs/{job}").status_code == 204
    assert client.get(f"/api/v1/jobs/{job}").status_code == 404
    assert Client(create_app(settings)).get("/api/v1/jobs").json() == []


def test_outputs_have_names_of_their_own(
    client: Client, settings: ServerSettings, film: str
) -> None:
    (settings.data / "outputs" / "film (2).mp4").touch()
    jobs = [add(client, film), add(client, film), add(client, film, options={"container": "mkv"})]
    named = add(client, film, name="../../a/b: new?")
    names = [client.get(f"/api/v1/jobs/{job}").json()["name"] for job in (*jobs, named)]
    assert names == ["film.mp4", "film (3).mp4", "film.mkv", "b_ new_.mp4"]


def test_too_many_jobs_are_refused(settings: ServerSettings, film: str) -> None:
    client = with_limits(settings, unfinished_jobs=2)
    jobs = [add(client, film) for _ in range(2)]
    assert client.post("/api/v1/jobs", json={"file": film}).status_code == 429
    act(client, jobs[0], "cancel")
    add(client, film)


def test_a_full_disk_is_refused(settings: ServerSettings, film: str) -> None:
    client = with_limits(settings, free_bytes=10**18)
    answer = client.post("/api/v1/jobs", json={"file": film})
    assert answer.status_code == 413
    assert "disk" in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("jobs", {"file": "films/film.mp4"}),
        ("uploads", {"name": "a.mp4", "bytes": 5}),
    ],
)
def test_a_database_that_can_not_be_written_is_one_line_and_nothing_is_added(
    client: Client, film: str, path: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Database, *arguments: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Database, "write", full)
    answer = client.post(f"/api/v1/{path}", json=body)
    line = "a folder of the server can't be used: database or disk is full"
    assert (answer.status_code, answer.json()) == (503, {"error": line})
    assert client.get(f"/api/v1/{path}").json() == []


@pytest.mark.parametrize("path", ["jobs", "uploads"])
def test_a_data_folder_that_disappears_is_one_line(
    client: Client, settings: ServerSettings, film: str, path: str
) -> None:
    shutil.rmtree(settings.data)
    body = {"file": film} if path == "jobs" else {"name": "a.mp4", "bytes": 5}
    answer = client.post(f"/api/v1/{path}", json=body)
    line = "a folder of the server can't be used: No such file or directory"
    assert (answer.status_code, answer.json()) == (503, {"error": line})


def test_the_oldest_finished_jobs_are_forgotten(settings: ServerSettings, film: str) -> None:
    client = with_limits(settings, kept_jobs=2)
    jobs = [add(client, film) for _ in range(4)]
    for job in jobs:
        act(client, job, "cancel")
    newest = add(client, film)
    assert [job["job"] for job in client.get("/api/v1/jobs").json()] == [newest, *jobs[:1:-1]]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"file": "films/none.mp4"}, 404),
        ({"file": "films/../data/serve.sqlite3"}, 404),
        ({"file": "/etc/passwd"}, 404),
        ({"file": "films"}, 404),
        ({"file": "films/film.mp4", "options": {"model": "../x"}}, 422),
        ({"file": "films/film.mp4", "options": {"model": "huge"}}, 400),
        ({"file": "films/film.mp4", "options": {"scale": 2, "size": "4k"}}, 400),
        ({"file": "films/film.mp4", "options": {"output": "/tmp/x"}}, 422),
        ({"file": "films/notes.txt"}, 400),
        ({"file": "films/a photo.jpg"}, 400),
        ({}, 422),
    ],
)
def test_a_job_that_can_not_run_is_refused(
    client: Client, films: Path, film: str, body: dict[str, Any], status: int
) -> None:
    (films / "notes.txt").touch()
    (films / "a photo.jpg").touch()
    answer = client.post("/api/v1/jobs", json=body)
    assert answer.status_code == status, answer.text
    assert str(films.parent) not in answer.text
    assert client.get("/api/v1/jobs").json() == []


def test_a_film_that_a_job_reads_can_not_be_removed(client: Client) -> None:
    upload = client.post("/api/v1/uploads", json={"name": "a.mp4", "bytes": 1}).json()
    path = f"/api/v1/uploads/{upload['upload']}"
    file = client.request("PATCH", path, headers={"upload-offset": "0"}, content=b"1").json()[
        "file"
    ]
    job = add(client, file)
    assert client.request("DELETE", path).status_code == 409
    act(client, job, "cancel")
    assert client.request("DELETE", path).status_code == 204

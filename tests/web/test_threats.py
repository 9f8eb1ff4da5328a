"""Requests that try to reach, start or block what they must not. Each is refused in one line."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.films import scenes, write_film
from tests.web.client import Client
from vsr.web import guard
from vsr.web.app import STATIC, create_app
from vsr.web.jobs import Job, JobRecord
from vsr.web.names import clean_name
from vsr.web.options import JobOptions
from vsr.web.settings import make_settings

API = "/api/v1"
OUTPUT = b"0123456789" * 1000


class Target(Client):
    """A server with a film, a finished job and a secret beside its root."""

    def __init__(self, folder: Path) -> None:
        self.films, data = folder / "films", folder / "data"
        self.films.mkdir()
        self.film = write_film(self.films / "a.mp4", scenes(48, 32, [5]), codec="libx264")
        self.secret = folder / "secret.mp4"
        self.secret.write_bytes(self.film.read_bytes())
        settings = make_settings(data, "127.0.0.1", 8765, roots=[self.films])
        super().__init__(create_app(settings))
        self.services = self.app.state.services
        self.services.views._is_warm = True  # nothing here needs the process of previews
        self.output = data / "outputs" / "<b>out.mp4"
        self.output.write_bytes(OUTPUT)
        job = Job(
            job="0123456789abcdef",
            file="films/a.mp4",
            name=self.output.name,
            options=JobOptions(),
            state="done",
            created=0,
        )
        self.job = f"{API}/jobs/{job.job}"
        self.services.queue._records[job.job] = JobRecord(job=job, rank=0)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    made = Target(tmp_path_factory.mktemp("threats"))
    yield made
    made.services.views.close()


def refused(target: Target, answer: httpx.Response) -> str:
    """The error of an answer, after a check that it tells no path."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    assert (
        answer.headers["content-security-policy"] == guard.SAFETY_HEADERS["content-security-policy"]
    )
    line: str = answer.json()["error"]
    assert "\n" not in line
    assert str(target.films.parent) not in line
    return line


PATHS = [
    "films/../secret.mp4",
    "films/%2e%2e/secret.mp4",
    "films/%252e%252e/secret.mp4",
    "films/..%2fsecret.mp4",
    "films/..\\secret.mp4",
    "films/..%5csecret.mp4",
    "films\\..\\secret.mp4",
    "films/a.mp4\0.png",
    "films/\0",
    "films//etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    "../secret.mp4",
    "films/a.mp4/../../secret.mp4",
    "films/./a.mp4",
    "films/a.mp4::$DATA",
    "films/~/a.mp4",
    "films/$HOME",
    "films/link.mp4",
    "films/folder/secret.mp4",
    "films/pipe.mp4",
    "outputs/../serve.sqlite3",
    "uploads/../lock",
    "concat:films/a.mp4|films/a.mp4",
    "films/concat:a.mp4|a.mp4",
    "films/subfile,,start,0,end,9,,:a.mp4",
    "films/http://evil.example/a.mp4",
    "' OR 1=1 --",
    "films/\ud800.mp4".encode("utf-8", "surrogatepass").decode("latin-1"),
    "films/" + "a" * 3900,
    "",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_route_takes_a_path_outside_the_roots(target: Target, path: str) -> None:
    link, folder, pipe = (target.films / name for name in ("link.mp4", "folder", "pipe.mp4"))
    if not link.is_symlink():
        link.symlink_to(target.secret)
        folder.symlink_to(target.secret.parent)
        os.mkfifo(pipe)
    file = {"file": path}
    for answer in (
        target.get(f"{API}/film", params=file),
        target.get(f"{API}/filmstrip", params=file),
        target.get(f"{API}/filmstrip.jpg", params=file),
        target.post(f"{API}/previews", json=file | {"time": 0}),
        target.post(f"{API}/plans", json=file),
        target.post(f"{API}/jobs", json=file),
    ):
        assert answer.status_code == 404
        refused(target, answer)
    if path:
        assert target.get(f"{API}/folders", params={"path": path}).status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        "..%2f",
        "%252e%252e",
        "..%2f..%2fserve.sqlite3",
        "%00",
        "..%5c",
        "'%20OR%20'1'='1",
        "1;DROP TABLE jobs",
    ],
)
@pytest.mark.parametrize(
    "route",
    [
        "jobs/{}",
        "jobs/{}/output",
        "jobs/{}/last-frame.jpg",
        "jobs/{}/verify",
        "jobs/{}/compare",
        "jobs/0123456789abcdef/media/{}",
        "previews/{}",
        "previews/{}/after.webp",
        "previews/{}/{}",
        "plans/{}",
        "uploads/{}",
    ],
)
def test_no_identifier_is_a_path_or_a_query(target: Target, route: str, name: str) -> None:
    answer = target.get(f"{API}/{route.replace('{}', name)}")
    assert answer.status_code in (404, 422)
    refused(target, answer)


def test_a_link_in_place_of_a_listed_film_is_refused(target: Target) -> None:
    film = target.films / "listed.mp4"
    film.write_bytes(target.film.read_bytes())
    listing = target.get(f"{API}/folders", params={"path": "films"}).json()
    (file,) = [one["file"] for one in listing["files"] if one["name"] == film.name]
    assert target.get(f"{API}/film", params={"file": file}).status_code == 200
    film.unlink()
    film.symlink_to(target.secret)
    assert "no such file" in refused(target, target.get(f"{API}/film", params={"file": file}))
    refused(target, target.post(f"{API}/previews", json={"file": file, "time": 0}))


def test_a_link_in_place_of_an_output_is_refused(target: Target) -> None:
    aside = target.output.with_name("aside.mp4")
    target.output.rename(aside)
    target.output.symlink_to(target.secret)
    try:
        for what in ("output", "compare", "media/output", "verify", "flicker"):
            assert "was removed" in refused(target, target.get(f"{target.job}/{what}"))
    finally:
        aside.rename(target.output)


@pytest.mark.parametrize(
    "text",
    [
        b"ffconcat version 1.0\nfile a.mp4\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b'<?xml version="1.0"?>\n<MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>',
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".mpd"])
def test_a_playlist_in_a_root_is_not_opened(target: Target, text: bytes, suffix: str) -> None:
    (target.films / f"list{suffix}").write_bytes(text)
    file = {"file": f"films/list{suffix}"}
    assert "is a playlist" in refused(target, target.get(f"{API}/film", params=file))
    for route in ("jobs", "plans"):
        assert "is a playlist" in refused(target, target.post(f"{API}/{route}", json=file))


@pytest.mark.parametrize(
    "name",
    [
        "concat:a.mp4|b.mp4",
        "subfile,,start,0,end,9,,:a.mp4",
        "http:__evil.mp4",
        "%03d.mp4",
        "-i.mp4",
        "a$(reboot)`id`;&.mp4",
        "<img src=x onerror=alert(1)>.mp4",
        "a\nb.mp4",
    ],
)
def test_a_strange_name_is_only_a_name(target: Target, name: str) -> None:
    (target.films / name).write_bytes(target.film.read_bytes())
    info = target.get(f"{API}/film", params={"file": f"films/{name}"})
    assert (info.status_code, info.json()["name"], info.json()["frames"]) == (200, name, 5)
    assert info.headers["content-type"] == "application/json"
    arguments = JobOptions(model="fast", start="-1").arguments()
    assert all(re.match(r"--[a-z-]+=", word) for word in arguments)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("CON .mp4", "_CON.mp4"),
        ("conout$.mkv", "_conout$.mkv"),
        ("COM¹.mp4", "_COM¹.mp4"),
        ("lpt9", "_lpt9"),
        ("com10.mp4", "com10.mp4"),
        ("..", ""),
        ("a.mp4. . ", "a.mp4"),
        ("..\\..\\a.mp4", "a.mp4"),
        ("<svg onload=alert(1)>.mp4", "_svg onload=alert(1)_.mp4"),
        ("concat:a|b.mp4", "concat_a_b.mp4"),
    ],
)
def test_names_of_uploads_are_safe(sent: str, kept: str) -> None:
    assert clean_name(sent) == kept


@pytest.mark.parametrize(
    "options",
    [
        {"output": "/tmp/x.mp4"},
        {"overwrite": True},
        {"encoder_option": "x264-params=stats=/tmp/x"},
        {"preset": "fast --overwrite"},
        {"size": "--help"},
        {"start": "--help"},
        {"start": "9" * 60},
        {"end": "1e99999"},
        {"end": "99999999999999999999999f"},
        {"start": "1:-1"},
        {"start": "nan"},
        {"end": "inf"},
        {"model": "fast\0"},
        {"model": "../../etc/passwd"},
        {"profile": "/etc/passwd"},
        {"codec": "copy"},
        {"container": "../mp4"},
        {"backend": "torch;id"},
        {"watches": []},
        {"__class__": "x"},
    ],
)
def test_a_job_takes_no_other_option(target: Target, options: dict[str, Any]) -> None:
    body = {"file": "films/a.mp4", "options": options}
    refused(target, target.post(f"{API}/jobs", json=body))
    refused(target, target.post(f"{API}/plans", json=body))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"file": "films/a.mp4", "time": NaN}',
        b'{"file": "films/a.mp4", "time": Infinity}',
        b'{"file": "films/a.mp4", "time": 1' + b"0" * 5000 + b"}",
        b'{"file": "films/a.mp4", "time": -0.5}',
        b'{"file": "\\ud800", "time": 0}',
        b'{"file": {"$ne": null}, "time": 0}',
        b"\xff\xfe",
        b"null",
    ],
)
def test_a_hostile_body_is_refused(target: Target, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    refused(target, target.post(f"{API}/previews", content=body, headers=headers))


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("bytes=0-0", 206),
        ("bytes=-5", 206),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 180, 2)), 206),
        ("bytes=" + ",".join("0-" for _ in range(90)), 206),
        ("bytes=" + ",".join(f"{n}-" for n in range(8000)), 200),
        ("bytes=10000-", 416),
        ("bytes=-0", 416),
        ("bytes=5-2", 400),
        ("bytes=a-b", 400),
        ("bytes=" + "9" * 5000 + "-", 400),
        ("items=0-1", 400),
        ("bytes", 400),
    ],
)
def test_ranges_cost_no_more_than_the_file(target: Target, value: str, status: int) -> None:
    answer = target.get(f"{target.job}/output", headers={"range": value})
    assert answer.status_code == status
    assert len(answer.content) <= len(OUTPUT) + 100 * 200
    assert "content-security-policy" in answer.headers
    if status >= 400:
        assert list(answer.json()) == ["error"]
    assert (answer.headers.get("content-range") == "bytes */10000") == (status == 416)


def test_a_file_that_is_removed_meanwhile_is_not_found(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target.services.queue, "output", lambda job: target.films / "gone.mp4")
    answer = target.get(f"{target.job}/output")
    assert (answer.status_code, answer.json()) == (404, {"error": "gone.mp4: was removed"})


def test_a_download_is_never_a_page(target: Target) -> None:
    answer = target.get(f"{target.job}/output")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert "<" not in answer.headers["content-disposition"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_builds_no_html_from_text() -> None:
    unsafe = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
        r"|createContextualFragment|parseFromString|srcdoc|javascript:"
    )
    for script in STATIC.rglob("*.js"):
        assert not unsafe.search(script.read_text()), script


def test_tokens_are_compared_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(create_app(make_settings(tmp_path, "0.0.0.0", 8765, token="a" * 16)))
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, wanted: bytes) -> bool:
        compared.append((given, wanted))
        return False

    monkeypatch.setattr("vsr.web.guard.hmac.compare_digest", compare)
    right = {"authorization": "Bearer " + "a" * 16}
    assert client.get(f"{API}/folders", headers=right).status_code == 401
    assert client.get("/?token=" + "a" * 16).status_code == 401
    assert client.get("/metrics", headers={"cookie": "vsr-8765=x"}).status_code == 401
    assert len(compared) == 3


def test_an_error_of_the_server_has_the_headers_of_safety(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(target.services.roots, "list", fail)
    with pytest.raises(ZeroDivisionError):
        target.get(f"{API}/folders")
    answer = target.request("GET", f"{API}/folders", raises=False)
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal error; the log of the server has more"}
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    ("slot", "path"),
    [
        ("request", f"{API}/folders"),
        ("transfer", f"{API}/jobs/0123456789abcdef/output"),
        ("transfer", f"{API}/uploads/x"),
        ("stream", f"{API}/events"),
    ],
)
def test_one_sort_of_requests_does_not_block_another(
    target: Target, monkeypatch: pytest.MonkeyPatch, slot: str, path: str
) -> None:
    active = target.services.traffic.active
    monkeypatch.setitem(active, slot, 1000)
    answer = target.get(path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    for other in ("/api/v1/folders", "/api/v1/jobs/0123456789abcdef/output"):
        assert target.get(other).status_code == (503 if guard._slot_of(other) == slot else 200)

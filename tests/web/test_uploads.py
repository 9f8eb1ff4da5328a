"""Uploads that break, resume and are refused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from starlette.requests import ClientDisconnect

from tests.web.client import Client, with_limits
from vsr.web.app import create_app
from vsr.web.refusals import Conflict
from vsr.web.settings import ServerSettings
from vsr.web.uploads import NewUpload, Uploads

BYTES = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes()


def announce(client: Client, name: str = "film.mp4", size: int = len(BYTES)) -> dict[str, Any]:
    answer = client.post("/api/v1/uploads", json={"name": name, "bytes": size})
    assert answer.status_code == 201, answer.text
    upload: dict[str, Any] = answer.json()
    return upload


def send(client: Client, upload: dict[str, Any], offset: int, content: Any) -> Any:
    headers = {"upload-offset": str(offset)}
    path = f"/api/v1/uploads/{upload['upload']}"
    return client.request("PATCH", path, headers=headers, content=content)


def uploads_of(client: Client) -> Uploads:
    uploads: Uploads = client.app.state.services.uploads
    return uploads


async def _broken(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 70_000):
        yield content[start : start + 70_000]
    raise ClientDisconnect


def test_chunks_make_the_same_bytes(client: Client, settings: ServerSettings) -> None:
    upload = announce(client, "../old film.mp4")
    for start in range(0, len(BYTES), 1_234_567):
        answer = send(client, upload, start, BYTES[start : start + 1_234_567])
        assert answer.status_code == 200, answer.text
    done = answer.json()
    assert done["complete"]
    assert done["file"] == f"uploads/{upload['upload']}/old film.mp4"
    assert (settings.data / done["file"]).read_bytes() == BYTES
    listing = client.get("/api/v1/folders", params={"path": f"uploads/{upload['upload']}"}).json()
    assert [file["file"] for file in listing["files"]] == [done["file"]]


def test_an_upload_resumes_where_the_connection_broke(
    client: Client, settings: ServerSettings
) -> None:
    upload = announce(client)
    uploads = uploads_of(client)
    with pytest.raises(ClientDisconnect):
        asyncio.run(uploads.append(upload["upload"], 0, _broken(BYTES[:2_000_000])))
    answer = client.request("HEAD", f"/api/v1/uploads/{upload['upload']}")
    assert answer.headers["upload-offset"] == "2000000"
    done = send(client, upload, 2_000_000, BYTES[2_000_000:]).json()
    assert (settings.data / done["file"]).read_bytes() == BYTES


def test_an_upload_resumes_after_a_restart(client: Client, settings: ServerSettings) -> None:
    upload = announce(client)
    send(client, upload, 0, BYTES[:1_500_000])
    with (settings.data / "partial" / upload["upload"]).open("ab") as file:
        file.write(b"of a crash, not recorded")
    restarted = Client(create_app(settings))
    offset = restarted.get(f"/api/v1/uploads/{upload['upload']}").json()["offset"]
    assert offset == 1_500_000
    done = send(restarted, upload, offset, BYTES[offset:]).json()
    assert (settings.data / done["file"]).read_bytes() == BYTES


@pytest.mark.parametrize("offset", [0, 999, 1001, 10**12])
def test_a_wrong_offset_is_told_the_right_one(client: Client, offset: int) -> None:
    upload = announce(client)
    send(client, upload, 0, BYTES[:1000])
    answer = send(client, upload, offset, BYTES[1000:])
    assert answer.status_code == 409
    assert answer.json()["offset"] == 1000


def test_a_missing_offset_is_refused(client: Client) -> None:
    upload = announce(client)
    answer = client.request("PATCH", f"/api/v1/uploads/{upload['upload']}", content=b"1")
    assert answer.status_code == 422


def test_more_than_the_announced_bytes_are_refused(client: Client) -> None:
    upload = announce(client, size=10)
    assert send(client, upload, 0, b"12345678901").status_code == 413
    assert client.get(f"/api/v1/uploads/{upload['upload']}").json()["offset"] == 0


def test_a_newer_request_takes_over(client: Client, settings: ServerSettings) -> None:
    uploads = uploads_of(client)

    async def upload() -> None:
        new = await uploads.create(NewUpload(name="film.mp4", bytes=len(BYTES)))
        waiting = asyncio.Event()

        async def stalled() -> AsyncIterator[bytes]:
            yield BYTES[: 2 << 20]
            await waiting.wait()
            yield b"late" * (1 << 20)

        older = asyncio.create_task(uploads.append(new.upload, 0, stalled()))
        while (offset := uploads.get(new.upload).offset) == 0:
            await asyncio.sleep(0.01)

        async def rest() -> AsyncIterator[bytes]:
            yield BYTES[offset:]

        done = await uploads.append(new.upload, offset, rest())
        waiting.set()
        with pytest.raises(Conflict, match="newer request"):
            await older
        assert done.file is not None
        assert (settings.data / done.file).read_bytes() == BYTES

    asyncio.run(upload())


@pytest.mark.parametrize("name", ["x.html", "x", ".mp4", "x.m3u8", "x.mp4.exe", "\n", "x.svg"])
def test_other_files_than_films_and_pictures_are_refused(plain_client: Client, name: str) -> None:
    answer = plain_client.post("/api/v1/uploads", json={"name": name, "bytes": 1})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "text",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"\xef\xbb\xbfffconcat version 1.0\nfile secret.mp4\n",
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    ],
)
def test_a_playlist_under_the_name_of_a_film_is_refused(
    client: Client, settings: ServerSettings, text: bytes
) -> None:
    upload = announce(client, size=len(text))
    answer = send(client, upload, 0, text)
    assert answer.status_code == 400
    assert "playlist" in answer.json()["error"]
    assert client.get(f"/api/v1/uploads/{upload['upload']}").status_code == 404
    assert not list((settings.data / "partial").iterdir())


def test_a_file_beyond_the_limit_is_refused(settings: ServerSettings) -> None:
    client = with_limits(settings, upload_bytes=1000)
    answer = client.post("/api/v1/uploads", json={"name": "a.mp4", "bytes": 1001})
    assert answer.status_code == 413
    assert "limit" in answer.json()["error"]


def test_a_file_larger_than_the_disk_is_refused(settings: ServerSettings) -> None:
    client = with_limits(settings, upload_bytes=10**18)
    answer = client.post("/api/v1/uploads", json={"name": "a.mp4", "bytes": 10**17})
    assert answer.status_code == 413
    assert "disk" in answer.json()["error"]


def test_too_many_incomplete_uploads_are_refused(settings: ServerSettings) -> None:
    client = with_limits(settings, uploads=2)
    uploads = [announce(client, size=10) for _ in range(2)]
    body = {"name": "a.mp4", "bytes": 10}
    assert client.post("/api/v1/uploads", json=body).status_code == 429
    path = f"/api/v1/uploads/{uploads[0]['upload']}"
    assert client.request("DELETE", path).status_code == 204
    assert client.post("/api/v1/uploads", json=body).status_code == 201


def test_a_removed_upload_leaves_no_file(client: Client, settings: ServerSettings) -> None:
    upload = announce(client, size=3)
    send(client, upload, 0, b"123")
    client.request("DELETE", f"/api/v1/uploads/{upload['upload']}")
    assert not list((settings.data / "uploads").iterdir())
    assert client.get("/api/v1/uploads").json() == []


@pytest.mark.parametrize("path", ["../../etc/passwd", "none", "%2e%2e%2f", "a" * 5000])
def test_an_unknown_upload_is_not_found(plain_client: Client, path: str) -> None:
    assert plain_client.get(f"/api/v1/uploads/{path}").status_code == 404


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"name": "a.mp4"}', b'{"name": "\\ud800.mp4", "bytes": 1e400}']
)
def test_a_malformed_body_is_refused_in_one_line(plain_client: Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = plain_client.post("/api/v1/uploads", content=body, headers=headers)
    assert answer.status_code == 422
    assert "\n" not in answer.json()["error"]


def test_a_body_of_another_type_is_refused(plain_client: Client) -> None:
    headers = {"content-type": "text/plain"}  # what a form of another site can send
    content = b'{"name": "a.mp4", "bytes": 1}'
    answer = plain_client.post("/api/v1/uploads", content=content, headers=headers)
    assert answer.status_code == 422


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 1024


async def _slow() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.sleep(60)


def test_a_large_body_without_a_length_is_refused(plain_client: Client) -> None:
    headers = {"content-type": "application/json"}
    answer = plain_client.post("/api/v1/uploads", content=_endless(), headers=headers)
    assert answer.status_code == 413


def test_a_slow_body_is_refused(settings: ServerSettings) -> None:
    client = with_limits(settings, body_seconds=0.1)
    headers = {"content-type": "application/json"}
    answer = client.post("/api/v1/uploads", content=_slow(), headers=headers)
    assert answer.status_code == 408

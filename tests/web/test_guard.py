"""Requests that the server refuses, whatever they ask for."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.web.client import ADDRESS, Client, with_limits
from vsr.errors import ConfigError
from vsr.web.app import create_app
from vsr.web.settings import ServerSettings, make_settings

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def open_client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A client of a server that other machines reach."""
    folder = tmp_path_factory.mktemp("open")
    return Client(create_app(make_settings(folder, "0.0.0.0", 8765, token=TOKEN)))


@pytest.mark.parametrize(
    "host", ["localhost:8765", "127.0.0.1:8765", "[::1]:8765", "LOCALHOST:8765"]
)
def test_loopback_names_are_served(plain_client: Client, host: str) -> None:
    assert plain_client.get("/api/v1/folders", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8765",
        "localhost",
        "localhost:80",
        "localhost.:8765",
        "127.0.0.1.evil.example:8765",
        "192.168.0.7:8765",
        "user@localhost:8765",
        "",
    ],
)
def test_a_foreign_host_is_refused(plain_client: Client, host: str) -> None:
    answer = plain_client.get("/api/v1/folders", headers={"host": host})
    assert answer.status_code == 421
    assert "Host" in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_request_of_a_foreign_page_is_refused(
    plain_client: Client, method: str, headers: dict[str, str]
) -> None:
    assert plain_client.request(method, "/api/v1/folders", headers=headers).status_code == 403


def test_the_own_page_is_served(plain_client: Client) -> None:
    headers = {"origin": ADDRESS, "sec-fetch-site": "same-origin"}
    assert plain_client.get("/api/v1/folders", headers=headers).status_code == 200


def test_a_link_from_another_site_opens_the_page(plain_client: Client) -> None:
    assert plain_client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/static/index.html", "/api/v1/folders", "/api/v1/none"])
def test_every_response_has_the_headers_of_safety(plain_client: Client, path: str) -> None:
    headers = plain_client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong-horse-battery"},
        {"authorization": f"Basic {TOKEN}"},
        {"cookie": f"vsr-8765={TOKEN}"},
        {
            "authorization": "Bearer é".encode()
            .decode("latin-1")
            .encode("latin-1")
            .decode("latin-1")
        },
    ],
)
def test_a_missing_or_wrong_token_is_refused(open_client: Client, headers: dict[str, str]) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = open_client.get("/api/v1/folders", headers=encoded)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_bearer_token_is_accepted(open_client: Client) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert open_client.get("/api/v1/folders", headers=headers).status_code == 200


def test_the_token_in_the_address_becomes_a_cookie(open_client: Client) -> None:
    answer = open_client.get(f"/?token={TOKEN}")
    cookie = answer.headers["set-cookie"]
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    headers = {"cookie": cookie.partition(";")[0]}
    assert open_client.get("/api/v1/folders", headers=headers).status_code == 200


def test_other_machines_use_any_address(open_client: Client) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", "host": "192.168.0.7:8765"}
    assert open_client.get("/api/v1/folders", headers=headers).status_code == 200
    headers["host"] = "evil.example:8765"
    assert open_client.get("/api/v1/folders", headers=headers).status_code == 421


def test_another_host_needs_a_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="add --token"):
        make_settings(tmp_path, "0.0.0.0", 8765)


def test_a_short_token_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="16 or more"):
        make_settings(tmp_path, "0.0.0.0", 8765, token="secret")


def test_a_reverse_proxy_has_a_name_of_its_own(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "127.0.0.1", 8765, host_names=["Films.example"])
    client = Client(create_app(settings))
    headers = {"host": "films.example", "origin": "https://films.example"}
    assert client.get("/api/v1/folders", headers=headers).status_code == 200


def test_a_large_body_is_refused_before_it_is_read(plain_client: Client) -> None:
    answer = plain_client.post("/api/v1/folders", headers={"content-length": str(10**15)})
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


def test_too_many_requests_at_once_are_refused(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = with_limits(settings, requests=8).app
    release = asyncio.Event()

    async def wait(*arguments: Any) -> Any:
        await release.wait()
        return {"path": "", "parent": None, "folders": [], "files": []}

    monkeypatch.setattr("vsr.web.routes.folders.run_sync", wait)

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            requests = [asyncio.create_task(client.get("/api/v1/folders")) for _ in range(100)]
            while sum(task.done() for task in requests) < 92:
                await asyncio.sleep(0.01)
            release.set()
            return await asyncio.gather(*requests)

    answers = asyncio.run(send())
    assert sorted({answer.status_code for answer in answers}) == [200, 503]
    assert sum(answer.status_code == 200 for answer in answers) == 8
    assert all(
        answer.headers["retry-after"] == "1" for answer in answers if answer.status_code > 200
    )


def test_requests_after_too_many_are_served(plain_client: Client) -> None:
    assert [plain_client.get("/api/v1/folders").status_code for _ in range(3)] == [200] * 3
    assert plain_client.app.state.services.traffic.active.total() == 0

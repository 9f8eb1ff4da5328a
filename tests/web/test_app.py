"""The application: its description, its document, its page."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.web.client import Client
from vsr.errors import ConfigError
from vsr.web import events
from vsr.web.app import STATIC
from vsr.web.events import EventHub, Removed
from vsr.web.settings import Limits, parse_limits
from vsr.zoo import list_models


def test_the_server_describes_models_and_formats(client: Client) -> None:
    about = client.get("/api/v1/about").json()
    models = {model["name"]: model for model in about["models"]}
    assert set(models) == {c.name for c in list_models() if not c.name.endswith("-gan")}
    assert models["base-x4"]["quality"] == "best"
    assert models["base-x4"]["has_twin"]
    assert models["base-x4"]["default_detail"] == 0.5
    assert models["tiny-x4-bd"]["quality"] is None
    assert about["roots"] == ["uploads", "outputs", "films"]
    assert {"name": "1080p", "width": 1920, "height": 1080} in about["screens"]
    codecs = {codec["name"]: codec["containers"] for codec in about["codecs"]}
    assert ("webm" in codecs["av1"], "webm" in codecs["h264"]) == (True, False)
    assert about["limits"]["requests"] == 64


def test_the_document_describes_errors_of_all_routes(plain_client: Client) -> None:
    document = plain_client.get("/api/v1/openapi.json").json()
    assert len(document["paths"]) >= 12
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            error = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
            assert error == {"$ref": "#/components/schemas/Error"}, (path, method)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/api/v1/none", "/static/"])
def test_no_other_page_is_served(plain_client: Client, path: str) -> None:
    answer = plain_client.get(path)
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd"]
)
def test_static_files_are_those_of_the_package(plain_client: Client, path: str) -> None:
    assert plain_client.get(f"/static/{path}").status_code == 404


def test_a_wrong_method_is_one_line(plain_client: Client) -> None:
    answer = plain_client.request("PUT", "/api/v1/jobs")
    assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})


class _Page(HTMLParser):
    """Finds what a content security policy without inline code would block."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        inline = tag == "style" or (tag == "script" and "src" not in names)
        remote = [v for k, v in attrs if k in ("src", "href") and v and re.match(r"\w+:|//", v)]
        handlers = [k for k in names if k.startswith("on") or k == "style"]
        if inline or remote or handlers:
            self.blocked.append(f"{tag} {attrs}")


def test_the_page_has_no_inline_code_and_loads_nothing_from_elsewhere(plain_client: Client) -> None:
    page = _Page()
    page.feed(plain_client.get("/").text)
    assert page.blocked == []
    for path in STATIC.rglob("*"):
        if path.suffix in (".js", ".css", ".html"):
            assert not re.search(r"https?://(?!www\.w3\.org/)", path.read_text()), path


def _received(stream: AsyncIterator[str], count: int) -> Any:
    async def receive() -> list[str]:
        return [await anext(stream) for _ in range(count)]

    return receive()


def test_a_slow_listener_gets_the_newest_state_alone() -> None:
    async def listen() -> list[str]:
        hub = EventHub()
        stream = hub.stream(lambda: "first")
        texts = [await anext(stream)]
        for number in range(1000):
            hub.publish("removed", "a", Removed(job=str(number)))
        hub.publish("removed", "b", Removed(job="b"))
        texts += await _received(stream, 2)
        await stream.aclose()  # type: ignore[attr-defined]
        assert hub.listeners == 0
        return texts

    texts = asyncio.run(listen())
    data = [json.loads(text.split("data: ")[1]) for text in texts[1:]]
    assert data == [{"job": "999"}, {"job": "b"}]


def test_a_silent_stream_has_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.01)
    texts = asyncio.run(_received(EventHub().stream(lambda: "first"), 3))
    assert texts == ["first", ": \n\n", ": \n\n"]


def test_streams_end_with_the_server() -> None:
    async def listen() -> list[str]:
        hub = EventHub()
        stream = hub.stream(lambda: "first")
        texts = [await anext(stream)]
        hub.close()
        return texts + [text async for text in stream]

    assert asyncio.run(listen()) == ["first"]


def test_every_limit_is_documented() -> None:
    text = (STATIC.parents[2] / "docs" / "how-to" / "serve.md").read_text()
    assert [name for name in Limits.model_fields if f"`{name}`" not in text] == []


def test_limits_are_set_by_name() -> None:
    limits = parse_limits(["upload_bytes=50_000", "body_seconds=1.5"])
    assert (limits.upload_bytes, limits.body_seconds) == (50_000, 1.5)


@pytest.mark.parametrize("text", ["uploads", "uploads=many", "uploads=0", "nothing=1"])
def test_a_wrong_limit_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="--limit"):
        parse_limits([text])

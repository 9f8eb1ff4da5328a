"""Refuse requests that come from elsewhere, are too large, too slow or too many.

- Host must be a name of this server, or a page of another site could reach it under a name of its
  own (DNS rebinding).
- A request that changes something must not come from another site's page (CSRF).
- With a token, each request must hold it.
- Bodies have a size and a least rate, and only so many requests run at once.
"""

import hmac
import ipaddress
import re
import socket
import time
from asyncio import wait_for
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from typing import Literal
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vsr.web.settings import LOOPBACK_NAMES, ServerSettings

API = "/api/v1"
_EVENTS_PATH = f"{API}/events"
"""The path whose requests stay open."""
_TRANSFERS = re.compile(
    rf"{API}/(uploads/[^/]*|jobs/[^/]*/(output|media/[^/]*)|previews/[^/]*/[^/]*)"
)
"""Paths whose requests take as long as the client's connection does."""
UPLOADS_PATH = f"{API}/uploads/"
"""Paths below it take bodies of any size; the route checks them."""
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(?::(\d{1,5}))?", re.ASCII)
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
SAFETY_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Headers of all responses."""

Slot = Literal["request", "transfer", "stream"]
"""Requests that are limited together."""


@dataclass
class Traffic:
    """Counts of requests, for the metrics."""

    active: Counter[Slot] = field(default_factory=Counter)
    """Requests that are being answered."""
    answered: Counter[int] = field(default_factory=Counter)
    """Answers by status."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refusals of the guard by reason."""


@dataclass(frozen=True)
class _Refusal:
    status: int
    reason: str
    """A word for the metrics."""
    text: str


class Guard:
    """ASGI middleware that refuses unsafe requests, and adds the headers of safety."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, traffic: Traffic) -> None:
        self._app = app
        self._settings = settings
        self._limits = settings.limits
        self._traffic = traffic
        self._hosts = _Hosts(settings)
        self._cookie = f"vsr-{settings.port}"  # cookies don't tell ports apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, self._traffic)
        headers = Headers(scope=scope)
        refusal = self._refuse_origin(scope, headers)
        if refusal is None and (login := self._login(scope)) is not None:
            await login(scope, receive, answer)
            return
        refusal = refusal or self._refuse_token(headers) or self._refuse_size(scope, headers)
        slot = _slot_of(scope["path"])
        refusal = refusal or self._refuse_busy(slot)
        if refusal is not None:
            await self._send_refusal(scope, receive, answer, refusal)
            return
        self._traffic.active[slot] += 1
        try:
            await self._app(scope, self._limited(scope, receive), answer)
        except Exception:
            if not answer.is_started:
                error = {"error": "internal error; the log of the server has more"}
                await JSONResponse(error, 500)(scope, receive, answer)
            raise
        finally:
            self._traffic.active[slot] -= 1

    def _refuse_busy(self, slot: Slot) -> _Refusal | None:
        limits = self._limits
        most, what = {
            "request": (limits.requests, "requests at once; try again in a second"),
            "transfer": (limits.transfers, "uploads and downloads at once; end one, or wait"),
            "stream": (limits.listeners, "open streams of events; close one"),
        }[slot]
        if self._traffic.active[slot] < most:
            return None
        return _Refusal(503, "busy", f"too many {what}")

    async def _send_refusal(
        self, scope: Scope, receive: Receive, send: Send, refusal: _Refusal
    ) -> None:
        self._traffic.refused[refusal.reason] += 1
        # The body isn't read: the connection can't be used again.
        extra = {"connection": "close"}
        if refusal.status == 503:
            extra["retry-after"] = "1"
        if refusal.status == 401:
            extra["www-authenticate"] = "Bearer"
        response = JSONResponse({"error": refusal.text}, refusal.status, extra)
        await response(scope, receive, send)

    def _refuse_origin(self, scope: Scope, headers: Headers) -> _Refusal | None:
        """Check Host, Origin and Sec-Fetch-Site."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._hosts.includes(hosts[0].lower()):
            return _Refusal(421, "host", "this server has another name; check the Host header")
        host = hosts[0].lower()
        is_safe = scope["method"] in _SAFE_METHODS
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return _Refusal(403, "origin", "requests from pages of other sites are refused")
        is_page = scope["path"] == "/" and is_safe
        site = headers.get("sec-fetch-site", "none")
        if not is_page and site not in ("none", "same-origin"):
            return _Refusal(403, "origin", "requests from pages of other sites are refused")
        return None

    def _refuse_token(self, headers: Headers) -> _Refusal | None:
        token = self._settings.token
        if token is None:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(given.strip(), token):
            return None
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            cookie = None
        if cookie is not None and _equal(cookie.value, _cookie_value(token)):
            return None
        return _Refusal(
            401, "token", "the token is missing or wrong; open /?token=TOKEN, or send it as Bearer"
        )

    def _login(self, scope: Scope) -> Response | None:
        """Turn the token in the page's address into a cookie."""
        token = self._settings.token
        if token is None or scope["path"] != "/" or scope["method"] != "GET":
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if not (len(given) == 1 and _equal(given[0], token)):
            return None
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(
            self._cookie, _cookie_value(token), httponly=True, samesite="strict", path="/"
        )
        return response

    def _refuse_size(self, scope: Scope, headers: Headers) -> _Refusal | None:
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return _Refusal(400, "size", "Content-Length is no number")
        most = self._most_bytes(scope)
        if int(length[:20]) > most:
            return _Refusal(413, "size", f"the body is larger than {most} bytes")
        return None

    def _most_bytes(self, scope: Scope) -> int:
        is_upload = scope["method"] == "PATCH" and scope["path"].startswith(UPLOADS_PATH)
        return self._limits.upload_bytes if is_upload else self._limits.json_bytes

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Limit the size and the time of a body while it is received."""
        most, limits = self._most_bytes(scope), self._limits
        started, received, is_complete = time.monotonic(), 0, False

        async def receive_some() -> Message:
            nonlocal received, is_complete
            if is_complete:  # now, this waits for the client to leave
                return await receive()
            left = started + limits.body_seconds + received / limits.body_rate - time.monotonic()
            try:
                message = await wait_for(receive(), max(left, 0))
            except TimeoutError as error:
                self._traffic.refused["slow"] += 1
                raise HTTPException(
                    408, "the body arrives too slowly", {"connection": "close"}
                ) from error
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if received > most:
                self._traffic.refused["size"] += 1
                raise HTTPException(
                    413, f"the body is larger than {most} bytes", {"connection": "close"}
                )
            return message

        return receive_some


class _Answer:
    """Sends an answer with the headers of safety."""

    def __init__(self, send: Send, traffic: Traffic) -> None:
        self._send, self._traffic = send, traffic
        self.is_started = False
        """Whether the status was sent."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started = True
            self._traffic.answered[message["status"]] += 1
            headers = MutableHeaders(scope=message)
            for name, value in SAFETY_HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-cache")
        await self._send(message)


class _Hosts:
    """The values of the Host header that name this server."""

    def __init__(self, settings: ServerSettings) -> None:
        self._port = settings.port
        self._names = set(LOOPBACK_NAMES)
        self._exact = set(settings.host_names)
        self._takes_addresses = not settings.is_loopback
        if self._takes_addresses:
            machine = socket.gethostname().lower()
            self._names |= {settings.host.lower(), machine, f"{machine}.local"}

    def includes(self, host: str) -> bool:
        """Whether a value, in lower case, names this server.

        Other machines may use any address of this one: only names can be rebound.
        """
        if host in self._exact:
            return True
        found = _HOST.fullmatch(host)
        if found is None or int(found[2] or 80) != self._port:
            return False
        return found[1] in self._names or (self._takes_addresses and _is_address(found[1]))


def _slot_of(path: str) -> Slot:
    if path == _EVENTS_PATH:
        return "stream"
    return "transfer" if _TRANSFERS.fullmatch(path) else "request"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _cookie_value(token: str) -> str:
    """Derive the cookie from the token, so that the cookie doesn't give the token away."""
    return hmac.new(token.encode(), b"vsr serve cookie", sha256).hexdigest()


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())

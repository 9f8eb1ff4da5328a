"""Attacks on the sockets of a server, and its end."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.helpers.cli import complaint
from tests.web.server import ServerProcess

pytestmark = pytest.mark.slow

_GOOD = b"GET /api/v1/folders HTTP/1.1\r\nHost: HOST\r\n"
LIMITS = ("header_seconds=0.5", "body_seconds=0.5", "body_rate=1000000", "requests=16")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("attacks") / "data"
    server = ServerProcess(data, *(word for limit in LIMITS for word in ("--limit", limit)))
    server.request("GET", "/about")  # imports torch, which would disturb short times
    yield server
    if server.process.poll() is None:
        server.stop()


def connect(server: ServerProcess) -> socket.socket:
    url = server.client.base_url
    return socket.create_connection((url.host, url.port or 0), timeout=30)


def _for(server: ServerProcess, request: bytes) -> bytes:
    """Name the server in a request."""
    return request.replace(b"HOST", f"127.0.0.1:{server.client.base_url.port}".encode())


def exchange(server: ServerProcess, request: bytes) -> bytes:
    """Send bytes, and read until the server closes the connection."""
    with connect(server) as connection:
        connection.sendall(_for(server, request))
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def test_a_connection_without_a_request_is_closed(server: ServerProcess) -> None:
    assert exchange(server, b"") == b""


def test_headers_that_do_not_end_are_cut_off(server: ServerProcess) -> None:
    assert exchange(server, _GOOD + b"X-Slow: ") == b""


def test_headers_of_a_second_request_are_cut_off(server: ServerProcess) -> None:
    with connect(server) as connection:
        connection.sendall(_for(server, _GOOD + b"\r\n"))
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65_536)
        connection.sendall(_for(server, _GOOD))
        started = time.monotonic()
        assert connection.recv(65_536) == b""
        assert time.monotonic() < started + 4  # before the time of an idle connection ends


def test_headers_that_trickle_are_cut_off(server: ServerProcess) -> None:
    with connect(server) as connection:
        for _ in range(100):
            try:
                connection.sendall(b"G")
            except (BrokenPipeError, ConnectionResetError):
                return
            time.sleep(0.1)
    pytest.fail("the connection is still open")


def test_a_body_that_trickles_is_cut_off(server: ServerProcess) -> None:
    head = b"POST /api/v1/uploads HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
    answer = exchange(server, head + b"Content-Length: 1000\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408")


def test_an_upload_that_trickles_is_cut_off_and_kept(server: ServerProcess) -> None:
    upload = server.request("POST", "/uploads", json={"name": "a.mp4", "bytes": 1000})
    path = f"/api/v1/uploads/{upload['upload']}"
    head = f"PATCH {path} HTTP/1.1\r\nHost: HOST\r\nUpload-Offset: 0\r\n".encode()
    answer = exchange(server, head + b"Content-Length: 1000\r\n\r\n12345")
    assert answer.startswith(b"HTTP/1.1 408")
    assert server.request("GET", f"/uploads/{upload['upload']}")["offset"] == 5


def test_a_client_that_leaves_in_mid_upload_loses_nothing(server: ServerProcess) -> None:
    upload = server.request("POST", "/uploads", json={"name": "a.mp4", "bytes": 1000})
    path = f"/uploads/{upload['upload']}"
    host = f"127.0.0.1:{server.client.base_url.port}"
    with connect(server) as connection:
        connection.sendall(
            f"PATCH /api/v1{path} HTTP/1.1\r\nHost: {host}\r\nUpload-Offset: 0\r\n"
            "Content-Length: 1000\r\n\r\n12345".encode()
        )
    deadline = time.monotonic() + 20
    while server.request("GET", path)["offset"] != 5:
        assert time.monotonic() < deadline
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: HOST\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        _GOOD + b"Content-Length: 5\r\nContent-Length: 6\r\nConnection: close\r\n\r\n12345",
        _GOOD + b"Content-Length: -1\r\nConnection: close\r\n\r\n",
        _GOOD + b"Content-Length: 999999999999999999\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00" * 10 + b"\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        b"GET /static/../../../etc/passwd HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        b"GET /static/%2e%2e%2fapp.py HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/folders?path=uploads/%ff HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused(server: ServerProcess, request_: bytes) -> None:
    assert exchange(server, request_).startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))


def test_headers_without_end_are_cut_off(server: ServerProcess) -> None:
    with connect(server) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.sendall(_GOOD + b"X: " + b"a" * (64 << 20))


def test_a_websocket_is_refused(server: ServerProcess) -> None:
    headers = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    answer = exchange(server, b"GET /api/v1/none HTTP/1.1\r\nHost: HOST\r\n" + headers + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 404")


def _status(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)[9:12]
    except ConnectionResetError:
        return b"cut"


def test_a_thousand_requests_at_once_are_answered_or_refused(server: ServerProcess) -> None:
    request = _for(server, _GOOD + b"Connection: close\r\n\r\n")
    with ExitStack() as stack:
        connections = []
        for _ in range(1000):
            connections.append(stack.enter_context(connect(server)))
            with suppress(BrokenPipeError, ConnectionResetError):
                connections[-1].sendall(request)
        statuses = Counter(map(_status, connections))
    assert set(statuses) <= {b"200", b"503", b"cut"}, statuses
    assert statuses[b"200"] > 0, statuses
    assert server.client.get("/api/v1/folders").status_code == 200


def test_the_server_ends_with_an_open_stream_and_says_nothing(server: ServerProcess) -> None:
    url = server.client.base_url
    with connect(server) as connection:
        host = f"127.0.0.1:{url.port}"
        connection.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert connection.recv(9) == b"HTTP/1.1 "
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() < started + 10
    assert "Traceback" not in server.log


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = complaint("serve", "--port", port, "--data", tmp_path / "data")
    assert "can't listen at 127.0.0.1" in line

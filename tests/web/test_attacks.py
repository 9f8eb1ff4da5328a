"""Attacks on the sockets of a server, and its end."""

import re
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.helpers.cli import complaint
from tests.web.server import ServerProcess, wait_for
from vsr.web.database import Database
from vsr.web.job_store import JobStore
from vsr.web.jobs import Job, JobRecord
from vsr.web.options import JobOptions
from vsr.web.settings import make_settings

pytestmark = pytest.mark.slow

_GOOD = b"GET /api/v1/folders HTTP/1.1\r\nHost: HOST\r\n"
LIMITS = (
    "header_seconds=0.5",
    "body_seconds=0.5",
    "body_rate=1000000",
    "stalled_seconds=0.5",
    "requests=16",
    "transfers=4",
    "listeners=4",
)
DOWNLOAD = "/api/v1/jobs/0123456789abcdef/output"
"""The address of an output that is larger than all buffers."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("attacks") / "data"
    settings = make_settings(data, "127.0.0.1", 8765)
    with (data / "outputs" / "out.mp4").open("wb") as output:
        output.truncate(64 << 20)
    database = Database(settings.data / "serve.sqlite3")
    job = Job(
        job="0123456789abcdef",
        file="uploads/a.mp4",
        name="out.mp4",
        options=JobOptions(),
        state="done",
        created=0,
    )
    JobStore(database).save(JobRecord(job=job, rank=0))
    database.close()
    server = ServerProcess(data, *(word for limit in LIMITS for word in ("--limit", limit)))
    yield server
    if server.process.poll() is None:
        server.stop()


def test_the_first_view_is_complete_within_a_second(server: ServerProcess) -> None:
    """Nothing was requested before. Time of the processor: that of the clock is others', too."""
    process = psutil.Process(server.process.pid)
    before = process.cpu_times()
    addresses, seconds = ["/", "/api/v1/about", "/api/v1/jobs", "/api/v1/folders"], []
    for address in addresses:  # scripts and styles are added
        started = time.monotonic()
        answer = server.client.get(address)
        seconds.append(time.monotonic() - started)
        assert answer.status_code == 200, address
        found = re.findall(r"""(?:(?:src|href)=|from )["']([\w./-]+)["']""", answer.text)
        found = [str(answer.url.join(one).path) for one in found if "/" in one]
        addresses += [one for one in dict.fromkeys(found) if one not in addresses]
    assert len(addresses) > 10
    after = process.cpu_times()
    assert after.user - before.user + after.system - before.system < 1
    assert statistics.median(seconds) < 0.035  # an answer that waits for an ACK takes 0.04 s


def connect(server: ServerProcess) -> socket.socket:
    url = server.client.base_url
    return socket.create_connection((url.host, url.port or 0), timeout=30)


def _for(server: ServerProcess, request: bytes) -> bytes:
    """Name the server in a request."""
    return request.replace(b"HOST", f"127.0.0.1:{server.client.base_url.port}".encode())


def _answer(connection: socket.socket) -> bytes:
    """Read one answer, which ends with a JSON object. Headers and body may arrive separately."""
    answer = b""
    while not answer.endswith(b"}"):
        part = connection.recv(65_536)
        assert part, answer
        answer += part
    return answer


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
        _answer(connection)
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
    answer = exchange(server, request_)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert b"content-security-policy: default-src 'none'" in answer
    assert b'{"error":' in answer


def test_headers_without_end_are_cut_off(server: ServerProcess) -> None:
    with connect(server) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.sendall(_GOOD + b"X: " + b"a" * (64 << 20))


def test_a_websocket_is_refused(server: ServerProcess) -> None:
    headers = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    answer = exchange(server, b"GET /api/v1/none HTTP/1.1\r\nHost: HOST\r\n" + headers + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 404")


def test_a_broken_body_after_an_early_answer_ends_the_connection(server: ServerProcess) -> None:
    head = b"POST /api/v1/none HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(_for(server, head))
        assert _answer(connection).startswith(b"HTTP/1.1 4")
        connection.sendall(b"no length\r\n")
        assert connection.recv(65_536) == b""
    assert "Traceback" not in server.log


def _open(server: ServerProcess, stack: ExitStack, path: str, count: int) -> list[bytes]:
    """Send requests at once, and read the start of each answer; the statuses."""
    request = f"GET {path} HTTP/1.1\r\nHost: HOST\r\n\r\n".encode()
    connections = [stack.enter_context(connect(server)) for _ in range(count)]
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(_for(server, request))
    return sorted(connection.recv(12)[9:] for connection in connections)


def _active(server: ServerProcess, slot: str) -> int:
    text = server.client.get("/metrics").text
    found = re.search(rf'vsr_http_requests_active{{slot="{slot}"}} (\d+)', text)
    assert found is not None
    return int(found[1])


def test_readers_that_stall_are_cut_off_and_block_no_other_request(server: ServerProcess) -> None:
    with ExitStack() as stack:
        started = time.monotonic()
        assert _open(server, stack, DOWNLOAD, 6) == [b"200"] * 4 + [b"503"] * 2
        assert server.client.get("/api/v1/folders").status_code == 200
        wait_for(lambda: _active(server, "transfer") == 0)
        assert 0.4 < time.monotonic() - started < 20
    assert server.client.head(DOWNLOAD).status_code == 200


def test_a_client_that_leaves_a_download_frees_its_place(server: ServerProcess) -> None:
    with ExitStack() as stack:
        assert _open(server, stack, DOWNLOAD, 4) == [b"200"] * 4
    wait_for(lambda: _active(server, "transfer") == 0)


def test_no_more_streams_are_open_than_the_limit(server: ServerProcess) -> None:
    with ExitStack() as stack:
        assert _open(server, stack, "/api/v1/events", 30) == [b"200"] * 4 + [b"503"] * 26
        assert _active(server, "stream") == 4
    wait_for(lambda: _active(server, "stream") == 0)


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

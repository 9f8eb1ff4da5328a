"""Films that the workers of a Ray cluster upscale: the bytes of one process."""

import os
import platform
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vsr.engine.digests import film_digest
from vsr.engine.parallel.cluster_worker import ClusterWorker, FilmMissing
from vsr.engine.parallel.film_copy import find_copy
from vsr.engine.parallel.machines import (
    check_address,
    check_device,
    check_versions,
    this_machine,
    unlike_machines,
)
from vsr.engine.parallel.placement import Placement
from vsr.engine.parallel.pool import ChainEnded, FrameDone
from vsr.engine.parallel.workers import Workers
from vsr.engine.upscale import UpscaleResult, upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import ConfigError, OutputError, VsrError
from vsr.media.encode.settings import EncoderSettings

LENGTHS = (60, 50, 250, 60)
"""Frames of the shots: the third has two segments."""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterWorker:
    """A worker in this process, on a machine with a folder of its own for temporary files."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(Placement, "apply", lambda self: None)
    return ClusterWorker(Placement("worker", "cpu", 1))


def make(film: Path, output: Path, model: Path, **more: Any) -> UpscaleResult:
    settings = EncoderSettings(preset="ultrafast")
    return upscale_video(film, output, model, device="cpu", settings=settings, **more)


def test_without_ray_the_error_names_the_extra(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ray_pool", "ray_cluster"):  # imported by other tests
        monkeypatch.delitem(sys.modules, f"vsr.engine.parallel.{name}", raising=False)
        monkeypatch.delattr(f"vsr.engine.parallel.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(VsrError, match=r"--cluster needs Ray: pip install 'vsr\[cluster\]'"):
        upscale_video(film, tmp_path / "b.mp4", cluster="auto")


def test_an_address_without_a_cluster_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(VsrError, match=rf"--cluster 127\.0\.0\.1:{port}: can't be reached"):
        check_address(f"127.0.0.1:{port}")
    with pytest.raises(VsrError, match="name auto, or HOST:PORT such as first:6379"):
        check_address("ray://first:x")
    check_address("auto")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request", b""])
def test_an_address_of_another_program_is_an_error_at_once(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(VsrError, match=rf"{address}: another program than Ray listens there"):
            check_address(address)
        thread.join()


def test_devices_that_a_cluster_does_not_have_are_refused() -> None:
    for device in ("mps", "cuda:1", "cuda:0,cuda:1"):
        with pytest.raises(ConfigError, match=f"--device {device}: with --cluster, use auto, cpu,"):
            check_device(device)
    check_device("cuda")


def test_machines_with_another_version_are_refused() -> None:
    own = this_machine("cpu")
    other = replace(own, host="b", versions={**own.versions, "torch": "2.0"})
    check_versions([own], own)
    with pytest.raises(VsrError, match=r"--cluster: b has torch 2\.0, this machine .*; install"):
        check_versions([own, other], own)


def test_machines_of_other_arithmetic_are_listed() -> None:
    own = replace(this_machine("cpu"), host="a", arithmetic="AVX512, VNNI")
    assert unlike_machines([own, own]) is None
    other = replace(own, host="b", arithmetic="AVX2")
    assert unlike_machines([own, other]) == "unlike machines (a: AVX512, VNNI, b: AVX2)"


def test_unlike_machines_need_a_backend_and_a_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers("cpu")
    assert workers.unlike_machines(UpscaleOptions()) is None
    monkeypatch.setattr(workers, "_cluster", SimpleNamespace(unlike="unlike machines (a: x, b: y)"))
    with pytest.raises(VsrError, match=r"--cluster: unlike machines .*; give --backend"):
        workers.unlike_machines(UpscaleOptions(backend="torch"))
    given = UpscaleOptions(backend="torch", precision="f32")
    assert "may differ in the last bit" in (workers.unlike_machines(given) or "")


class FakeCluster:
    """Ray's functions for workers that start, or fail, without processes."""

    def __init__(self, answers: dict[str, Any]) -> None:
        """`answers` are machines, errors, or None for workers that don't start in time."""
        self.killed: list[Any] = []
        self._answers = answers

    def slots(self) -> list[Any]:
        def create(answer: Any) -> Any:
            machine = SimpleNamespace(remote=lambda: answer)
            return SimpleNamespace(machine=machine, name=answer)

        return [
            SimpleNamespace(placement=Placement(name, "cpu", 1), create_actor=partial(create, name))
            for name in self._answers
        ]

    def wait(self, pending: list[str], timeout: float) -> tuple[list[str], list[str]]:
        ready = [name for name in pending if self._answers[name] is not None][:1]
        return ready, [] if not ready else [name for name in pending if name not in ready]

    def get(self, name: str) -> Any:
        if isinstance(answer := self._answers[name], Exception):
            raise answer
        return answer

    def kill(self, actor: Any) -> None:
        self.killed.append(actor.name)


Starts = Callable[[dict[str, Any]], Any]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Starts:
    """Start workers on a fake cluster; returns it, the workers, and lines about the others."""
    pytest.importorskip("ray")
    from vsr.engine.parallel import ray_cluster

    def start(answers: dict[str, Any]) -> Any:
        cluster = FakeCluster(answers)
        for name in ("wait", "get", "kill"):
            monkeypatch.setattr(f"ray.{name}", getattr(cluster, name))
        return cluster, *ray_cluster.start_workers("first:6379", cluster.slots())

    return start


def without_vsr() -> Exception:
    """Ray's error where the machine of a worker doesn't have vsr."""
    from ray.exceptions import RayActorError

    return RayActorError(
        error_msg="The actor died because of an error raised in its creation task, "
        "ray::ClusterWorker.__init__()\n  File ...\nModuleNotFoundError: No module named 'vsr'\n"
    )


def killed() -> Exception:
    """Ray's error where the process of a worker was killed as it started."""
    from ray.exceptions import RayActorError

    return RayActorError(
        error_msg="The actor died unexpectedly before finishing this task.\nWorker exit detail: "
        "Worker unexpectedly exits with a connection error code 2. End of file."
    )


def test_another_version_of_ray_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    from ray._private.utils import check_version_info

    from vsr.engine.parallel import ray_cluster

    def join(**options: Any) -> None:
        check_version_info({"ray_version": "2.9.0", "python_version": "3.9.1"}, "this node")

    monkeypatch.setattr("ray.init", join)
    with pytest.raises(VsrError) as caught:
        ray_cluster.join_cluster("auto")
    assert str(caught.value) == (
        "--cluster auto: has Ray 2.9.0 and Python 3.9.1, this machine Ray "
        f"{ray.__version__} and Python {platform.python_version()}; install the same versions on "
        "all machines"
    )


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_cluster_with_another_token_is_an_error(
    monkeypatch: pytest.MonkeyPatch, is_wrapped: bool
) -> None:
    pytest.importorskip("ray")
    from ray.exceptions import AuthenticationError

    from vsr.engine.parallel import ray_cluster

    def join(**options: Any) -> None:
        if is_wrapped:  # as Ray 2.60 does
            cause = RuntimeError("...\nray.exceptions.AuthenticationError: InvalidAuthToken")
            raise ConnectionError("Failed to connect to Ray cluster") from cause
        raise AuthenticationError("InvalidAuthToken")

    monkeypatch.setattr("ray.init", join)
    with pytest.raises(VsrError, match="--cluster auto: refuses this machine's token; set"):
        ray_cluster.join_cluster("auto")


def test_workers_that_do_not_start_are_named_with_the_reason(start: Starts) -> None:
    machine = this_machine("cpu")
    answers = {"late 4": None, "bare 1": without_vsr(), "first 2": machine, "full 3": killed()}
    cluster, workers, left_out = start(answers)
    assert [(one.slot.placement.name, one.machine) for one in workers] == [("first 2", machine)]
    assert left_out == (
        "late 4: its worker didn't start (not in time, is its machine busy?), others upscale "
        "without it",
        "bare 1: its worker didn't start (ModuleNotFoundError: No module named 'vsr'), others "
        "upscale without it",
        "full 3: its worker didn't start (its process was killed, perhaps for lack of memory), "
        "others upscale without it",
    )
    assert cluster.killed == ["late 4", "bare 1", "full 3"]


def test_a_cluster_without_any_worker_is_an_error_with_the_reasons(start: Starts) -> None:
    answers = {f"bare {number}": without_vsr() for number in range(5)} | {"late 6": None}
    with pytest.raises(VsrError) as caught:
        start(answers)
    assert str(caught.value) == (
        "--cluster first:6379: no worker started: ModuleNotFoundError: No module named 'vsr' "
        "(bare 0, bare 1, bare 2 and 2 others); not in time, is its machine busy? (late 6)"
    )


def test_workers_that_did_not_start_are_reported_with_the_first_film() -> None:
    workers = Workers("cpu")
    workers._left_out = ("second: its worker didn't start",)
    assert workers.take_left_out() == ("second: its worker didn't start",)
    assert workers.take_left_out() == ()


def test_folders_of_killed_workers_are_removed(tmp_path: Path, worker: ClusterWorker) -> None:
    host, dead = socket.gethostname(), 4194305  # above the largest process identifier
    left, other = (tmp_path / f"vsr-worker-{name}-{dead}-abc" for name in (host, f"other-{host}"))
    left.mkdir()
    other.mkdir()
    ClusterWorker(Placement("worker", "cpu", 1))
    assert (left.exists(), other.exists()) == (False, True)
    own = f"vsr-worker-{host}-{os.getpid()}-*"
    assert len(list(tmp_path.glob(own))) == 2
    worker.close()
    assert len(list(tmp_path.glob(own))) == 1


def test_a_stop_that_overtakes_its_chain_holds(
    worker: ClusterWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: queue.SimpleQueue[bool] = queue.SimpleQueue()
    monkeypatch.setattr(worker, "_upscale", lambda *of_chain: seen.put(worker._stop.is_set()))
    chain: Any = None
    for number, is_stopped in ((1, True), (1, True), (2, False)):
        task: Any = SimpleNamespace(number=number)
        worker.stop(1)
        worker.submit(0, task, chain, None)
        assert seen.get(timeout=10) is is_stopped


def test_a_stop_ends_the_wait_for_a_film(worker: ClusterWorker) -> None:
    missing = FilmMissing(3, 1, Path("/nowhere/a.mp4"), "0" * 32)
    task: Any = SimpleNamespace(
        number=1, digest=missing.digest, job=SimpleNamespace(source=missing.path)
    )
    chain: Any = None
    worker.use_film(2, Path("/another/task.mp4"))
    worker.submit(3, task, chain, None)
    assert worker.poll(10) == [missing]
    worker.stop(1)
    assert worker.poll(10) == [ChainEnded(3)]


def test_a_chain_ends_if_the_machine_can_not_have_the_film(worker: ClusterWorker) -> None:
    source, digest = Path("/nowhere/a.mp4"), "0" * 32
    task: Any = SimpleNamespace(number=1, digest=digest, job=SimpleNamespace(source=source))
    chain: Any = None
    worker.submit(3, task, chain, None)
    assert worker.poll(10) == [FilmMissing(3, 1, source, digest)]
    worker.use_film(1, None)
    assert worker.poll(10) == [ChainEnded(3)]


def test_frames_are_reported_together(worker: ClusterWorker) -> None:
    frames = [FrameDone(0), FrameDone(0)]
    for frame in frames:
        worker._messages.put(frame)
    assert worker.poll(10) == frames
    assert worker.poll(0) == []


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of two machines with a processor each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    utils = pytest.importorskip("ray.cluster_utils")
    small = {"include_dashboard": False, "object_store_memory": 100_000_000}
    cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **small})
    try:
        cluster.add_node(num_cpus=1, **small)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Ray
def test_a_cluster_gives_the_bytes_of_one_process_though_a_worker_and_a_machine_are_killed(
    film: Path, model: Path, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(film, tmp_path / "whole.mp4", model)
    killed = threading.Event()
    reported: list[str] = []
    with Workers("cpu", cluster=cluster.address) as workers:
        import ray

        pool: Any = workers._pool
        assert len(workers.names) == 2
        pid = ray.get(pool._actors[0].pid.remote())

        def kill(progress: Any) -> None:
            if not killed.is_set():
                killed.set()
                os.kill(pid, signal.SIGKILL)

        options = {"workers": workers, "tell": reported.append}
        # Each process has a folder of its own at this path, so that the film is sent.
        monkeypatch.chdir(film.parent)
        own = Path("/proc/self/cwd", film.name)
        removed: set[Path] = set()
        take = pool._films.take_copies

        def take_copies(digest: str) -> dict[str, set[Path]]:
            copies: dict[str, set[Path]] = take(digest)
            removed.update(*copies.values())
            return copies

        monkeypatch.setattr(pool._films, "take_copies", take_copies)
        result = make(own, tmp_path / "worker.mp4", model, watch=kill, **options)
        assert result.frames == sum(LENGTHS)
        assert any("died" in line for line in reported)
        assert {copy.name for copy in removed} == {f"{film_digest(film)}.mp4"}
        assert find_copy(own, film_digest(film)) is None
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        make(film, tmp_path / "machine.mp4", model, **options)
        with pytest.raises(OutputError, match="pictures are written by one machine"):
            make(film, tmp_path / "%03d.png", model, workers=workers)
    whole = (tmp_path / "whole.mp4").read_bytes()
    assert (tmp_path / "worker.mp4").read_bytes() == whole
    assert (tmp_path / "machine.mp4").read_bytes() == whole

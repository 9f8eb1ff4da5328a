"""Films that the workers of a Ray cluster upscale: the bytes of one process."""

import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.models import write_model
from tests.helpers.shots import write_shots
from vsr.engine.digests import film_digest
from vsr.engine.parallel.cluster_worker import ClusterWorker
from vsr.engine.parallel.machines import (
    check_address,
    check_device,
    check_versions,
    this_machine,
    unlike_machines,
)
from vsr.engine.parallel.placement import Placement
from vsr.engine.parallel.workers import Workers
from vsr.engine.upscale import UpscaleResult, upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import ConfigError, OutputError, VsrError
from vsr.media.encode.settings import EncoderSettings

LENGTHS = (60, 50, 250, 60)
"""Frames of the shots: the third has two segments."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shots(tmp_path_factory.mktemp("cluster") / "a.mp4", LENGTHS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "a.safetensors")


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
    for name in ("ray_pool", "ray_cluster"):
        monkeypatch.delitem(sys.modules, f"vsr.engine.parallel.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(VsrError, match=r"--cluster needs Ray: pip install 'vsr\[cluster\]'"):
        upscale_video(film, tmp_path / "b.mp4", cluster="auto")


def test_an_address_without_a_cluster_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_address(f"127.0.0.1:{port}")
    with pytest.raises(VsrError, match=rf"--cluster 127\.0\.0\.1:{port}: can't be reached"):
        check_address(f"127.0.0.1:{port}")
    with pytest.raises(VsrError, match="name auto, or HOST:PORT such as first:6379"):
        check_address("ray://first:x")
    check_address("auto")


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


def test_folders_of_killed_workers_are_removed(tmp_path: Path, worker: ClusterWorker) -> None:
    left = tmp_path / "vsr-worker-4194305-abc"  # above the largest process identifier
    left.mkdir()
    ClusterWorker(Placement("worker", "cpu", 1))
    assert not left.exists()
    own = list(tmp_path.glob(f"vsr-worker-{os.getpid()}-*"))
    assert len(own) == 2
    worker.close()
    assert len(list(tmp_path.glob("vsr-worker-*"))) == 1


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
        result = make(own, tmp_path / "worker.mp4", model, watch=kill, **options)
        assert result.frames == sum(LENGTHS)
        assert any("died" in line for line in reported)
        copies = {copy.name for copies in pool._films.take_copies().values() for copy in copies}
        assert copies == {f"{film_digest(film)}.mp4"}
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        make(film, tmp_path / "machine.mp4", model, **options)
        with pytest.raises(OutputError, match="pictures are written by one machine"):
            make(film, tmp_path / "%03d.png", model, workers=workers)
    whole = (tmp_path / "whole.mp4").read_bytes()
    assert (tmp_path / "worker.mp4").read_bytes() == whole
    assert (tmp_path / "machine.mp4").read_bytes() == whole

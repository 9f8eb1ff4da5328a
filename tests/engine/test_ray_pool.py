"""The pool of a cluster, with actors that are functions of the test."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vsr.engine.parallel.cluster_worker import FilmMissing
from vsr.engine.parallel.machines import this_machine
from vsr.engine.parallel.placement import Placement
from vsr.engine.parallel.pool import ChainEnded, FilmUnavailable, Job, WorkerDied, WorkerLost
from vsr.errors import MediaError, OutputError, VsrError

pytest.importorskip("ray")

from ray.exceptions import RayActorError

from vsr.engine.parallel import ray_pool


class Actor:
    """A worker whose calls the test answers: by a result or an error, or not at all."""

    def __init__(self) -> None:
        self.answers: dict[Any, Any] = {}
        """Results by reference."""
        self.calls: dict[str, Any] = {}
        """The last reference of each method."""

    def __getattr__(self, method: str) -> Any:
        def remote(*given: Any, **more: Any) -> object:
            self.calls[method] = ref = object()
            return ref

        return SimpleNamespace(remote=remote)

    def answer(self, method: str, result: Any) -> None:
        """Answer the last call of a method."""
        self.answers[self.calls[method]] = result


class Ray:
    """Ray's functions, with one machine of one worker."""

    def __init__(self) -> None:
        self.actors: list[Actor] = []
        """All actors, in the order of their start."""
        self.killed: list[Actor] = []

    def create_actor(self) -> Actor:
        self.actors.append(Actor())
        return self.actors[-1]

    def wait(self, refs: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], Any]:
        answered = [ref for actor in self.actors for ref in actor.answers if ref in refs]
        return answered[:num_returns], None

    def get(self, ref: Any) -> Any:
        result = next(actor.answers.pop(ref) for actor in self.actors if ref in actor.answers)
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Ray:
    """A cluster of one machine."""
    fake = Ray()
    slot = SimpleNamespace(
        node="node", placement=Placement("second", "cpu", 1), create_actor=fake.create_actor
    )

    def start(address: str, slots: list[Any]) -> tuple[list[Any], tuple[()]]:
        machine = this_machine("cpu")
        return [SimpleNamespace(slot=slot, actor=slot.create_actor(), machine=machine)], ()

    for name, function in {
        "join_cluster": lambda address: None,
        "find_slots": lambda address, device, workers: [slot],
        "start_workers": start,
        "is_alive": lambda node: True,
        "kill_actor": fake.killed.append,
    }.items():
        monkeypatch.setattr(ray_pool, name, function)
    for name in ("wait", "get"):
        monkeypatch.setattr(f"ray.{name}", getattr(fake, name))
    monkeypatch.setattr("ray.put", lambda value: "task")
    return fake


@pytest.fixture
def job(tmp_path: Path) -> Job:
    values: Any = dict.fromkeys(("suffix", "survey", "writers", "memory", "decoder_threads"), None)
    options: Any = SimpleNamespace(model=None)
    source = tmp_path / "a.mp4"
    source.touch()
    return Job(source=source, output=source, options=options, identity={"source": "d"}, **values)


Die = Callable[[], ray_pool.RayPool]


@pytest.fixture
def die(fake: Ray, job: Job, tmp_path: Path) -> Die:
    """Return a pool whose worker has died, and is started again with another chain."""

    def die() -> ray_pool.RayPool:
        pool = ray_pool.RayPool("first:6379")
        chain: Any = None
        number = pool.open(job, tmp_path)
        pool.submit(0, number, chain, None)
        fake.actors[0].answer("poll", RayActorError(error_msg="Worker exit detail: killed."))
        assert pool.next_event(0) == WorkerDied(0, "killed")
        pool.submit(0, number, chain, None)
        assert len(fake.actors) == 2
        return pool

    return die


def test_a_worker_that_is_not_replaced_in_time_is_lost(
    fake: Ray, die: Die, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = die()
    assert pool.next_event(0) is None
    monkeypatch.setattr("time.monotonic", lambda: float("inf"))
    reason = "another process didn't start in time, is its machine busy?"
    assert pool.next_event(0) == WorkerLost(0, reason)
    assert fake.killed == fake.actors


def test_a_worker_that_is_replaced_is_waited_for(
    fake: Ray, die: Die, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = die()
    fake.actors[1].answer("poll", [])
    assert pool.next_event(0) is None
    monkeypatch.setattr("time.monotonic", lambda: float("inf"))
    assert pool.next_event(0) is None
    fake.actors[1].answer("poll", [ChainEnded(0)])
    assert pool.next_event(0) == ChainEnded(0)


def test_a_stop_does_not_wait_for_a_worker_that_has_not_started(fake: Ray, die: Die) -> None:
    pool = die()
    pool.stop(0)
    assert pool.next_event(0) == ChainEnded(0)
    assert fake.killed == fake.actors


def test_a_machine_whose_disk_is_full_is_used_for_other_films(
    fake: Ray, job: Job, tmp_path: Path
) -> None:
    pool = ray_pool.RayPool("first:6379")
    chain: Any = None
    pool.submit(0, number := pool.open(job, tmp_path), chain, None)
    (actor,) = fake.actors
    actor.answer("poll", [FilmMissing(0, number, job.source, "d")])
    assert pool.next_event(0) is None
    for method, result in (("find_copy", None), ("receive", OutputError("no space left"))):
        actor.answer(method, result)
        assert pool.next_event(0) is None
    assert "use_film" in actor.calls
    for event in (FilmUnavailable(0, "no space left"), ChainEnded(0)):
        actor.answer("poll", [ChainEnded(0)])
        assert pool.next_event(0) == event
    assert fake.killed == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RayActorError(error_msg="Worker exit detail: killed."), r"second died \(killed\); run"),
        (MediaError("/films/a.mp4: no such file"), r"second: /films/a\.mp4: no such file"),
    ],
)
def test_a_call_that_fails_names_its_worker(
    fake: Ray, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    def get(ref: Any) -> Any:
        raise error

    pool = ray_pool.RayPool("first:6379")
    monkeypatch.setattr("ray.get", get)
    with pytest.raises(VsrError, match=line):
        pool.call_each(print)

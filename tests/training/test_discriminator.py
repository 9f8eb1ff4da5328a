import math

import pytest
import torch

from vsr.models.discriminators import DiscriminatorConfig
from vsr.training.discriminator import (
    CollapseWatch,
    DiscriminatorTrainer,
    DiscriminatorTrainingConfig,
    Sample,
)
from vsr.training.distributed import ProcessGroup

PROCESSES = ProcessGroup(torch.device("cpu"))
SMALL = DiscriminatorConfig(sight="picture", channels=4, levels=2)


def trainer_of(**settings: object) -> DiscriminatorTrainer:
    torch.manual_seed(0)
    chosen = {"discriminator": SMALL, "learning_rate": 5e-3, **settings}
    return DiscriminatorTrainer(DiscriminatorTrainingConfig(**chosen))


def sample(seed: int = 0) -> Sample:
    """Noise as targets, flat pictures as outputs."""
    random = torch.Generator().manual_seed(seed)
    real = torch.rand(4, 3, 16, 16, generator=random)
    return Sample(real.mean(dim=(2, 3), keepdim=True).expand_as(real).clone(), real)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vanilla", "least_squares", "hinge", "relativistic"])
def test_it_learns_to_distinguish_outputs_from_targets(kind: str) -> None:
    trainer = trainer_of(kind=kind, hold_back=100)
    losses = [float(trainer.learn(sample(n), n, 1.0, PROCESSES)) for n in range(80)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert trainer.lead > 0.5
    with torch.no_grad():
        fake, real = (trainer.discriminator(x).logits.mean() for x in sample(999))
    assert real > fake


def test_it_skips_steps_while_its_lead_is_above_the_limit() -> None:
    trainer = trainer_of(hold_back=0.4)
    trainer.lead.fill_(9.0)
    before = [p.clone() for p in trainer.discriminator.parameters()]
    trainer.learn(sample(), 16, 1.0, PROCESSES)
    assert trainer.held
    assert all(
        torch.equal(a, b) for a, b in zip(before, trainer.discriminator.parameters(), strict=True)
    )
    trainer.lead.fill_(-9.0)
    trainer.learn(sample(), 17, 1.0, PROCESSES)
    assert trainer.held  # the average is read at intervals
    trainer.learn(sample(), 32, 1.0, PROCESSES)
    assert not trainer.held
    assert any(
        not torch.equal(a, b)
        for a, b in zip(before, trainer.discriminator.parameters(), strict=True)
    )


def test_the_generators_losses_move_outputs_and_not_the_discriminator() -> None:
    trainer = trainer_of()
    fake, real = sample()
    fake.requires_grad_(True)
    losses = trainer.generator_losses(Sample(fake, real))
    (losses.adversarial + losses.features).backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in trainer.discriminator.parameters())


def test_periodic_penalties_flatten_the_discriminator() -> None:
    steep, flat = (
        trainer_of(hold_back=100),
        trainer_of(hold_back=100, r1_weight=50.0, r2_weight=50.0, penalty_every=2),
    )
    for n in range(60):
        for trainer in (steep, flat):
            trainer.learn(sample(n), n, 1.0, PROCESSES)

    def steepness(trainer: DiscriminatorTrainer) -> float:
        seen = sample(999).real.requires_grad_(True)
        logits = trainer.discriminator(seen).logits
        (gradient,) = torch.autograd.grad(logits.mean(), seen)
        return float(gradient.norm())

    assert steepness(flat) < 0.7 * steepness(steep)


def test_a_discriminator_resumes_to_the_same_bits_from_its_state() -> None:
    through, first = trainer_of(), trainer_of()
    for n in range(6):
        through.learn(sample(n), n, 1.0, PROCESSES)
    for n in range(3):
        first.learn(sample(n), n, 1.0, PROCESSES)
    second = trainer_of()
    second.load_state(first.state())
    for n in range(3, 6):
        second.learn(sample(n), n, 1.0, PROCESSES)
    ours, theirs = second.state_dict(), through.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_collapse_is_reported_once_with_a_setting_to_change() -> None:
    watch, trainer = CollapseWatch(), trainer_of()
    target = torch.rand(1, 2, 3, 16, 16)
    assert watch.check(trainer, target, target) == []
    flat = torch.full_like(target, 0.5)
    assert "collapsing; lower gan.weights.adversarial" in watch.check(trainer, flat, target)[0]
    assert watch.check(trainer, flat, target) == []
    trainer.lead.fill_(9.0)
    assert "leads by 9.0" in watch.check(trainer, target, target)[0]
    beyond = target + 0.5
    assert "are outside [0, 1]" in watch.check(trainer, beyond, target)[0]
    assert math.isfinite(float(trainer.lead))

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

WORLD = ProcessGroup(torch.device("cpu"))
SMALL = DiscriminatorConfig(sight="picture", channels=4, levels=2)


def adversary(**settings: object) -> DiscriminatorTrainer:
    torch.manual_seed(0)
    chosen = {"discriminator": SMALL, "learning_rate": 5e-3, **settings}
    return DiscriminatorTrainer(DiscriminatorTrainingConfig(**chosen))


def sample(seed: int = 0) -> Sample:
    """Targets are grained, outputs are flat."""
    random = torch.Generator().manual_seed(seed)
    real = torch.rand(4, 3, 16, 16, generator=random)
    return Sample(real.mean(dim=(2, 3), keepdim=True).expand_as(real).clone(), real)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vanilla", "least_squares", "hinge", "relativistic"])
def test_it_learns_to_tell_outputs_from_targets(kind: str) -> None:
    judge = adversary(kind=kind, hold_back=100)
    losses = [float(judge.learn(sample(n), n, 1.0, WORLD)) for n in range(80)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert judge.lead > 0.5
    with torch.no_grad():
        fake, real = (judge.discriminator(x).logits.mean() for x in sample(999))
    assert real > fake


def test_it_is_held_back_while_it_leads_and_learns_again_when_caught_up() -> None:
    judge = adversary(hold_back=0.4)
    judge.lead.fill_(9.0)
    before = [p.clone() for p in judge.discriminator.parameters()]
    judge.learn(sample(), 16, 1.0, WORLD)
    assert judge.held
    assert all(
        torch.equal(a, b) for a, b in zip(before, judge.discriminator.parameters(), strict=True)
    )
    judge.lead.fill_(-9.0)
    judge.learn(sample(), 17, 1.0, WORLD)
    assert judge.held  # the average is looked at now and then, not at every step
    judge.learn(sample(), 32, 1.0, WORLD)
    assert not judge.held
    assert any(
        not torch.equal(a, b) for a, b in zip(before, judge.discriminator.parameters(), strict=True)
    )


def test_judging_moves_outputs_and_not_the_judge() -> None:
    judge = adversary()
    fake, real = sample()
    fake.requires_grad_(True)
    verdict = judge.generator_losses(Sample(fake, real))
    (verdict.adversarial + verdict.features).backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in judge.discriminator.parameters())


def test_penalties_flatten_the_judge_and_come_now_and_then() -> None:
    steep, flat = (
        adversary(hold_back=100),
        adversary(hold_back=100, r1_weight=50.0, r2_weight=50.0, penalty_every=2),
    )
    for n in range(60):
        for judge in (steep, flat):
            judge.learn(sample(n), n, 1.0, WORLD)

    def steepness(judge: DiscriminatorTrainer) -> float:
        seen = sample(999).real.requires_grad_(True)
        logits = judge.discriminator(seen).logits
        (gradient,) = torch.autograd.grad(logits.mean(), seen)
        return float(gradient.norm())

    assert steepness(flat) < 0.7 * steepness(steep)


def test_a_judge_goes_on_to_the_same_bits_from_its_state() -> None:
    through, first = adversary(), adversary()
    for n in range(6):
        through.learn(sample(n), n, 1.0, WORLD)
    for n in range(3):
        first.learn(sample(n), n, 1.0, WORLD)
    second = adversary()
    second.load_state(first.state())
    for n in range(3, 6):
        second.learn(sample(n), n, 1.0, WORLD)
    ours, theirs = second.state_dict(), through.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_collapse_is_named_once_with_what_to_change() -> None:
    watch, judge = CollapseWatch(), adversary()
    target = torch.rand(1, 2, 3, 16, 16)
    assert watch.check(judge, target, target) == []
    flat = torch.full_like(target, 0.5)
    assert "collapsing; lower gan.weights.adversarial" in watch.check(judge, flat, target)[0]
    assert watch.check(judge, flat, target) == []
    judge.lead.fill_(9.0)
    assert "leads by 9.0" in watch.check(judge, target, target)[0]
    beyond = target + 0.5
    assert "are outside [0, 1]" in watch.check(judge, beyond, target)[0]
    assert math.isfinite(float(judge.lead))

from pathlib import Path

import torch

from vsr.training.optimiser import build_optimiser, descend, learning_rate_share, split_parameters
from vsr.zoo.model_file import load_generator


def test_descending_ignores_what_is_not_finite() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.AdamW([weight], lr=0.1)
    for bad in (float("inf"), float("nan")):
        assert not descend(optimiser, weight.sum() * bad, (0.1, 0.1), 1.0)
        assert torch.equal(weight, torch.ones(2))
    assert descend(optimiser, weight.sum(), (0.1, 0.1), 1.0)
    assert (weight < 1).all()


def test_the_motion_network_is_a_group_of_its_own(tiny_model: Path) -> None:
    generator = load_generator(tiny_model)
    flow, rest = split_parameters(generator)
    assert sum(p.numel() for p in flow + rest) == sum(p.numel() for p in generator.parameters())
    assert [len(group["params"]) for group in build_optimiser(generator).param_groups] == [
        len(rest),
        len(flow),
    ]


def test_the_rate_rises_then_falls_to_nothing() -> None:
    shares = [learning_rate_share(n / 100, 0.1) for n in range(100)]
    assert shares[0] < 0.05
    assert max(shares) == shares[10] == 1
    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[-1] < 0.01

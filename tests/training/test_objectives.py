import tomllib

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vsr.models import Recurrent, RecurrentConfig
from vsr.training.config import TrainConfig
from vsr.training.losses import charbonnier
from vsr.training.objectives import FidelityObjective, initial_state, warped_difference
from vsr.training.optimiser import split_parameters

CONFIG = RecurrentConfig(channels=8, blocks=1, memory=8, flow_channels=4, flow_levels=2)


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Low, target and clean clips."""
    random = torch.Generator().manual_seed(seed)
    low = torch.rand(2, 3, 3, 12, 12, generator=random)
    target = torch.rand(2, 3, 3, 48, 48, generator=random)
    return low, target, torch.rand(2, 3, 3, 12, 12, generator=random)


def test_clips_that_go_on_see_what_was_before_and_fresh_ones_do_not() -> None:
    generator = Recurrent(CONFIG)
    objective = FidelityObjective(generator)
    first, second = batch(0), batch(1)
    everything_fresh = torch.tensor([True, True])
    _, states = objective(*first, everything_fresh, [], 0.0)
    assert not any(tensor.requires_grad for state in states for tensor in state)
    start = initial_state(generator, second[0], torch.tensor([True, False]), states[0])
    assert torch.equal(start[0][0], second[0][0, 0])
    assert not start[1][0].any()
    assert torch.equal(start[0][1], states[0][0][1])
    assert torch.equal(start[1][1], states[0][1][1])


def test_a_teacher_draws_the_output_towards_its_own() -> None:
    torch.manual_seed(1)
    student, teacher = Recurrent(CONFIG), Recurrent(CONFIG)
    low, target, clean = batch()
    fresh = torch.tensor([True, True])
    alone, _ = FidelityObjective(student)(low, target, clean, fresh, [], 0.0)
    taught, states = FidelityObjective(student, teacher, 0.3)(low, target, clean, fresh, [], 0.0)
    expected = 0.7 * alone + 0.3 * charbonnier(student(low), teacher(low))
    assert float(taught.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert len(states) == 2
    # The teacher is none of what is trained.
    parts = FidelityObjective(student, teacher, 0.3)
    assert {id(p) for p in parts.parameters()} == {id(p) for p in student.parameters()}


def test_the_noise_of_a_clip_without_motion_is_not_learnt_from_a_teacher() -> None:
    torch.manual_seed(1)
    student, teacher = Recurrent(CONFIG), Recurrent(CONFIG)
    low, target, clean = batch()
    target[0] = target[0, 0]
    loss, _ = FidelityObjective(student, teacher, 1.0)(
        low, target, clean, torch.tensor([True, True]), [], 0.0
    )
    expected = charbonnier(student(low), teacher(torch.stack((clean[0], low[1]))))
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)


def test_the_clean_input_loss_is_of_the_temporal_filters_output() -> None:
    generator = Recurrent(CONFIG.model_copy(update={"steadies": True}))
    low, target, clean = batch()
    fresh = torch.tensor([True, True])
    without, _ = FidelityObjective(generator)(low, target, clean, fresh, [], 0.0)
    objective = FidelityObjective(generator, clean_weight=0.5)
    whole, _ = objective(low, target, clean, fresh, [], 0.0)
    state = generator.start(low[:, 0])
    filtered = []
    for frame in low.unbind(1):
        _, state = generator.step(frame, state)
        filtered.append(state.low)
    difference = (torch.stack(filtered, dim=1) - clean).detach().numpy()
    expected = np.sqrt(difference**2 + 1e-6).mean()
    assert float((whole - without).detach()) == pytest.approx(0.5 * expected, rel=1e-4)


def test_without_a_temporal_filter_there_is_no_clean_input_loss() -> None:
    text = "[model]\nkind = 'recurrent'\n[data]\ndataset = 'x'\n[training]\nclean_weight = 1\n"
    with pytest.raises(ValidationError, match=r"needs model\.steadies"):
        TrainConfig.model_validate(tomllib.loads(text))


def test_a_teacher_that_gan_training_would_ignore_is_refused() -> None:
    text = "[model]\nkind = 'recurrent'\n[data]\ndataset = 'x'\n[training]\nteacher = 'a'\n[gan]\n"
    with pytest.raises(ValidationError, match=r"training\.teacher can't be used with \[gan\]"):
        TrainConfig.model_validate(tomllib.loads(text))


def test_no_gradient_flows_through_a_frozen_flow() -> None:
    generator = Recurrent(CONFIG)
    assert generator.flow is not None
    generator.flow.requires_grad_(False)
    low = batch()[0].requires_grad_(True)
    state = generator.start(low[:, 0].detach())
    flow = generator._flow(low[:, 1], state.low, None)
    assert not flow.requires_grad
    generator.step(low[:, 1], state)[0].sum().backward()
    assert all(p.grad is None for p in generator.flow.parameters())
    assert generator.entry.weight.grad is not None


def test_the_warp_loss_moves_the_motion_network_alone() -> None:
    generator = Recurrent(CONFIG)
    assert generator.flow is not None
    warped_difference(generator.flow, batch()[0]).backward()
    flow, rest = split_parameters(generator)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in flow)
    assert all(p.grad is None for p in rest)

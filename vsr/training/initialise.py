"""Initial networks of a run: generator, discriminator and teacher."""

from typing import Any

import torch

from vsr.errors import TrainingError
from vsr.models import Generator, Recurrent, build_generator
from vsr.models.folding import with_kernel_side, with_scale
from vsr.models.growth import can_grow, grow
from vsr.training.config import TrainConfig
from vsr.training.discriminator import DiscriminatorTrainer
from vsr.zoo import choose_model, load


def init_generator(config: TrainConfig, device: torch.device) -> Generator[Any]:
    """Build the generator, with random weights or those of `training.start_from`.

    A smaller recurrent network is copied into it. The head of a recurrent network of a larger scale
    is folded to this scale. Raises `TrainingError` where shapes or scales differ.
    """
    torch.manual_seed(config.training.seed)
    generator = build_generator(config.model)
    name = config.training.start_from
    if name is not None:
        source = load(choose_model(name, config.model.scale, height=0))
        if isinstance(source, Recurrent) and isinstance(generator, Recurrent):
            source = _folded(source, generator)
        if source.scale != config.model.scale:
            raise TrainingError(
                f"training.start_from: {name} upscales by {source.scale}, [model] by "
                f"{config.model.scale}"
            )
        _copy_weights(generator, source, name)
    return _placed(generator, device)


def _folded(source: Recurrent, generator: Recurrent) -> Recurrent:
    """Return `source` at the smaller scale of `generator`, and with a head of the same kernel."""
    if source.scale <= generator.scale:
        return source
    folded = with_scale(source, generator.scale)
    assert isinstance(folded, Recurrent)
    return with_kernel_side(folded, generator.head.kernel_size[0])


def _copy_weights(generator: Generator[Any], source: Generator[Any], name: str) -> None:
    own, copied = generator.state_dict(), source.state_dict()
    parts = {key.split(".")[0] for key in copied}
    # A part that the source lacks, such as a temporal filter, keeps its random weights.
    wanted = {key: value.shape for key, value in own.items() if key.split(".")[0] in parts}
    if wanted == {key: value.shape for key, value in copied.items()}:
        generator.load_state_dict(own | copied)
    elif can_grow(source, generator):
        grow(source, generator)
    else:
        raise TrainingError(f"training.start_from: {name} has another shape than [model]")


def init_discriminator(config: TrainConfig, device: torch.device) -> DiscriminatorTrainer | None:
    """Build the discriminator and its optimiser; None if no loss of `[gan]` needs them."""
    if config.gan is None or not config.gan.weights.uses_discriminator:
        return None
    torch.manual_seed(config.training.seed + 1)
    discriminator = DiscriminatorTrainer(config.gan.adversary)
    return discriminator.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def load_teacher(config: TrainConfig, device: torch.device) -> Generator[Any] | None:
    """Load the model of `training.teacher`, frozen; None without one."""
    name = config.training.teacher
    if name is None:
        return None
    return _placed(load(name, config.model.scale), device).requires_grad_(False)


def _placed(generator: Generator[Any], device: torch.device) -> Generator[Any]:
    return generator.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

"""Checks of a recipe's clips: whether they are long and large enough for its losses."""

from vsr.errors import TrainingError
from vsr.models.discriminators import seen_side, smallest_input
from vsr.training.config import Stage, TrainConfig
from vsr.training.gan import GanConfig
from vsr.training.losses import IMBALANCE_WINDOW, PHASE_WINDOW
from vsr.training.perceptual import PerceptualLosses
from vsr.training.texture import FILTER_SIDE, TEXTURE_WINDOW


def check_clips(config: TrainConfig, perceptual: PerceptualLosses | None) -> None:
    """Raise `TrainingError` where clips of a stage are too short or too small for `[gan]`.

    `perceptual` has the networks that are installed.
    """
    if config.gan is None:
        return
    for stage in sorted(config.training.stages, key=lambda stage: stage.crop):
        _check_stage(stage, config.gan, scale=config.model.scale, perceptual=perceptual)


def _check_stage(
    stage: Stage, gan: GanConfig, *, scale: int, perceptual: PerceptualLosses | None
) -> None:
    weights, discriminator = gan.weights, gan.adversary.discriminator
    if weights.uses_discriminator and discriminator.sight == "spatio_temporal" and stage.frames < 3:
        raise TrainingError(
            f"training.stages: clips of {stage.frames} frames; a spatio-temporal discriminator "
            "needs three"
        )
    side = stage.crop * scale
    if gan.max_shift > side // 4:
        raise TrainingError(
            f"gan.max_shift: at most {side // 4}, a quarter of the smallest crop's {side} pixels"
        )
    needs = {
        "gan.weights.phases": PHASE_WINDOW if weights.phases else 0,
        "gan.weights.imbalance": IMBALANCE_WINDOW if weights.imbalance else 0,
        "gan.weights.texture": TEXTURE_WINDOW + FILTER_SIDE - 1 if weights.texture else 0,
        "gan.frequency_window": _cells(gan.frequency_window, scale) if weights.frequency else 0,
    }
    if perceptual is not None:
        for key, needed in perceptual.smallest_sides.items():
            needs[f"gan.weights.{key}"] = _cells(needed + gan.max_shift, scale)
    for name, needed in needs.items():
        if stage.crop < needed:
            raise TrainingError(
                f"training.stages: a crop of {stage.crop} pixels; {name} needs {needed}"
            )
    # A discriminator with cells sees crops that are not shifted.
    shift = gan.max_shift if discriminator.cell == 1 else 0
    seen, needed = seen_side(discriminator, side) - shift, smallest_input(discriminator)
    if weights.uses_discriminator and seen < needed:
        raise TrainingError(
            f"training.stages: of a crop of {stage.crop} pixels, the discriminator sees {seen} x "
            f"{seen} of the target; with its levels and cell it needs {needed} x {needed}"
        )


def _cells(pixels: int, scale: int) -> int:
    """Smallest count of cells of `scale` pixels with at least `pixels` pixels."""
    return -(-pixels // scale)

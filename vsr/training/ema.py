"""Exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


class WeightEMA:
    """An exponential moving average of a network's weights (Polyak and Juditsky, 1992).

    The saved weights can be interpolated between the initial ones and the average: GAN training
    adds noise, which interpolation reduces.
    """

    def __init__(self, network: nn.Module, decay: float, share: float = 1.0) -> None:
        """`decay` in [0, 1) is that of an iteration; `share` in (0, 1] that of the average."""
        self.weights: Weights = _copy_of(network)
        self._decay, self._share = decay, share
        self._initial = _copy_of(network) if share < 1 else {}

    @torch.no_grad()
    def update(self, network: nn.Module, iteration: int) -> None:
        """Add the weights after an iteration, counted from 1."""
        # With full decay, the random initial weights would count too much in the first iterations.
        decay = min(self._decay, (1 + iteration) / (10 + iteration))
        for name, weight in network.state_dict().items():
            self.weights[name].lerp_(weight, 1 - decay)

    def state_dict(self) -> Weights:
        """Return the weights that are saved and validated."""
        if not self._initial:
            return self.weights
        return {
            key: self._initial[key].lerp(weight, self._share)
            for key, weight in self.weights.items()
        }

    def is_finite(self) -> bool:
        """Whether all weights are finite."""
        return all(bool(weight.isfinite().all()) for weight in self.weights.values())

    @contextmanager
    def applied_to(self, network: nn.Module) -> Iterator[None]:
        """Switch a network to the averaged weights and to evaluation mode, then back."""
        trained = _copy_of(network)
        network.load_state_dict(self.state_dict())
        network.eval()
        try:
            yield
        finally:
            network.load_state_dict(trained)
            network.train()


def _copy_of(network: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}

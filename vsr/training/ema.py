"""The weights that are kept: a moving average of those that learn."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


class WeightEMA:
    """An exponential moving average of a network's weights (Polyak and Juditsky, 1992).

    Of what was learnt since the beginning, a share is kept: a game against a discriminator learns
    more than is good.
    """

    def __init__(self, network: nn.Module, decay: float, share: float = 1.0) -> None:
        """`decay` is that of an iteration, from 0 to 1; `share` is above 0, and 1 keeps all."""
        self.weights: Weights = _copy_of(network)
        self._decay, self._share = decay, share
        self._begun_with = _copy_of(network) if share < 1 else {}

    @torch.no_grad()
    def update(self, network: nn.Module, iteration: int) -> None:
        """Take in the weights after an iteration, counted from 1."""
        # The first iterations would weigh the random start too much at full decay.
        decay = min(self._decay, (1 + iteration) / (10 + iteration))
        for name, weight in network.state_dict().items():
            self.weights[name].lerp_(weight, 1 - decay)

    def state_dict(self) -> Weights:
        """What is saved and judged."""
        if not self._begun_with:
            return self.weights
        begun = self._begun_with
        return {key: begun[key].lerp(weight, self._share) for key, weight in self.weights.items()}

    def is_finite(self) -> bool:
        """Whether every weight is a number."""
        return all(bool(weight.isfinite().all()) for weight in self.weights.values())

    @contextmanager
    def applied_to(self, network: nn.Module) -> Iterator[None]:
        """The network with the weights that are kept, for as long as it is to be judged."""
        own = _copy_of(network)
        network.load_state_dict(self.state_dict())
        network.eval()
        try:
            yield
        finally:
            network.load_state_dict(own)
            network.train()


def _copy_of(network: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}

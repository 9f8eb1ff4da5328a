"""Rollback: return to the newest checkpoint when training diverges."""

from vsr.errors import TrainingError
from vsr.training.checkpoints import Checkpoints
from vsr.training.state import TrainingState

_STEPS_IN_A_ROW = 3
"""Steps without finite loss and gradient after which a run rolls back."""
_MOST_ROLLBACKS = 3


class Rollback:
    """Counts failed steps of a run, and restores its state at half the learning rate."""

    def __init__(self, checkpoints: Checkpoints, state: TrainingState) -> None:
        self._checkpoints = checkpoints
        self._state = state
        self._failed_steps = 0
        self._rollbacks = 0

    def is_due(self, moved: bool) -> bool:
        """Count a step, which `moved` the weights or failed; return whether to roll back now."""
        self._failed_steps = 0 if moved else self._failed_steps + 1
        return self._failed_steps == _STEPS_IN_A_ROW

    def restore(self) -> str:
        """Load the newest checkpoint, halve the learning rate, and return a message about both.

        Raises `TrainingError` where there is no checkpoint or rollbacks have not helped.
        """
        state = self._state
        failed_at = state.iteration
        fault = f"loss or gradient was not finite {_STEPS_IN_A_ROW} times in a row"
        if not self._checkpoints.paths() or self._rollbacks == _MOST_ROLLBACKS:
            raise TrainingError(
                f"{fault} at iteration {failed_at}; lower training.learning_rate and start again"
            )
        self._rollbacks += 1
        self._failed_steps = 0
        factor = state.rate_factor / 2
        lines: list[str] = []
        saved = self._checkpoints.load(state.processes.device, lines.append)
        state.load_dict(saved, self._checkpoints.folder)
        state.rate_factor = factor
        lines.append(
            f"{fault} at iteration {failed_at}; resuming from iteration {state.iteration} at "
            f"{factor:g} of the learning rate"
        )
        return "; ".join(lines)

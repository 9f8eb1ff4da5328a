"""What every backend does, whatever computes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor

from vsr.media.frame import Plane

Planes = tuple[Plane, ...]


class Backend(ABC):
    """Upscales the frames of a film, in order; the network's state is kept in between."""

    name: str
    """What computes, and its version where that decides about the last bit."""

    @abstractmethod
    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Y, Cb and Cr of the next frame; a new shot forgets what was before.

        The first frame begins a shot whether it says so or not. A backend that was built for
        parts of frames is given their part of the whole's `coarse` motion, see `PyramidFlow`.
        """

    def submit(self, planes: Sequence[Plane], begins_shot: bool) -> Callable[[], Planes]:
        """Like `upscale`, but what comes back waits for the frame only when it is called.

        So a device can be at work on the next frame while this one is encoded. To be called once,
        in any thread.
        """
        made = self.upscale(planes, begins_shot)
        return lambda: made

    @abstractmethod
    def get_state(self) -> tuple[Tensor, ...]:
        """What the next frame is to begin with, on the CPU, to be saved and gone on from.

        Empty before the first frame. After an error it is what the failed frame began with.
        """

    @abstractmethod
    def set_state(self, kept: tuple[Tensor, ...]) -> None:
        """Begin the next frame with a state that was kept."""

    def notes(self) -> tuple[str, ...]:
        """What the user should know of how frames were computed, a line each."""
        return ()

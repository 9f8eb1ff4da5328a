"""The interface of all backends."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor

from vsr.media.frame import Plane

Planes = tuple[Plane, ...]


class Backend(ABC):
    """Upscales the frames of a film, in order, and keeps the recurrent state between them."""

    name: str
    """The runtime, with its version where that can change the last bit of the output."""

    @abstractmethod
    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Return Y, Cb and Cr of the next frame; a new shot resets the state.

        The first frame starts a shot whatever `begins_shot` says. A backend that was built for
        tiles also takes the tile's part of the `coarse` flow, see `PyramidFlow`.
        """

    def submit(self, planes: Sequence[Plane], begins_shot: bool) -> Callable[[], Planes]:
        """Start to upscale the next frame; the returned function waits for its planes.

        A device can thus compute the next frame while this one is encoded. The function may be
        called once, in any thread.
        """
        output = self.upscale(planes, begins_shot)
        return lambda: output

    @abstractmethod
    def get_state(self) -> tuple[Tensor, ...]:
        """Return the state before the next frame, on the CPU, for saving and `set_state`.

        It is empty before the first frame. After an error, it is the state before the failed frame.
        """

    @abstractmethod
    def set_state(self, state: tuple[Tensor, ...]) -> None:
        """Use `state`, from `get_state`, for the next frame."""

    def notes(self) -> tuple[str, ...]:
        """Return lines for the user on how frames were computed."""
        return ()

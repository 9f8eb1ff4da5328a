"""The size of the output, from a scale, a side, or the name of a screen."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from vsr.errors import OutputError
from vsr.media.decode.rotation import rotation_of
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import StreamInfo

SCREENS = {
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "1440p": (2560, 1440),
    "2160p": (3840, 2160),
    "4k": (3840, 2160),
    "4320p": (7680, 4320),
    "8k": (7680, 4320),
}
"""Width and height of the screens that a size can be named after."""
_ONE = Fraction(1)
_NEGLIGIBLE = 0.01
"""Pixels by which a scale with many decimals misses a whole number."""
_MAX_SCALE = 4
"""Largest scale of an included network."""


class InputFrame(NamedTuple):
    """The shape of the frames of a film, or of a picture."""

    width: int
    height: int
    aspect: Fraction = Fraction(1)
    """Width of a pixel over its height."""
    is_turned: bool = False
    """Whether players show width and height exchanged."""
    steps: tuple[int, int] = (1, 1)
    """Numbers of which the output's width and height must be multiples."""


def input_frame(source: StreamInfo, settings: EncoderSettings) -> InputFrame:
    """Describe the frames of a film that is written with `settings`."""
    rotation = rotation_of(source.display_matrix)
    layout = settings.layout_for(source.layout)
    steps = (1, 1) if settings.capabilities.odd_sides else (layout.across, layout.down)
    return InputFrame(
        width=source.width,
        height=source.height,
        aspect=source.sample_aspect_ratio,
        is_turned=rotation is not None and rotation.transposed,
        steps=steps,
    )


@dataclass(frozen=True)
class OutputSize:
    """Size of the frames to write."""

    width: int
    height: int
    aspect: Fraction = Fraction(1)
    """Width of a pixel over its height."""
    note: str | None = None
    """A line for the user if the size isn't the requested one."""

    def network_scale(self, frame: InputFrame, own_scale: int = _MAX_SCALE) -> int:
        """Return the smallest scale whose frames cover this size and end in whole cells.

        It is at most 4, or `own_scale`, that of the model, if that is larger. A larger size
        enlarges the frames of that scale.
        """
        largest = max(_MAX_SCALE, own_scale)
        ratio = max(Fraction(self.width, frame.width), Fraction(self.height, frame.height))
        for scale in range(math.ceil(ratio), largest):
            sides = ((frame.width, frame.steps[0]), (frame.height, frame.steps[1]))
            if all(scale * side % step == 0 for side, step in sides):
                return scale
        return largest


@dataclass(frozen=True)
class SizeRequest:
    """The size that a user asks for: nothing, a scale, one or both sides, or a screen.

    Sides and screens count as players show the film, after its rotation tag.
    """

    scale: float | None = None
    """Output side over input side."""
    width: int | None = None
    """Pixels; the height follows from the aspect ratio."""
    height: int | None = None
    """Pixels; the width follows from the aspect ratio."""
    screen: str | None = None
    """A name of `SCREENS`: the largest size inside it; for upright films, inside it upright."""
    square_pixels: bool = False
    """Whether pixels become square; the side that has too few pixels is enlarged."""

    def __post_init__(self) -> None:
        """Raise `OutputError` for values out of range, or that exclude each other."""
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0):
            raise OutputError(f"--scale {self.scale:g}: use a number above 0, such as 2 or 1.5")
        for name, side in (("width", self.width), ("height", self.height)):
            if side is not None and side < 1:
                raise OutputError(f"--{name} {side}: use a number of pixels above 0")
        if self.screen is not None and self.screen.lower() not in SCREENS:
            known = ", ".join(SCREENS)
            raise OutputError(f"--size {self.screen}: unknown; use one of {known}, or --height")
        given = {
            "--scale": self.scale is not None,
            "--width or --height": self.width is not None or self.height is not None,
            "--size": self.screen is not None,
        }
        names = [name for name, is_given in given.items() if is_given]
        if len(names) > 1:
            raise OutputError(f"{' and '.join(names)} exclude each other; use one of them")

    @property
    def is_default(self) -> bool:
        """Whether the scale is left to the model."""
        return (self.scale, self.width, self.height, self.screen) == (None, None, None, None)

    def resolve(self, frame: InputFrame, default: int) -> OutputSize:
        """Return the size for a film or picture; `default` is the scale if none is requested.

        Raises `OutputError` where width and height contradict the aspect ratio, or the size has no
        pixel.
        """
        sides = (self.height, self.width) if frame.is_turned else (self.width, self.height)
        shape = self._shape(frame, sides)
        exact = self._exact(shape, sides, default)
        if exact[0] < 1 or exact[1] < 1:
            raise OutputError("the output would be smaller than a pixel; use a larger size")
        width, height = (
            _rounded(side, step) for side, step in zip(exact, frame.steps, strict=True)
        )
        return OutputSize(width, height, shape.aspect, self._note(exact, sides, (width, height)))

    def _note(
        self,
        exact: tuple[Fraction, Fraction],
        sides: tuple[int | None, int | None],
        rounded: tuple[int, int],
    ) -> str | None:
        """Describe the rounding of a scale or of a requested side, in one line."""
        wanted = exact if self.screen is None and sides == (None, None) else sides
        differs = any(
            side is not None and abs(float(side) - got) > _NEGLIGIBLE
            for side, got in zip(wanted, rounded, strict=True)
        )
        if not differs:
            return None
        width, height = rounded
        return (
            f"the size is rounded from {float(exact[0]):g}x{float(exact[1]):g} to {width}x{height}"
        )

    def _shape(self, frame: InputFrame, sides: tuple[int | None, int | None]) -> "_Shape":
        """Return the shape to scale: as stored, or with square pixels."""
        aspect, steps = frame.aspect, frame.steps
        stored = _Shape(Fraction(frame.width), Fraction(frame.height), aspect)
        width = stored.width * aspect if aspect > 1 else stored.width
        height = stored.height / aspect if aspect < 1 else stored.height
        square = _Shape(width, height, _ONE)
        shapes = [square] if self.square_pixels or aspect == 1 else [stored, square]
        if sides[0] is None or sides[1] is None:
            return shapes[0]
        for shape in shapes:
            if shape.agrees(sides[0], sides[1], steps):
                return shape
        fitting = " or ".join(
            str(_rounded(sides[0] * shape.height / shape.width, steps[1])) for shape in shapes
        )
        names = ("height", "width") if frame.is_turned else ("width", "height")
        raise OutputError(
            f"--width and --height contradict the aspect ratio: {names[0]} {sides[0]} keeps it "
            f"with {names[1]} {fitting}, not {sides[1]}; give one of them"
        )

    def _exact(
        self, shape: "_Shape", sides: tuple[int | None, int | None], default: int
    ) -> tuple[Fraction, Fraction]:
        """Return the size before rounding."""
        width, height = sides
        if width is not None and height is not None:
            return Fraction(width), Fraction(height)
        if width is not None:
            factor = width / shape.width
        elif height is not None:
            factor = height / shape.height
        elif self.screen is not None:
            box = SCREENS[self.screen.lower()]
            if shape.width * shape.aspect < shape.height:
                box = (box[1], box[0])
            factor = min(box[0] / shape.width, box[1] / shape.height)
        else:
            factor = Fraction(str(self.scale or default))
        return shape.width * factor, shape.height * factor


@dataclass(frozen=True)
class _Shape:
    """A film's frames, to be scaled by one factor."""

    width: Fraction
    height: Fraction
    aspect: Fraction
    """Width of a pixel over its height."""

    def agrees(self, width: int, height: int, steps: tuple[int, int]) -> bool:
        """Whether a size has this shape, but for the rounding of one side."""
        aspect = self.width / self.height
        errors = (width - height * aspect, height - width / aspect)
        return any(abs(error) <= step for error, step in zip(errors, steps, strict=True))


def _rounded(side: Fraction, step: int) -> int:
    """Round to the nearest multiple of a step above 0; a half is rounded up."""
    return max(1, math.floor(side / step + Fraction(1, 2))) * step

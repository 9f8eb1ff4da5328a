"""Rotate frames as their display matrix asks players to."""

from typing import NamedTuple

from vsr.media.frame import Plane


class Rotation(NamedTuple):
    """A rotation of the picture by a multiple of 90 degrees, with or without mirroring."""

    transposed: bool
    mirrored: bool
    """Whether left and right are exchanged, after transposing."""
    flipped: bool
    """Whether top and bottom are exchanged, after transposing."""

    def apply(self, plane: Plane) -> Plane:
        """Rotate one plane; the result is a contiguous copy."""
        rotated: Plane = plane.T if self.transposed else plane
        rotated = rotated[:, ::-1] if self.mirrored else rotated
        rotated = rotated[::-1] if self.flipped else rotated
        return rotated.copy(order="C")


def rotation_of(matrix: tuple[int, ...] | None) -> Rotation | None:
    """Return the rotation of a display matrix; None without one, or for other angles.

    The matrix takes (x, y) to (a x + c y, b x + d y).
    """
    if matrix is None:
        return None
    a, b, _, c, d = matrix[:5]
    if a and d and not (b or c):
        return Rotation(False, a < 0, d < 0)
    if b and c and not (a or d):
        return Rotation(True, c < 0, b < 0)
    return None

"""Format HDR10 metadata as parameters of x265 and SVT-AV1."""

from fractions import Fraction

from vsr.media.frame import Hdr


def x265_params(hdr: Hdr) -> list[str]:
    """Format parameters of x265: chromaticities in 1/50,000, luminances in 1/10,000 cd/m2."""
    params = []
    if hdr.mastering:
        rx, ry, gx, gy, bx, by, wx, wy = (round(50_000 * value) for value in hdr.mastering[:8])
        darkest, brightest = (round(10_000 * value) for value in hdr.mastering[8:])
        primaries = f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})"
        params.append(f"master-display={primaries}L({brightest},{darkest})")
    if hdr.light:
        params.append(f"max-cll={hdr.light[0]},{hdr.light[1]}")
    return params


def svt_params(hdr: Hdr) -> list[str]:
    """Format parameters of SVT-AV1: chromaticities, and luminances in cd/m2, as decimals."""
    params = []
    if hdr.mastering:
        rx, ry, gx, gy, bx, by, wx, wy, darkest, brightest = (
            _decimal(value) for value in hdr.mastering
        )
        primaries = f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})"
        params.append(f"mastering-display={primaries}L({brightest},{darkest})")
    if hdr.light:
        params.append(f"content-light={hdr.light[0]},{hdr.light[1]}")
    return params


def _decimal(value: Fraction) -> str:
    return f"{float(value):.6f}"

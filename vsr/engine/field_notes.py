"""Recommend options for interlaced and telecined films."""

from collections.abc import Iterator
from fractions import Fraction

from vsr.media.decode.comb import FieldFinding
from vsr.media.decode.deinterlace import Deinterlace
from vsr.media.decode.pulldown import has_video_rate


def field_advice(
    finding: FieldFinding, is_flagged: bool, frame_rate: Fraction, deinterlace: Deinterlace
) -> Iterator[str]:
    """Yield advice on fields that the options don't treat properly.

    `frame_rate` is that of the source. With `--deinterlace off`, nothing is to be changed.
    """
    if deinterlace == "off":
        return
    if finding.is_progressive and deinterlace != "auto" and not is_flagged:
        yield f"frames look progressive; --deinterlace {deinterlace} costs them detail, omit it"
    elif finding.is_telecined and has_video_rate(frame_rate):
        yield (
            "the frames look telecined (3:2 pulldown); use --inverse-telecine to restore the "
            f"film's {float(frame_rate) * 4 / 5:.5g} frames per second"
        )
    elif deinterlace == "auto" and not is_flagged and finding.order:
        order = "bottom" if finding.is_bottom_first else "top"
        yield (
            "frames look interlaced but are not flagged so; use --deinterlace on to deinterlace, "
            f"or double for a frame per field ({order} field first)"
        )
    elif is_flagged and finding.is_progressive:
        yield (
            "frames are flagged as interlaced but look progressive; use --deinterlace off to keep "
            "them as they are"
        )

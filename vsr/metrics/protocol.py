"""Metrics, and protocols that define which frames and which area they are measured on."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from torch import Tensor

from vsr.errors import ConfigError
from vsr.metrics.temporal import tecogan_crop


class Metric(StrEnum):
    """Metrics of a frame, by the names that reports use."""

    PSNR_Y = "psnr_y"
    PSNR = "psnr"
    SSIM_Y = "ssim_y"
    MS_SSIM_Y = "ms_ssim_y"
    SHARPNESS = "sharpness"
    LPIPS = "lpips"
    LPIPS_VGG = "lpips_vgg"
    TOF = "tof"
    TLP = "tlp"
    WARPING_ERROR = "warping_error"
    FLICKER = "flicker"
    EXCESS_FLICKER = "excess_flicker"
    FEATURES = "features"
    CVVDP = "cvvdp"
    VMAF = "vmaf"
    VMAF_NEG = "vmaf_neg"
    VMAF_4K = "vmaf_4k"
    NIQE = "niqe"

    @property
    def heading(self) -> str:
        """Column heading, with the unit."""
        return _HEADINGS[self][0]

    @property
    def digits(self) -> int:
        """Decimals to display."""
        return _HEADINGS[self][1]

    @property
    def higher_is_better(self) -> bool:
        """Whether higher values are better; sharpness is best at 1."""
        return self in (
            Metric.PSNR_Y,
            Metric.PSNR,
            Metric.SSIM_Y,
            Metric.MS_SSIM_Y,
            Metric.SHARPNESS,
            Metric.CVVDP,
            Metric.VMAF,
            Metric.VMAF_NEG,
            Metric.VMAF_4K,
        )

    @property
    def is_temporal(self) -> bool:
        """Whether it needs the previous frame."""
        return self in (
            Metric.TOF,
            Metric.TLP,
            Metric.WARPING_ERROR,
            Metric.FLICKER,
            Metric.EXCESS_FLICKER,
        )

    @property
    def needs_target(self) -> bool:
        """Whether it needs a reference."""
        return self not in (Metric.FLICKER, Metric.NIQE)

    @property
    def is_absolute(self) -> bool:
        """Whether it measures a picture by itself, so that the reference has a value, too."""
        return self is Metric.NIQE

    @property
    def is_for_sdr(self) -> bool:
        """Whether it models how pictures are seen, and is undefined for the code values of HDR."""
        return self in (
            Metric.CVVDP,
            Metric.VMAF,
            Metric.VMAF_NEG,
            Metric.VMAF_4K,
            Metric.NIQE,
        )

    @property
    def needs_source(self) -> bool:
        """Whether it needs the film that the output was made from."""
        return self in (Metric.FLICKER, Metric.EXCESS_FLICKER)


_HEADINGS = {
    Metric.PSNR_Y: ("PSNR-Y dB", 2),
    Metric.PSNR: ("PSNR dB", 2),
    Metric.SSIM_Y: ("SSIM-Y", 4),
    Metric.MS_SSIM_Y: ("MS-SSIM-Y", 4),
    Metric.SHARPNESS: ("sharpness", 3),
    Metric.LPIPS: ("LPIPS", 4),
    Metric.LPIPS_VGG: ("LPIPS-VGG", 4),
    Metric.TOF: ("tOF px", 3),
    Metric.TLP: ("tLP x100", 3),
    Metric.WARPING_ERROR: ("warping x1000", 3),
    Metric.FLICKER: ("flicker", 3),
    Metric.EXCESS_FLICKER: ("excess flicker", 3),
    Metric.FEATURES: ("features", 4),
    Metric.CVVDP: ("ColorVideoVDP JOD", 2),
    Metric.VMAF: ("VMAF", 2),
    Metric.VMAF_NEG: ("VMAF NEG", 2),
    Metric.VMAF_4K: ("VMAF 4K", 2),
    Metric.NIQE: ("NIQE", 3),
}

COMPARING = (
    Metric.PSNR_Y,
    Metric.PSNR,
    Metric.SSIM_Y,
    Metric.LPIPS,
    Metric.TOF,
    Metric.TLP,
    Metric.WARPING_ERROR,
)
"""Default metrics of a comparison with a reference."""


def parse_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """Look metrics up by name; raises `ConfigError` for one that doesn't exist."""
    wanted = [name.strip() for name in names]
    for name in wanted:
        if name not in list(Metric):
            raise ConfigError(f"unknown metric {name!r}; there are: {', '.join(Metric)}")
    return tuple(dict.fromkeys(map(Metric, wanted)))


@dataclass(frozen=True)
class Protocol:
    """Rules by which a table of the literature was measured."""

    name: Literal["plain", "tecogan", "basicvsr"]
    dropped: int
    """Frames excluded at either end of a clip."""
    crops: bool
    """Whether frames are cropped as by TecoGAN before they are compared."""
    minds_cuts: bool
    """Whether temporal metrics exclude pairs of frames across a cut."""
    averages: Literal["frames", "clips"]
    """Whether a mean over several clips weights each frame or each clip equally."""

    def __str__(self) -> str:
        frames = "all frames" if not self.dropped else f"{self.dropped} frames off either end"
        border = (
            "sides cropped to multiples of 32, at least 8 pixels off each end"
            if self.crops
            else "whole frames"
        )
        cuts = "motion across cuts left out" if self.minds_cuts else "cuts ignored"
        return (
            f"{self.name}: {frames}; {border}; luma is BT.601 studio; {cuts}; "
            f"mean over {self.averages}"
        )

    def part(self, picture: Tensor) -> Tensor:
        """Crop (..., H, W) to the area that is compared."""
        if not self.crops:
            return picture
        top, left, height, width = tecogan_crop(picture.shape[-2], picture.shape[-1])
        return picture[..., top : top + height, left : left + width]


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("plain", 0, crops=False, minds_cuts=True, averages="clips"),
        Protocol("tecogan", 2, crops=True, minds_cuts=False, averages="frames"),
        Protocol("basicvsr", 0, crops=False, minds_cuts=False, averages="clips"),
    )
}
"""`plain` is the default of vsr; `tecogan` that of Chu et al. (2020), by their published script;
`basicvsr` that of Chan et al. (2021), whose tables use luma for Vid4 and UDM10 and RGB for
REDS4."""

"""Choose the metrics of an evaluation and load the networks that they need."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from vsr.errors import DataError, ModelError
from vsr.evaluation.vmaf import VMAF_METRICS, VMAF_SMALLEST_SIDE, find_ffmpeg
from vsr.metrics.blur import BLUR_SMALLEST_SIDE
from vsr.metrics.cvvdp import CVVDP_SMALLEST_SIDE, require_cvvdp
from vsr.metrics.features import FEATURES_SMALLEST_SIDE, FeatureDistance
from vsr.metrics.image import MS_SSIM_SMALLEST_SIDE, SSIM_SMALLEST_SIDE
from vsr.metrics.niqe import NIQE_SMALLEST_SIDE
from vsr.metrics.perceptual import LPIPS_SMALLEST_SIDE, Lpips
from vsr.metrics.protocol import Metric, Protocol, parse_metrics
from vsr.metrics.temporal import TOF_SMALLEST_SIDE

_SMALLEST_SIDES = {
    Metric.SSIM_Y: SSIM_SMALLEST_SIDE,
    Metric.MS_SSIM_Y: MS_SSIM_SMALLEST_SIDE,
    Metric.LPIPS: LPIPS_SMALLEST_SIDE,
    Metric.LPIPS_VGG: LPIPS_SMALLEST_SIDE,
    Metric.TLP: LPIPS_SMALLEST_SIDE,
    Metric.TOF: TOF_SMALLEST_SIDE,
    Metric.FEATURES: FEATURES_SMALLEST_SIDE,
    Metric.EXCESS_FLICKER: BLUR_SMALLEST_SIDE,
    Metric.CVVDP: CVVDP_SMALLEST_SIDE,
    **dict.fromkeys(VMAF_METRICS, VMAF_SMALLEST_SIDE),
    Metric.NIQE: NIQE_SMALLEST_SIDE,
}


@dataclass
class MetricPlan:
    """The metrics to measure, and those that are left out, with the reason."""

    metrics: list[Metric]
    explicit: bool
    """Whether the metrics were requested by name; otherwise those that can't be measured are
    left out."""
    left_out: list[str] = field(default_factory=list)
    networks: dict[Metric, nn.Module] = field(default_factory=dict)

    @classmethod
    def create(cls, names: Sequence[str] | None, default: Sequence[Metric]) -> "MetricPlan":
        """Plan the metrics `names`, or `default` without names, and load their networks.

        LPIPS without its weights is left out. Raises `ConfigError` for an unknown name, and
        `ModelError` where an optional metric lacks its package or FFmpeg, or no metric remains.
        """
        plan = cls(list(parse_metrics(names) if names else default), bool(names))
        # Optional metrics are measured on request only, so a missing package is an error.
        if Metric.CVVDP in plan.metrics:
            require_cvvdp()
        if plan.has_vmaf:
            find_ffmpeg()
        if Metric.FEATURES in plan.metrics:
            plan.networks[Metric.FEATURES] = FeatureDistance()
        failure: ModelError | None = None
        for backbone, metrics in (
            ("alex", (Metric.LPIPS, Metric.TLP)),
            ("vgg", (Metric.LPIPS_VGG,)),
        ):
            requested = [metric for metric in metrics if metric in plan.metrics]
            if not requested:
                continue
            try:
                network = Lpips("alex" if backbone == "alex" else "vgg")
                plan.networks |= dict.fromkeys(requested, network)
            except ModelError as error:
                failure = error
                plan._leave_out(requested, str(error))
        if not plan.metrics and failure:
            raise failure
        return plan

    @property
    def has_vmaf(self) -> bool:
        """Whether a metric of libvmaf is measured."""
        return any(metric in VMAF_METRICS for metric in self.metrics)

    def require_sdr(self, film: str, hdr: str) -> None:
        """Raise `DataError` where a metric is undefined for a film that is `hdr`, such as "PQ"."""
        if hdr and (undefined := [metric for metric in self.metrics if metric.is_for_sdr]):
            raise DataError(
                f"{film}: is HDR ({hdr}); leave out of --metrics what isn't defined for it: "
                + ", ".join(undefined)
            )

    def require_size(self, height: int, width: int, protocol: Protocol) -> None:
        """Leave out the metrics that need larger frames than `height` and `width`.

        Metrics of what `protocol` crops need it to be large enough after that. Raises `DataError`
        if such a metric was requested by name.
        """
        part = protocol.part(torch.empty(1, height, width))
        for metric in list(self.metrics):
            is_of_whole = metric.is_temporal and metric is not Metric.TLP
            side = min(height, width) if is_of_whole else min(part.shape[-2:])
            smallest = _SMALLEST_SIDES.get(metric, 1)
            if side < smallest:
                reason = f"{metric} needs sides of at least {smallest} pixels, not {side}"
                if self.explicit:
                    raise DataError(reason)
                self._leave_out([metric], reason)

    def _leave_out(self, metrics: Sequence[Metric], reason: str) -> None:
        self.metrics = [metric for metric in self.metrics if metric not in metrics]
        self.left_out.append(f"without {' and '.join(metrics)}: {reason}")

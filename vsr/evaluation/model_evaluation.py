"""Evaluate a model on films that are degraded first."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from vsr.data.sources import (
    MIN_NUMBERED_FRAMES,
    Source,
    SourceType,
    find_sources,
    source_frames,
    source_info,
)
from vsr.errors import DataError
from vsr.evaluation.degradation import EvaluatedDegradation, degrade_film
from vsr.evaluation.frame_sequence import hdr_of_picture, hdr_transfer
from vsr.evaluation.measurement import (
    BICUBIC,
    OUTPUT,
    REFERENCE,
    FrameProgress,
    MeasuredFrame,
    Measurement,
    find_protocol,
    vmaf_luma,
)
from vsr.evaluation.metric_plan import MetricPlan
from vsr.evaluation.report import Report
from vsr.frames.yuv import colour_spec
from vsr.media.frame import StreamInfo
from vsr.media.image import read_still
from vsr.metrics.protocol import COMPARING, Metric
from vsr.scoring import Pictures, upscale_pairs
from vsr.system.machine import pick_torch_device
from vsr.zoo import load


def evaluate_model(
    model: str,
    data: Path,
    degradation: EvaluatedDegradation = "bi",
    *,
    detail: float = 0.0,
    steady: float = 0.0,
    frames: int | None = None,
    protocol: str = "plain",
    metrics: Sequence[str] | None = None,
    device: str = "auto",
    gallery: bool = False,
    command: str = "",
    watch: FrameProgress = lambda done, total: None,
) -> Report:
    """Degrade films, upscale them, and measure the result beside bicubic interpolation.

    `data` is a film, a folder of numbered images, or a folder of either; photographs are skipped.
    `degradation` is explained at `degrade_film`. With `frames`, only the first frames of each film
    are measured. `gallery` collects pictures for the HTML page. Raises `VsrError`.
    """
    rules, torch_device = find_protocol(protocol), pick_torch_device(device)
    generator = load(model, detail=detail, steady=steady).to(torch_device)
    sources = [
        source for source in find_sources([data]) if source.type is not SourceType.PHOTOGRAPH
    ]
    if not sources:
        raise DataError(
            f"{data}: holds no film, and no {MIN_NUMBERED_FRAMES} images or more that are numbered "
            "without a gap, such as 0001.png"
        )
    plan = MetricPlan.create(metrics, (*COMPARING, Metric.FLICKER))
    infos = [source_info(source) for source in sources]
    for source, info in zip(sources, infos, strict=True):
        plan.require_sdr(source.name, _hdr(source, info))
        plan.require_size(info.height // 8 * 8, info.width // 8 * 8, rules)
    measurement = Measurement(
        plan=plan,
        protocol=rules,
        device=torch_device,
        gallery=gallery,
        watch=watch,
        counts=[_least(info.frame_count, frames) for info in infos],
    )
    films = []
    for source, info in zip(sources, infos, strict=True):
        shown = islice(source_frames(source, torch_device), frames)
        pairs = degrade_film(shown, generator.scale, degradation, source.name)
        upscaled = (
            _measured(pictures, starts_shot)
            for pictures, starts_shot in upscale_pairs(generator, pairs)
        )
        luma = vmaf_luma(colour_spec(info).matrix, [8])
        films.append(measurement.measure(source.name, upscaled, float(info.frame_rate), luma))
    choices = {"detail": detail, "steady": steady}
    named = [f"{choice} {value:g}" for choice, value in choices.items() if value]
    name = f"{model} at {' and '.join(named)}" if named else model
    part = f"the first {frames} frames of each film of {data}" if frames else f"{data}"
    return measurement.report(films, f"{name} on {part}, degraded by {degradation}", command)


def _least(*counts: int | None) -> int | None:
    """The least of the counts that are known."""
    return min((count for count in counts if count is not None), default=None)


def _hdr(source: Source, info: StreamInfo) -> str:
    if source.type is SourceType.FILM:
        return hdr_transfer(info.colour)
    return hdr_of_picture(read_still(source.files[0]))


def _measured(pictures: Pictures, starts_shot: bool) -> MeasuredFrame:
    panels = {OUTPUT: pictures.output, REFERENCE: pictures.target, BICUBIC: pictures.bicubic}
    return MeasuredFrame(panels, pictures.target, pictures.low, starts_shot)

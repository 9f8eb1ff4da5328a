"""Evaluate an upscaled film against its reference, its source, or both."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from vsr.errors import ConfigError
from vsr.evaluation.frame_sequence import find_clips, open_sequence
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
from vsr.evaluation.pairing import Align, Pairing
from vsr.evaluation.report import Report
from vsr.imaging.tensors import resize_bicubic
from vsr.metrics.protocol import COMPARING, Metric, Protocol
from vsr.system.machine import pick_torch_device


def evaluate(
    output: Path | str,
    reference: Path | str | None = None,
    *,
    protocol: str = "plain",
    metrics: Sequence[str] | None = None,
    source: Path | str | None = None,
    align: Align = "strict",
    device: str = "auto",
    gallery: bool = False,
    command: str = "",
    watch: FrameProgress = lambda done, total: None,
) -> Report:
    """Compare an output with its reference, and measure its flicker against its source.

    `output` and `reference` are two films, two folders of numbered images, or two folders of
    either with the same names. `source` is the film that the output was made from; flicker is
    measured along its motion. Without a reference, only flicker and NIQE are measured, and NIQE
    needs no source. Without `metrics`, all that
    the films allow are measured. Frames are paired by time and streamed. `gallery` collects
    pictures for the HTML page.

    Raises `VsrError` where the films don't fit. With `align="crop"`, the frames and the area that
    both have are compared, and the report names them.
    """
    if reference is None and align == "crop":
        raise ConfigError("--align crop needs a reference")
    if source is not None and align == "crop":
        raise ConfigError("--align crop and --source can't be combined")
    rules = find_protocol(protocol)
    output = Path(output)
    clips = [
        (name, [open_sequence(path) for path in paths])
        for name, paths in _matched(output, reference, source)
    ]
    plan = _plan(metrics, reference is not None, source is not None)
    for _, films in clips:
        for film in films:
            plan.require_sdr(film.path.name, film.hdr)
        plan.require_size(films[0].height, films[0].width, rules)
    measurement = Measurement(
        plan=plan,
        protocol=rules,
        device=pick_torch_device(device),
        gallery=gallery,
        watch=watch,
        counts=[films[0].count for _, films in clips],
    )
    reports = []
    for name, films in clips:
        pairing = Pairing(films, align, sizes_agree=reference is not None)
        matrix = films[-1 if reference is None else 1].matrix
        frames = _paired_frames(
            pairing,
            measurement.device,
            rules,
            has_reference=reference is not None,
            has_source=source is not None,
            matrices_agree=films[0].matrix is matrix,
        )
        luma = vmaf_luma(matrix, [film.bit_depth for film in films])
        report = measurement.measure(name, frames, films[0].frame_rate, luma)
        reports.append(replace(report, notes=tuple(pairing.notes)))
    against = reference if reference is not None else source and f"its source {source}"
    subject = f"{output} against {against}" if against else f"{output}"
    return measurement.report(reports, subject, command)


def _matched(
    output: Path, reference: Path | str | None, source: Path | str | None
) -> list[tuple[str, list[Path]]]:
    """Name and paths of each clip: the output, then the reference, then the source."""
    if reference is None and source is None:
        return [(name, [path]) for name, path, _ in find_clips(output, output)]
    matched: dict[str, list[Path]] = {}
    for other in (reference, source):
        if other is not None:
            for name, own, found in find_clips(output, Path(other)):
                matched.setdefault(name, [own]).append(found)
    return list(matched.items())


def _plan(names: Sequence[str] | None, has_reference: bool, has_source: bool) -> MetricPlan:
    default = [*(COMPARING if has_reference else ()), *([Metric.FLICKER] if has_source else [])]
    if not default and not names:
        raise ConfigError("nothing to evaluate against: give a reference, or --source for flicker")
    plan = MetricPlan.create(names, default)
    if not has_reference and any(metric.needs_target for metric in plan.metrics):
        raise ConfigError("only flicker and niqe can be measured without a reference")
    for metric in plan.metrics:
        if not has_source and metric.needs_source:
            raise ConfigError(
                f"{metric} is measured against the film that the output was made from: --source"
            )
    return plan


def _paired_frames(
    pairing: Pairing,
    device: torch.device,
    protocol: Protocol,
    has_reference: bool,
    has_source: bool,
    matrices_agree: bool,
) -> Iterator[MeasuredFrame]:
    """Read the frames to measure; luma of another matrix than the reference's isn't comparable."""
    for frames in pairing.frames(device, protocol.minds_cuts):
        output = frames[0].picture
        target = frames[1].picture if has_reference else None
        low = frames[-1].picture if has_source else None
        panels = {OUTPUT: output}
        coded = {OUTPUT: frames[0].luma if matrices_agree else None}
        if target is not None:
            panels[REFERENCE] = target
            coded[REFERENCE] = frames[1].luma
        if low is not None:
            size = (output.shape[-2], output.shape[-1])
            panels[BICUBIC] = resize_bicubic(low[None], size)[0].clamp(0, 1)
        # Set in the second clip only.
        starts_shot = any(frame.starts_shot for frame in frames)
        known = {name: luma for name, luma in coded.items() if luma is not None}
        yield MeasuredFrame(panels, target, low, starts_shot, known)

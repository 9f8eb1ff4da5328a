"""Evaluate an output against its reference, or a model on films that are degraded first."""

import platform
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from vsr.data.config import DegradationShares
from vsr.data.real_degradation import degrade_as_real
from vsr.data.sources import Source, SourceType, find_sources, source_frames, source_info
from vsr.errors import ConfigError, DataError, ModelError
from vsr.evaluation.frame_sequence import find_clips, open_sequence
from vsr.evaluation.highlights import Highlights
from vsr.evaluation.pairing import Align, Pairing
from vsr.evaluation.report import FilmReport, Report
from vsr.imaging.tensors import on_8_bit_levels, resize_bicubic
from vsr.metrics.blur import BLUR_SMALLEST_SIDE
from vsr.metrics.cvvdp import CVVDP_SMALLEST_SIDE, require_cvvdp
from vsr.metrics.features import FEATURES_SMALLEST_SIDE, FeatureDistance
from vsr.metrics.image import MS_SSIM_SMALLEST_SIDE, SSIM_SMALLEST_SIDE
from vsr.metrics.meter import FilmMeter, Row
from vsr.metrics.perceptual import LPIPS_SMALLEST_SIDE, Lpips
from vsr.metrics.protocol import COMPARING, PROTOCOLS, Metric, Protocol, parse_metrics
from vsr.metrics.temporal import TOF_SMALLEST_SIDE
from vsr.scoring import FilmDegradation, Pictures, degraded, upscale_pairs
from vsr.system.machine import pick_device
from vsr.zoo import load

Watch = Callable[[int, int | None], None]
"""Told the frames done and, as far as is known, those there are."""

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
}
_REAL_PIXELS = 64_000_000
"""Of a stretch that is degraded as real footage at once."""


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
    watch: Watch = lambda done, total: None,
) -> Report:
    """Compare an output with what it should have been, and measure how steady it is.

    Both are films, folders of numbered pictures, or folders of either, of the same names.
    `source`, the film that the output was made from, is what flicker is measured by;
    with it alone, nothing else is. Without `metrics`, those are taken that the films
    allow. Frames are paired by time and stream by; `gallery` keeps pictures for a page.
    Raises `VsrError` where the two don't fit; `align="crop"` compares what they have in
    common, and the report says what that is.
    """
    if reference is None and source is None:
        raise ConfigError("nothing to evaluate against: give a reference, or --source for flicker")
    if source is not None and align == "crop":
        raise ConfigError("--align crop and --source don't go together")
    rules = _protocol(protocol)
    output = Path(output)
    trios: list[tuple[str, list[Path]]]
    if reference is not None:
        trios = [(name, [a, b]) for name, a, b in find_clips(output, Path(reference))]
        if source is not None:
            sources = find_clips(output, Path(source))
            trios = [(n, [*ab, c]) for (n, ab), (_, _, c) in zip(trios, sources, strict=True)]
    else:
        trios = [(name, [a, b]) for name, a, b in find_clips(output, Path(str(source)))]
    jobs = [(name, [open_sequence(path) for path in paths]) for name, paths in trios]
    default = COMPARING if reference is not None else ()
    plan = _Plan.of(metrics, (*default, *((Metric.FLICKER,) if source is not None else ())))
    if reference is None and any(metric.needs_target for metric in plan.metrics):
        raise ConfigError("only flicker can be measured without a reference")
    for metric in plan.metrics:
        if source is None and metric.needs_source:
            raise ConfigError(
                f"{metric} is measured by the film that the output was made from: --source"
            )
    plan.fit(min(min(clips[0].height, clips[0].width) for _, clips in jobs))
    counts = [clips[0].count for _, clips in jobs]
    run = _Run(plan, rules, pick_device(device), gallery, watch, counts)
    films = []
    for name, clips in jobs:
        pairing = Pairing(clips, align, sizes_agree=reference is not None)
        has = (reference is not None, source is not None)
        looked_at = _compared(pairing, run.device, rules, has)
        film = run.measure(name, looked_at, clips[0].frame_rate)
        films.append(replace(film, notes=tuple(pairing.notes)))
    against = f"{reference}" if reference is not None else f"its source {source}"
    return run.report(films, f"{output} against {against}", command)


def evaluate_model(
    model: str,
    data: Path,
    degradation: FilmDegradation | Literal["real"] = "bi",
    *,
    detail: float = 0.0,
    protocol: str = "plain",
    metrics: Sequence[str] | None = None,
    device: str = "auto",
    gallery: bool = False,
    command: str = "",
    watch: Watch = lambda done, total: None,
) -> Report:
    """Shrink films, upscale them again, and measure that beside bicubic interpolation.

    `bi` and `bd` are those of `imaging.degrade`. `web` sends the whole film through the codecs of
    `frames.web_degradation`. `real` is that of `data.real_degradation`, at the default strength of
    training, with new parameters every 50 frames or so. The parameters of both follow from the
    film's name. Raises `VsrError`.
    """
    rules, where = _protocol(protocol), pick_device(device)
    generator = load(model, detail=detail).to(where)
    sources = [
        source for source in find_sources([data]) if source.kind is not SourceType.PHOTOGRAPH
    ]
    if not sources:
        raise DataError(f"{data}: holds no film")
    plan = _Plan.of(metrics, (*COMPARING, Metric.FLICKER))
    infos = [source_info(source) for source in sources]
    plan.fit(min(min(info.height, info.width) for info in infos) // 8 * 8)
    run = _Run(plan, rules, where, gallery, watch, [info.frame_count for info in infos])
    films = []
    for source, info in zip(sources, infos, strict=True):
        pairs = _degraded(source, where, generator.scale, degradation)
        looked_at = (
            (_panels_of(pictures), pictures.target, pictures.low, begins_shot)
            for pictures, begins_shot in upscale_pairs(generator, pairs)
        )
        films.append(run.measure(source.name, looked_at, float(info.frame_rate)))
    name = f"{model} at detail {detail:g}" if detail else model
    return run.report(films, f"{name} on {data}, degraded by {degradation}", command)


Looked = tuple[dict[str, Tensor], Tensor | None, Tensor | None, bool]
"""Pictures by name, the judged ones first; the target; the input; whether a shot begins."""

_OUTPUT, _BICUBIC, _REFERENCE = "output", "bicubic", "reference"


@dataclass
class _Plan:
    """What is to be measured, and what is left out of it, with the reason."""

    metrics: list[Metric]
    asked: bool
    """By name, rather than whatever can be."""
    left_out: list[str] = field(default_factory=list)
    networks: dict[Metric, nn.Module] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Sequence[str] | None, default: Sequence[Metric]) -> "_Plan":
        """Load what it takes; LPIPS without its file is left out, and the rest goes on.

        Raises `ModelError` where an optional metric lacks the package it needs.
        """
        plan = cls(list(parse_metrics(names) if names else default), bool(names))
        # Never measured unless they are asked for, so what they need must be there.
        if Metric.CVVDP in plan.metrics:
            require_cvvdp()
        if Metric.FEATURES in plan.metrics:
            plan.networks[Metric.FEATURES] = FeatureDistance()
        failure: ModelError | None = None
        for backbone, metrics in (
            ("alex", (Metric.LPIPS, Metric.TLP)),
            ("vgg", (Metric.LPIPS_VGG,)),
        ):
            wanted = [metric for metric in metrics if metric in plan.metrics]
            if not wanted:
                continue
            try:
                network = Lpips("alex" if backbone == "alex" else "vgg")
                plan.networks |= dict.fromkeys(wanted, network)
            except ModelError as error:
                failure = error
                plan._leave_out(wanted, str(error))
        if not plan.metrics and failure:
            raise failure
        return plan

    def fit(self, side: int) -> None:
        """Leave out what frames of such a side are too small for; refuse it if it was asked for."""
        for metric in list(self.metrics):
            least = _SMALLEST_SIDES.get(metric, 1)
            if side < least:
                reason = f"{metric} needs sides of {least} pixels and more, not {side}"
                if self.asked:
                    raise DataError(reason)
                self._leave_out([metric], reason)

    def _leave_out(self, metrics: Sequence[Metric], reason: str) -> None:
        self.metrics = [metric for metric in self.metrics if metric not in metrics]
        self.left_out.append(f"without {' and '.join(metrics)}: {reason}")


class _Run:
    """Measures films one after another."""

    def __init__(
        self,
        plan: _Plan,
        protocol: Protocol,
        device: torch.device,
        gallery: bool,
        watch: Watch,
        counts: Sequence[int | None],
    ) -> None:
        self.device = device
        self._plan = plan
        self._protocol = protocol
        self._gallery = gallery
        self._watch = watch
        known = [count for count in counts if count is not None]
        self._total = sum(known) if len(known) == len(counts) else None
        self._done = 0
        for network in plan.networks.values():
            network.to(device)

    def measure(self, name: str, frames: Iterable[Looked], frame_rate: float) -> FilmReport:
        """One film; raises `DataError` where it can't be measured by the protocol."""
        meter = FilmMeter(
            self._plan.metrics, self._protocol, self._plan.networks, frame_rate=frame_rate
        )
        gallery = Highlights(frame_rate) if self._gallery else None
        rows: list[Row] = []
        bicubic: list[Row] = []
        for number, (panels, target, low, begins_shot) in enumerate(frames):
            judged = [panels[key] for key in (_OUTPUT, _BICUBIC) if key in panels]
            judged = judged if target is not None or low is None else judged[:1]
            try:
                measured = meter.add(judged, target, begins_shot, low)
            except DataError as error:
                raise DataError(f"{name}: frame {number} {error}") from error
            rows.append(measured[0])
            bicubic += measured[1:]
            if gallery:
                gallery.see(number, panels, measured[0])
            self._done += 1
            self._watch(self._done, self._total)
        self._check(name, len(rows))
        return FilmReport(name, rows, bicubic or None, (), frame_rate, gallery)

    def report(self, films: Sequence[FilmReport], subject: str, command: str) -> Report:
        """All that was found."""
        packages = ["torch", "av", "opencv-python", "lpips"]
        packages += ["cvvdp"] if Metric.CVVDP in self._plan.metrics else []
        versions = {name: version(name) for name in packages}
        return Report(
            films=tuple(films),
            protocol=self._protocol,
            metrics=tuple(self._plan.metrics),
            subject=subject,
            command=command,
            versions={"vsr": version("vsr"), "python": platform.python_version(), **versions},
            left_out=tuple(self._plan.left_out),
        )

    def _check(self, name: str, count: int) -> None:
        temporal = [metric for metric in self._plan.metrics if metric.is_temporal]
        if count == 1 and temporal:
            rest = [metric for metric in self._plan.metrics if not metric.is_temporal]
            raise DataError(
                f"{name}: one frame has no motion, which {', '.join(temporal)} measure; "
                f"ask for others: --metrics {','.join(rest or [Metric.PSNR_Y])}"
            )
        if count <= 2 * self._protocol.dropped:
            raise DataError(
                f"{name}: has {count} frames, and {self._protocol.name} drops "
                f"{self._protocol.dropped} at either end"
            )


def _protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {name!r}; there are: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _compared(
    pairing: Pairing, device: torch.device, protocol: Protocol, has: tuple[bool, bool]
) -> Iterator[Looked]:
    """`has` tells whether there are a reference and a source."""
    has_reference, has_source = has
    for frames in pairing.frames(device, protocol.minds_cuts):
        output = frames[0].picture
        target = frames[1].picture if has_reference else None
        low = frames[-1].picture if has_source else None
        panels = {_OUTPUT: output}
        if target is not None:
            panels[_REFERENCE] = target
        if low is not None:
            size = (output.shape[-2], output.shape[-1])
            panels[_BICUBIC] = resize_bicubic(low[None], size)[0].clamp(0, 1)
        yield panels, target, low, frames[1].starts_shot


def _panels_of(pictures: Pictures) -> dict[str, Tensor]:
    return {
        _OUTPUT: pictures.output,
        _REFERENCE: pictures.target,
        _BICUBIC: pictures.bicubic,
    }


def _degraded(
    source: Source,
    device: torch.device,
    scale: int,
    degradation: FilmDegradation | Literal["real"],
) -> Iterable[tuple[Tensor, Tensor, bool]]:
    frames = source_frames(source, device)
    if degradation == "real":
        return _degraded_as_real(frames, scale, zlib.crc32(source.name.encode()))
    return degraded(frames, scale, degradation, source.name)


def _degraded_as_real(
    frames: Iterable[tuple[Tensor, bool]], scale: int, seed: int
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """(low, target, begins_shot), a stretch of a shot at a time: memory stays flat."""
    strength = DegradationShares().real_strength
    stretch: list[Tensor] = []
    begins = False
    segment = 0

    def finished() -> Iterator[tuple[Tensor, Tensor, bool]]:
        nonlocal segment
        if not stretch:
            return
        high = torch.stack(stretch)
        random = np.random.default_rng(seed)
        lows = on_8_bit_levels(degrade_as_real(high, scale, strength, random, seed + segment))
        segment += 1
        for number, (low, target) in enumerate(zip(lows, high, strict=True)):
            yield low, target, begins and number == 0

    for frame, begins_shot in frames:
        height, width = (side - side % (2 * scale) for side in frame.shape[-2:])
        longest = min(max(_REAL_PIXELS // (3 * height * width), 8), 48)
        if stretch and (begins_shot or len(stretch) == longest):
            yield from finished()
            stretch.clear()
            begins = False
        begins |= begins_shot
        stretch.append(frame[:, :height, :width])
    yield from finished()

"""Measure where time goes, and how fast others are on the same frames in the same run.

    python tools/bench.py --size 640x360
    python tools/bench.py --size 320x180 --others --json bench.json

Medians after a warm-up. The film is made of scikit-image's photographs under a moving camera.
Others have random weights, since speed does not depend on them: Real-ESRGAN's "Compact" (SRVGGNet
in the shape of animevideov3) and ESRGAN's RRDB network, through Spandrel, as torch runs them
and compiled; and FFmpeg's own bicubic scaler, when the command is there. `pip install '.[bench]'`.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from demo import write_film
from skimage import data
from torch import Tensor, nn
from torch.nn import functional as F

import vsr.zoo
from vsr.engine.backends import (
    Backend,
    GraphBackend,
    OpenVinoBackend,
    TorchBackend,
    openvino_version,
)
from vsr.engine.pipeline import StageTimes, run_stages
from vsr.engine.session import UpscaleOptions, UpscaleSession
from vsr.engine.upscale import upscale_video
from vsr.engine.upscaler import Upscaler
from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import colour_spec, planes_to_rgb
from vsr.imaging.colour import CODE_OF_MATRIX, ColourSpec
from vsr.imaging.tensors import to_float
from vsr.media.decode.decoder import Decoder
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.encoder import VideoEncoder
from vsr.media.encode.settings import EncoderSettings, output_info
from vsr.media.frame import Frame, StreamInfo
from vsr.models import multiplies_per_pixel
from vsr.models.int8 import is_calibrated, quantise
from vsr.system.machine import computes_int8, peak_memory_bytes, pick_device, processor_name

_WARM_UP = 3


@dataclass
class Row:
    """One thing that was measured."""

    what: str
    milliseconds: float
    """Of a frame, the median."""
    note: str = ""

    @property
    def frames_per_second(self) -> float:
        """How many of them a second holds."""
        return 1000 / self.milliseconds


def main() -> None:
    """Print a table; write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="640x360", help="of the film, in pixels")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--model", default="tiny-x4")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--preset", default="veryfast", help="of x264, for the whole")
    parser.add_argument("--decoder", choices=["cpu", "gpu"], default="cpu", help="of the film")
    parser.add_argument("--others", action="store_true", help="measure other networks too")
    parser.add_argument("--json", type=Path, help="write all as JSON")
    chosen = parser.parse_args()
    width, height = map(int, chosen.size.split("x"))
    device = pick_device(chosen.device)
    with tempfile.TemporaryDirectory() as name:
        film = Path(name) / "film.mp4"
        write_film(film, _frames(width, height, chosen.frames))
        rows = measure(film, chosen.model, device, chosen.preset, chosen.decoder)
        if chosen.others:
            rows += _others(film, device, vsr.load(chosen.model).scale)
    peak = _convolution_peak(device)
    generator = vsr.load(chosen.model)
    work = 2 * multiplies_per_pixel(generator) * width * height / 1e9
    machine = f"{processor_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    machine += f", device {device}, torch {torch.__version__}, OpenVINO {openvino_version()}"
    memory = peak_memory_bytes() / 1e9
    if device.type == "cuda":
        machine += f", {torch.cuda.get_device_name(device)}"
        machine += f" ({torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB of it held)"
    print(f"{machine}\n{chosen.model}, {width}x{height}, {work:.1f} GFLOP a frame")
    first = rows[0].milliseconds
    reached = work / first * 1000
    print(
        f"torch's 3x3 convolution of 64 channels: {peak:.0f} GFLOP/s; the first row reaches "
        f"{reached:.0f} ({100 * reached / peak:.0f}%); peak memory {memory:.2f} GB\n"
    )
    print("| | ms a frame | frames/s | over the first | |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.milliseconds:.1f} | {row.frames_per_second:.2f} | "
              f"{row.milliseconds / first:.2f} | {row.note} |")  # fmt: skip
    if chosen.json:
        told = {"machine": machine, "model": chosen.model, "size": chosen.size, "gflop": work}
        told |= {"peak_gflops": peak, "peak_memory_gb": memory}
        told |= {
            "rows": [{**vars(row), "frames_per_second": row.frames_per_second} for row in rows]
        }
        chosen.json.write_text(json.dumps(told, indent=1))


def measure(
    film: Path, model: str, device: torch.device, preset: str, decoder: Decoder
) -> list[Row]:
    """Model and colour by each backend, the model alone, the engine, the encoder, the whole."""
    with VideoReader(film) as reader:
        info, frames = reader.info, list(reader.frames())
    generator = vsr.load(model)
    read_as = colour_spec(info)
    settings = EncoderSettings(preset=preset)
    high = output_info(info, generator.scale, CODE_OF_MATRIX[read_as.matrix], settings)
    specs, size = (read_as, colour_spec(high)), (info.height, info.width)
    rows = _model_and_colour(model, device, specs, size, frames)
    best = min(row.milliseconds for row in rows)
    upscaler = Upscaler(vsr.load(model), device)
    lows = [planes_to_rgb(frame.planes, read_as, device) for frame in frames]
    alone = _median(lambda n: upscaler.upscale(lows[n % len(lows)], n == 0), device)
    rows.append(Row("model alone, torch f32, operation by operation", alone))
    # At length, so that starting counts for little.
    long = film.with_name("long.mkv")
    _repeat(film, long, 5)
    rows.append(_engine(long, model, device, decoder))
    encoder = _encoder_alone(frames, model, specs, high, settings)
    rows.append(Row(f"encoder alone, h264 {preset}", encoder))
    for _ in range(2):  # the first run fills caches
        summary = upscale_video(
            *(long, film.with_name("out.mp4"), model),
            device=str(device),
            settings=settings,
            decoder=decoder,
            overwrite=True,
        )
    per_frame = 1000 * (summary.seconds - summary.first_frame_seconds) / (summary.frames - 1)
    over = 100 * (per_frame / max(best, encoder) - 1)
    note = (
        f"{summary.backend}; {_spent(summary.stages, summary.frames)}; "
        f"{over:+.0f}% over the slower of model and encoder; "
        f"first frame after {summary.first_frame_seconds:.1f} s"
    )
    rows.append(Row("the whole", per_frame, note))
    return rows


def _model_and_colour(
    model: str,
    device: torch.device,
    specs: tuple[ColourSpec, ColourSpec],
    size: tuple[int, int],
    frames: list[Frame],
) -> list[Row]:
    """From planes to planes, by every backend that there is for a device."""
    generator = vsr.load(model)
    builds: list[tuple[str, Callable[[], Backend]]] = []
    if device.type == "cuda":
        for precision, compiles in product(("f16", "f32"), (True, False)):
            name = f"graphs {precision}{', compiled' if compiles else ''}"
            given = (generator, device, specs, size, precision, compiles)
            builds.append((name, partial(GraphBackend, *given)))
    elif openvino_version():
        if is_calibrated(generator) and computes_int8():
            rounded = quantise(generator, generator.int8_ranges)
            builds.append(("OpenVINO int8", partial(OpenVinoBackend, rounded, specs, size, "int8")))
        builds.append(("OpenVINO f32", partial(OpenVinoBackend, generator, specs, size)))
    builds.append(("torch f32", partial(TorchBackend, vsr.load(model), device, specs)))
    rows = []
    for name, build in builds:
        began = time.perf_counter()
        backend = build()
        ready = time.perf_counter() - began
        note = f"ready after {ready:.1f} s"
        rows.append(Row(f"model and colour, {name}", _of(backend, frames), note))
    return rows


def _engine(film: Path, model: str, device: torch.device, decoder: Decoder) -> Row:
    """Decoding and upscaling, frames thrown away: as the median of three runs."""
    seconds, note = [], ""
    for _ in range(3):
        session = UpscaleSession(
            film, UpscaleOptions(model, device=str(device), decoder=decoder), ".mp4"
        )
        ends: list[float] = []
        with session.reader:
            stages = run_stages(
                mark_cuts(session.reader.frames()),
                partial(_begin, session),
                partial(_note_time, ends),
                session.queue_size,
            )
        seconds.append((ends[-1] - ends[0]) / (len(ends) - 1))
        decoded = "a card" if session.reader.on_gpu else "the CPU"
        note = f"{session.backend.name}, decoded by {decoded}; {_spent(stages, len(ends))}"
    return Row("engine without encoding", 1000 * statistics.median(seconds), note)


def _begin(session: UpscaleSession, item: tuple[Any, bool]) -> Callable[[], Frame]:
    return session.submit(*item)


def _note_time(ends: list[float], frame: Frame) -> None:
    ends.append(time.perf_counter())


def _encoder_alone(
    frames: list[Frame],
    model: str,
    specs: tuple[ColourSpec, ColourSpec],
    high: StreamInfo,
    settings: EncoderSettings,
) -> float:
    """Milliseconds for each of the frames, upscaled beforehand."""
    backend = TorchBackend(vsr.load(model), torch.device("cpu"), specs)
    upscaled = [
        Frame(backend.upscale(f.planes, n == 0), f.pts, f.duration) for n, f in enumerate(frames)
    ]
    encoder = VideoEncoder(high, settings)
    began = time.perf_counter()
    for frame in upscaled:
        for _ in encoder.encode(frame):
            pass
    for _ in encoder.finish():
        pass
    return 1000 * (time.perf_counter() - began) / len(frames)


def _spent(stages: StageTimes, frames: int) -> str:
    spans = (
        f"{name} {1000 * stage.busy / frames:.1f} "
        f"({1000 * (stage.starved + stage.blocked) / frames:.1f})"
        for name, stage in vars(stages).items()
    )
    return f"ms busy (waiting): {', '.join(spans)}"


def _others(film: Path, device: torch.device, scale: int) -> list[Row]:
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    with VideoReader(film) as reader:
        frame = next(reader.frames())
        low = planes_to_rgb(frame.planes, colour_spec(reader.info), device)[None]
    low = low.contiguous(memory_format=torch.channels_last)
    rows = []
    networks: list[tuple[str, Callable[[], nn.Module], int]] = [
        ("Compact (16 convolutions of 64)", lambda: SRVGGNetCompact(num_conv=16, upscale=scale), 5),
        (
            "RRDB (23 blocks)",
            lambda: RRDBNet(num_blocks=23, scale=scale),
            1,
        ),
    ]
    for name, build, count in networks:
        network: Any = build()
        network = network.eval().to(device, memory_format=torch.channels_last)

        def run(number: int, network: Any = network) -> Tensor:
            with torch.inference_mode():
                result: Tensor = network(low)
            return result

        rows.append(Row(f"{name}, torch", _median(run, device, count)))
        compiled = torch.compile(
            network, options={"freezing": True} if device.type == "cpu" else None
        )

        def run_compiled(number: int, network: Any = compiled) -> Tensor:
            with torch.no_grad():
                result: Tensor = network(low)
            return result

        rows.append(Row(f"{name}, compiled", _median(run_compiled, device, count)))
    if shutil.which("ffmpeg"):
        rows.append(_scaler(film, scale))
    return rows


def _scaler(film: Path, scale: int) -> Row:
    """FFmpeg's bicubic scaler, decoding included."""
    seconds = []
    command = ["ffmpeg", "-loglevel", "error", "-nostdin", "-stream_loop", "4", "-i", str(film)]
    command += ["-vf", f"scale=iw*{scale}:ih*{scale}:flags=bicubic", "-f", "null", "-"]
    with VideoReader(film) as reader:
        frames = 5 * sum(1 for _ in reader.frames())
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(command, check=True)
        seconds.append(time.perf_counter() - began)
    return Row("bicubic, FFmpeg's scaler", 1000 * statistics.median(seconds) / frames)


def _of(backend: Backend, frames: list[Frame]) -> float:
    """Milliseconds a frame, of a few that are begun before they are waited for."""
    ahead = 4
    rounds = []
    for number in range(_WARM_UP + 9):
        began = time.perf_counter()
        waiting = [
            backend.submit(frames[(ahead * number + n) % len(frames)].planes, number + n == 0)
            for n in range(ahead)
        ]
        for wait in waiting:
            wait()
        rounds.append(1000 * (time.perf_counter() - began) / ahead)
    return statistics.median(rounds[_WARM_UP:])


def _median(run: Callable[[int], object], device: torch.device, count: int = 15) -> float:
    """Milliseconds of a call."""
    milliseconds = []
    for number in range(count + min(_WARM_UP, count)):
        began = time.perf_counter()
        run(number)
        if device.type == "cuda":
            torch.cuda.synchronize()
        milliseconds.append(1000 * (time.perf_counter() - began))
    return statistics.median(milliseconds[-count:])


@torch.inference_mode()
def _convolution_peak(device: torch.device) -> float:
    """GFLOP/s of a 3x3 convolution of 64 channels, as torch computes it."""
    kind = torch.float16 if device.type == "cuda" else torch.float32
    x = torch.rand(1, 64, 360, 640, device=device, dtype=kind).contiguous(
        memory_format=torch.channels_last
    )
    weight = torch.rand(64, 64, 3, 3, device=device, dtype=kind).contiguous(
        memory_format=torch.channels_last
    )
    milliseconds = _median(lambda number: F.conv2d(x, weight, padding=1), device)
    return float(2 * 64 * 64 * 9 * 360 * 640 / milliseconds / 1e6)


def _frames(width: int, height: int, count: int) -> Tensor:
    """(T, 3, H, W): a camera that glides over photographs."""
    picture = np.concatenate((data.astronaut(), cv2.resize(data.coffee(), (512, 512))), axis=1)
    zoom = max((width + 80) / picture.shape[1], (height + 80) / picture.shape[0])
    frames = []
    for step in range(count):
        turn = 2 * np.pi * step / 60
        shift = -30 * (1 + np.array([np.cos(turn), np.sin(turn)]))
        matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
        frames.append(cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_AREA))
    return to_float(torch.from_numpy(np.stack(frames))).permute(0, 3, 1, 2).contiguous()


def _repeat(film: Path, output: Path, times: int) -> None:
    """The same film several times over, to and fro."""
    import av

    with av.open(str(film)) as source, av.open(str(output), "w") as target:
        lane = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        step = max(p.pts for p in packets) - min(p.pts for p in packets) + packets[0].duration  # type: ignore[type-var,operator]
        for turn in range(times):
            for packet in packets:
                again: Any = av.Packet(bytes(packet))
                again.pts, again.dts = packet.pts + turn * step, packet.dts + turn * step  # type: ignore[operator]
                again.time_base, again.stream = packet.time_base, lane
                again.is_keyframe, again.duration = packet.is_keyframe, packet.duration
                target.mux(again)


if __name__ == "__main__":
    main()

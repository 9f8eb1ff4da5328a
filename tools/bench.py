"""Measure the speed of each part of upscaling, and of other methods on the same frames.

    python tools/bench.py --size 640x360
    python tools/bench.py --size 320x180 --others --json bench.json
    python tools/bench.py --size 320x180 --backends

Prints medians after a warm-up. The film shows scikit-image's photographs under a moving camera.
Other networks have random weights, since speed does not depend on them: Real-ESRGAN's "Compact"
(SRVGGNet with the dimensions of animevideov3) and ESRGAN's RRDB network, both from Spandrel, in
eager mode and compiled. FFmpeg's bicubic scaler is measured if the command is installed.
`--backends` measures the backends alone, which take turns, and also prints the CPU time of all
their threads, which other processes on the machine change less. `pip install '.[bench]'`.
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
from tool_main import run
from torch import Tensor, nn
from torch.nn import functional as F

import vsr.zoo
from vsr.engine.backends import (
    Backend,
    GraphBackend,
    OnnxBackend,
    OpenVinoBackend,
    TorchBackend,
    onnxruntime_version,
    openvino_version,
)
from vsr.engine.pipeline import StageTimes, run_stages
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale import upscale_video
from vsr.engine.upscale_options import UpscaleOptions
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

_WARM_UP, _ROUNDS = 3, 9
_AHEAD = 4
"""Frames of a round, in flight at once."""


@dataclass
class Row:
    """One measurement."""

    name: str
    milliseconds: float
    """Median time of a frame."""
    note: str = ""
    cpu_milliseconds: float | None = None
    """Median CPU time of a frame, in all threads, if measured."""

    @property
    def frames_per_second(self) -> float:
        """Frames per second."""
        return 1000 / self.milliseconds


def main() -> None:
    """Print a table, and write JSON if asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="640x360", help="size of the film in pixels")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--model", default="tiny-x4")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--preset", default="veryfast", help="x264 preset of the end-to-end run")
    parser.add_argument(
        "--decoder", choices=["cpu", "gpu"], default="cpu", help="decoder of the film"
    )
    parser.add_argument("--backends", action="store_true", help="measure the backends alone")
    parser.add_argument("--others", action="store_true", help="measure other networks too")
    parser.add_argument("--json", type=Path, help="write the results as JSON")
    chosen = parser.parse_args()
    width, height = map(int, chosen.size.split("x"))
    device = pick_device(chosen.device)
    with tempfile.TemporaryDirectory() as name:
        film = Path(name) / "film.mp4"
        write_film(film, _frames(width, height, chosen.frames))
        if chosen.backends:
            rows = measure_in_turns(film, chosen.model, device, chosen.preset)
        else:
            rows = measure(film, chosen.model, device, chosen.preset, chosen.decoder)
        if chosen.others:
            rows += _others(film, device, vsr.load(chosen.model).scale)
    peak = _convolution_peak(device)
    generator = vsr.load(chosen.model)
    work = 2 * multiplies_per_pixel(generator) * width * height / 1e9
    machine = f"{processor_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    machine += f", device {device}, torch {torch.__version__}, OpenVINO {openvino_version()}"
    machine += f", ONNX Runtime {onnxruntime_version()}"
    memory = peak_memory_bytes() / 1e9
    if device.type == "cuda":
        machine += f", {torch.cuda.get_device_name(device)}"
        machine += f" ({torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB allocated)"
    print(f"{machine}\n{chosen.model}, {width}x{height}, {work:.1f} GFLOP a frame")
    first = rows[0].milliseconds
    reached = work / first * 1000
    print(
        f"torch's 3x3 convolution of 64 channels: {peak:.0f} GFLOP/s; the first row reaches "
        f"{reached:.0f} ({100 * reached / peak:.0f}%); peak memory {memory:.2f} GB\n"
    )
    print("| | ms a frame | frames/s | relative to the first | |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.name} | {row.milliseconds:.1f} | {row.frames_per_second:.2f} | "
              f"{row.milliseconds / first:.2f} | {row.note} |")  # fmt: skip
    if chosen.json:
        results = {"machine": machine, "model": chosen.model, "size": chosen.size, "gflop": work}
        results |= {"peak_gflops": peak, "peak_memory_gb": memory}
        results["rows"] = [_json_row(row) for row in rows]
        chosen.json.write_text(json.dumps(results, indent=1))


def _json_row(row: Row) -> dict[str, object]:
    return {
        "what": row.name,
        "milliseconds": row.milliseconds,
        "cpu_milliseconds": row.cpu_milliseconds,
        "note": row.note,
        "frames_per_second": row.frames_per_second,
    }


def measure(
    film: Path, model: str, device: torch.device, preset: str, decoder: Decoder
) -> list[Row]:
    """Rows for model and colour by each backend, the model, the engine, the encoder, end to end."""
    settings = EncoderSettings(preset=preset)
    frames, read_as, high, specs, size = _formats(film, model, settings)
    rows = _model_and_colour(model, device, specs, size, frames)
    best = min(row.milliseconds for row in rows)
    upscaler = Upscaler(vsr.load(model), device)
    lows = [planes_to_rgb(frame.planes, read_as, device) for frame in frames]
    alone = _median(lambda n: upscaler.upscale(lows[n % len(lows)], n == 0), device)
    rows.append(Row("model alone, torch f32, eager", alone))
    # A long film, so that the start counts for little.
    long = film.with_name("long.mkv")
    _repeat(film, long, 5)
    rows.append(_engine(long, model, device, decoder))
    encoder = _encoder_alone(frames, model, specs, high, settings)
    rows.append(Row(f"encoder alone, h264 {preset}", encoder))
    for _ in range(2):  # the first run fills caches
        summary = upscale_video(
            long,
            film.with_name("out.mp4"),
            model,
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
    rows.append(Row("end to end", per_frame, note))
    return rows


def measure_in_turns(film: Path, model: str, device: torch.device, preset: str) -> list[Row]:
    """Rows for model and colour by each backend, which take turns, four frames each."""
    frames, _, _, specs, size = _formats(film, model, EncoderSettings(preset=preset))
    backends = [(name, build()) for name, build in _builds(model, device, specs, size)]
    wall: list[list[float]] = [[] for _ in backends]
    cpu: list[list[float]] = [[] for _ in backends]
    for index in range(_WARM_UP + _ROUNDS):
        for number, (_, backend) in enumerate(backends):
            started, used = time.perf_counter(), time.process_time()
            _submit_ahead(backend, frames, index)
            wall[number].append(1000 * (time.perf_counter() - started) / _AHEAD)
            cpu[number].append(1000 * (time.process_time() - used) / _AHEAD)
    rows = []
    for (name, _), times, used_times in zip(backends, wall, cpu, strict=True):
        median_cpu = statistics.median(used_times[_WARM_UP:])
        note = f"{median_cpu:.1f} ms of CPU time"
        median = statistics.median(times[_WARM_UP:])
        rows.append(Row(f"model and colour, {name}", median, note, median_cpu))
    return rows


def _formats(
    film: Path, model: str, settings: EncoderSettings
) -> tuple[list[Frame], ColourSpec, StreamInfo, tuple[ColourSpec, ColourSpec], tuple[int, int]]:
    """Read a film: its frames and colours, its output, the colours of both, (height, width)."""
    with VideoReader(film) as reader:
        info, frames = reader.info, list(reader.frames())
    scale = vsr.load(model).scale
    read_as = colour_spec(info)
    large = (scale * info.width, scale * info.height)
    high = output_info(info, large, CODE_OF_MATRIX[read_as.matrix], settings)
    return frames, read_as, high, (read_as, colour_spec(high)), (info.height, info.width)


def _model_and_colour(
    model: str,
    device: torch.device,
    specs: tuple[ColourSpec, ColourSpec],
    size: tuple[int, int],
    frames: list[Frame],
) -> list[Row]:
    """From YUV planes to YUV planes, by every backend of a device."""
    rows = []
    for name, build in _builds(model, device, specs, size):
        started = time.perf_counter()
        backend = build()
        ready = time.perf_counter() - started
        note = f"ready after {ready:.1f} s"
        rows.append(Row(f"model and colour, {name}", _pipelined(backend, frames), note))
    return rows


def _builds(
    model: str, device: torch.device, specs: tuple[ColourSpec, ColourSpec], size: tuple[int, int]
) -> list[tuple[str, Callable[[], Backend]]]:
    """Return the backends of a device by name, to be built."""
    generator = vsr.load(model)
    builds: list[tuple[str, Callable[[], Backend]]] = []
    if device.type == "cuda":
        for precision, compiles in product(("f16", "f32"), (True, False)):
            name = f"graphs {precision}{', compiled' if compiles else ''}"
            graph = partial(GraphBackend, generator, device, specs, size, precision, compiles)
            builds.append((name, graph))
    elif device.type == "cpu" and openvino_version():
        if is_calibrated(generator) and computes_int8():
            rounded = quantise(generator, generator.int8_ranges)
            builds.append(("OpenVINO int8", partial(OpenVinoBackend, rounded, specs, size, "int8")))
        builds.append(("OpenVINO f32", partial(OpenVinoBackend, generator, specs, size)))
    if device.type == "cpu" and onnxruntime_version():
        builds.append(("ONNX Runtime f32", partial(OnnxBackend, generator, specs, size)))
    builds.append(("torch f32", partial(TorchBackend, vsr.load(model), device, specs)))
    return builds


def _engine(film: Path, model: str, device: torch.device, decoder: Decoder) -> Row:
    """Decoding and upscaling without encoding: the median of three runs."""
    seconds, note = [], ""
    for _ in range(3):
        session = UpscaleSession(
            film, UpscaleOptions(model, device=str(device), decoder=decoder), ".mp4"
        )
        ends: list[float] = []
        with session.reader:
            stages = run_stages(
                mark_cuts(session.reader.frames()),
                partial(_submit, session),
                partial(_note_time, ends),
                session.queue_size,
            )
        seconds.append((ends[-1] - ends[0]) / (len(ends) - 1))
        decoded = "the GPU" if session.reader.on_gpu else "the CPU"
        note = f"{session.backend.name}, decoded by {decoded}; {_spent(stages, len(ends))}"
    return Row("engine without encoding", 1000 * statistics.median(seconds), note)


def _submit(session: UpscaleSession, item: tuple[Any, bool]) -> Callable[[], Frame]:
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
    """Milliseconds a frame, for frames upscaled in advance."""
    backend = TorchBackend(vsr.load(model), torch.device("cpu"), specs)
    upscaled = [
        Frame(backend.upscale(f.planes, n == 0), f.pts, f.duration) for n, f in enumerate(frames)
    ]
    encoder = VideoEncoder(high, settings)
    started = time.perf_counter()
    for frame in upscaled:
        for _ in encoder.encode(frame):
            pass
    for _ in encoder.finish():
        pass
    return 1000 * (time.perf_counter() - started) / len(frames)


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
        ("RRDB (23 blocks)", lambda: RRDBNet(num_blocks=23, scale=scale), 1),
    ]
    for name, build, count in networks:
        network: Any = build()
        network = network.eval().to(device, memory_format=torch.channels_last)

        def run(index: int, network: Any = network) -> Tensor:
            with torch.inference_mode():
                result: Tensor = network(low)
            return result

        rows.append(Row(f"{name}, torch", _median(run, device, count)))
        compiled = torch.compile(
            network, options={"freezing": True} if device.type == "cpu" else None
        )

        def run_compiled(index: int, network: Any = compiled) -> Tensor:
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
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds.append(time.perf_counter() - started)
    return Row("bicubic, FFmpeg's scaler", 1000 * statistics.median(seconds) / frames)


def _pipelined(backend: Backend, frames: list[Frame]) -> float:
    """Milliseconds a frame, with a few frames in flight."""
    rounds = []
    for index in range(_WARM_UP + _ROUNDS):
        started = time.perf_counter()
        _submit_ahead(backend, frames, index)
        rounds.append(1000 * (time.perf_counter() - started) / _AHEAD)
    return statistics.median(rounds[_WARM_UP:])


def _submit_ahead(backend: Backend, frames: list[Frame], index: int) -> None:
    """Upscale the frames of round `index`, all in flight at once."""
    pending = [
        backend.submit(frames[(_AHEAD * index + n) % len(frames)].planes, index + n == 0)
        for n in range(_AHEAD)
    ]
    for wait in pending:
        wait()


def _median(run: Callable[[int], object], device: torch.device, count: int = 15) -> float:
    """Median milliseconds of a call of `run`, which gets the index of the call."""
    milliseconds = []
    for index in range(count + min(_WARM_UP, count)):
        started = time.perf_counter()
        run(index)
        if device.type == "cuda":
            torch.cuda.synchronize()
        milliseconds.append(1000 * (time.perf_counter() - started))
    return statistics.median(milliseconds[-count:])


@torch.inference_mode()
def _convolution_peak(device: torch.device) -> float:
    """GFLOP/s of torch's 3x3 convolution of 64 channels."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    x = torch.rand(1, 64, 360, 640, device=device, dtype=dtype).contiguous(
        memory_format=torch.channels_last
    )
    weight = torch.rand(64, 64, 3, 3, device=device, dtype=dtype).contiguous(
        memory_format=torch.channels_last
    )
    milliseconds = _median(lambda index: F.conv2d(x, weight, padding=1), device)
    return float(2 * 64 * 64 * 9 * 360 * 640 / milliseconds / 1e6)


def _frames(width: int, height: int, count: int) -> Tensor:
    """Frames (T, 3, H, W) of a camera that circles over photographs."""
    picture = np.concatenate((data.astronaut(), cv2.resize(data.coffee(), (512, 512))), axis=1)
    zoom = max((width + 80) / picture.shape[1], (height + 80) / picture.shape[0])
    frames = []
    for step in range(count):
        angle = 2 * np.pi * step / 60
        shift = -30 * (1 + np.array([np.cos(angle), np.sin(angle)]))
        matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
        frames.append(cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_AREA))
    return to_float(torch.from_numpy(np.stack(frames))).permute(0, 3, 1, 2).contiguous()


def _repeat(film: Path, output: Path, times: int) -> None:
    """Write a film several times in a row, without re-encoding."""
    import av

    with av.open(str(film)) as source, av.open(str(output), "w") as target:
        track = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        step = max(p.pts for p in packets) - min(p.pts for p in packets) + packets[0].duration  # type: ignore[type-var,operator]
        for repeat in range(times):
            for packet in packets:
                copy: Any = av.Packet(bytes(packet))
                shift = repeat * step
                copy.pts, copy.dts = packet.pts + shift, packet.dts + shift  # type: ignore[operator]
                copy.time_base, copy.stream = packet.time_base, track
                copy.is_keyframe, copy.duration = packet.is_keyframe, packet.duration
                target.mux(copy)


if __name__ == "__main__":
    run(main)

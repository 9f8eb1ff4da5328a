"""Everything needed to upscale one film: reader, model, backend, output format."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vsr.engine.backends import after_trial, pick_backend, place
from vsr.engine.digests import film_digest, pictures_digest, weights_digest
from vsr.engine.field_notes import field_advice
from vsr.engine.output_size import OutputSize, SizeRequest, input_frame
from vsr.engine.picture_source import encoded_as, open_source, picture_losses, reopen_source
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import OutputError
from vsr.frames.deblock import Deblocker
from vsr.frames.yuv import alpha_to_plane, colour_spec, fill_hidden_colours
from vsr.imaging.colour import CODE_OF_MATRIX
from vsr.imaging.grain import Grain
from vsr.media.decode.comb import FieldFinding
from vsr.media.decode.completeness import ENDS_EARLY
from vsr.media.decode.conform import is_specified
from vsr.media.decode.decoder import automatic_threads
from vsr.media.decode.field_watch import FieldWatch
from vsr.media.decode.part_times import locate_part
from vsr.media.decode.picture_reader import FilmReader, PictureReader
from vsr.media.decode.pulldown import film_info
from vsr.media.decode.reader import VideoReader
from vsr.media.decode.side_data import TIMECODE
from vsr.media.decode.survey import Survey, survey_film
from vsr.media.encode.settings import (
    EncoderSettings,
    check_frame_size,
    output_info,
    stores_aspect_ratio,
    synthesizes_grain,
    unsupported_features,
    with_film_grain,
)
from vsr.media.encode.threads import encoder_threads, with_encoder_threads
from vsr.media.encode.trial import check_encoder
from vsr.media.frame import Frame, StreamInfo
from vsr.media.mux.copy_plan import CopyPlan, Selection
from vsr.media.mux.muxer import Dropped
from vsr.media.mux.stream_copy import plan_copy
from vsr.media.mux.window import Window
from vsr.media.resample import RESAMPLED_DEPTH, Resampler
from vsr.media.side_data_support import (
    unsupported_changes,
    unsupported_side_data,
    without_unsupported,
)
from vsr.models import Generator
from vsr.system.address import is_pipe
from vsr.system.machine import memory_bytes, usable_cores
from vsr.zoo import choose_model, default_detail, default_scale, load

_QUEUE_FRAMES, _QUEUE_PIXELS = 8, 100_000_000
"""Limits of a queue between two stages: frames, and their luma samples."""
_LATER_OPTIONS = (
    "video",
    "audio",
    "subtitles",
    "denoise",
    "steady",
    "deblock",
    "grain",
    "inverse_telecine",
)
"""Options that have a key in the identity of a run only if they differ from the default."""
_QUEUED_BYTES = 24
"""Least memory of the queues per pixel: eight frames of three bytes."""


class UpscaleSession:
    """Reader, model, backend and output format of one film.

    The constructor opens the film, loads the model and surveys the source; it raises `VsrError`.
    The owner closes `reader`.
    """

    def __init__(
        self,
        source: Path,
        options: UpscaleOptions,
        suffix: str,
        survey: Survey | None = None,
        memory: int | None = None,
        decoder_threads: int | None = None,
    ) -> None:
        """Prepare to upscale `source` to a container of `suffix`; `survey` saves a survey.

        Tiles are chosen for a device of `memory` bytes, by default that of the device. The source
        is decoded by `decoder_threads`, by default those that FFmpeg would choose.
        """
        self.given_options = options
        """As given; `options` have settings for the encoder's film grain."""
        if options.grain and synthesizes_grain(options.settings):
            settings = with_film_grain(options.settings, options.grain)
            options = replace(options, settings=settings)
        self.options = options
        self._size_request = SizeRequest(
            scale=options.scale,
            width=options.width,
            height=options.height,
            screen=options.size,
            square_pixels=options.square_pixels,
        )
        self.dropped = Dropped()
        self.started = time.perf_counter()
        placement = place(options.backend, options.device, options.provider, options.precision)
        self.suffix = suffix
        self.decoder_threads = decoder_threads or automatic_threads(len(usable_cores()))
        keep_on_gpu = placement.device.type == "cuda" and not options.deblock
        self.reader: FilmReader = open_source(source, options, keep_on_gpu, self.decoder_threads)
        try:
            source_info = self.reader.info
            self.part, self.found_part = locate_part(self.reader, options.part)
            generator, size = self._load(source_info)
            placement, note = after_trial(placement, generator)
            self.device = placement.device
            self.reader.notes += [note] if note else []
            self.weights = weights_digest(generator.state_dict())
            self.scale = generator.scale
            read_as = colour_spec(source_info)
            self._deblocker = Deblocker(options.deblock, source_info.layout.bit_depth)
            matrix = source_info.colour.matrix
            if not is_specified(matrix):
                matrix = CODE_OF_MATRIX[read_as.matrix]
            coded = encoded_as(self.reader, options.settings)
            info = output_info(coded, (size.width, size.height), matrix, options.settings)
            self.info = replace(info, sample_aspect_ratio=size.aspect)
            self._computed = self._computed_info(source_info)
            self._check_memory()
            self._resampler: Resampler | None = None
            if self._computed != self.info:
                computed_size = (self._computed.width, self._computed.height)
                self._resampler = Resampler(computed_size, self.info)
            check_encoder(self.info, options.settings)
            self._grain = self._noise()
            self.backend = pick_backend(
                name=options.backend,
                precision=options.precision,
                generator=generator,
                device=self.device,
                specs=(read_as, colour_spec(self._computed)),
                size=(source_info.height, source_info.width),
                frames=source_info.frame_count,
                tiling=options.tiling,
                memory=memory,
                openvino_device=placement.openvino_device,
                provider=placement.provider,
            )
            if self.part is not None:
                found = self.found_part
                estimate = self.part.estimate_frames(source_info.frame_count)
                count = len(found.pts) if found else estimate
                self.info = replace(self.info, frame_count=count)
            self.lost = unsupported_features(coded, self.info, options.settings, self.reader.codec)
            self.lost += picture_losses(self.reader, self.info, suffix, options.settings.codec)
            aspect = self.info.sample_aspect_ratio
            if (
                aspect != 1
                and suffix in (".mkv", ".webm")
                and not stores_aspect_ratio(options.settings)
            ):
                codec = options.settings.codec
                self.lost.append(f"pixel aspect {aspect} ({codec} in {suffix}; h264 and hevc do)")
            self.survey = self._survey(suffix, survey)
        except BaseException:
            self.reader.close()
            raise

    def _noise(self) -> Grain | None:
        """Return the film grain to add to frames, unless there is none or the encoder adds it."""
        strength, info = self.options.grain, self.info
        if not strength or synthesizes_grain(self.options.settings):
            return None
        return Grain(
            strength,
            height=info.height,
            width=info.width,
            bit_depth=info.layout.bit_depth,
            full_range=info.colour.full_range,
        )

    @property
    def encoder_threads(self) -> int | None:
        """Threads of the encoder on this machine; None if its output doesn't depend on them."""
        return encoder_threads(self.options.settings, self.info.height, len(usable_cores()))

    def encoding(self, threads: int | None) -> EncoderSettings:
        """Return the settings of each segment's encoder, with so many threads."""
        return with_encoder_threads(self.options.settings, threads)

    def another_reader(self) -> FilmReader:
        """Open the source again, to read the same frames independently of `reader`."""
        return reopen_source(self.reader, self.options)

    def window(self, first: int, last: Fraction | None = None) -> Window | None:
        """Return the window of the part to upscale, whose first frame has pts `first`.

        `last` is the end of the last frame in seconds, if the part ends with a count of frames.
        None if there is no part.
        """
        part = self.part
        if part is None:
            return None
        end = part.end(first)
        return Window(
            start=first * part.time_base,
            end=last if end is None else end,
            origin=part.origin * part.time_base,
            keeps_negative=self.suffix not in ("", ".nut"),
        )

    def _load(self, source: StreamInfo) -> tuple[Generator[Any], OutputSize]:
        """Choose the model and load its generator, at the scale that the requested size needs."""
        options, request = self.options, self._size_request
        frame = input_frame(encoded_as(self.reader, options.settings), options.settings)
        size = request.resolve(frame, default_scale(source.height))
        needed = size.network_scale(frame)
        self.model = choose_model(options.model, needed, source.height, options.detail)
        own_scale = load(self.model, None, 0.0).scale
        if request.is_default and self.model == options.model:
            size = request.resolve(frame, own_scale)
        needed = size.network_scale(frame, own_scale)
        scale = min(needed, own_scale)
        default = default_detail(self.model, scale)
        self.detail = default if options.detail is None else options.detail
        is_enlarged = size.width > scale * source.width or size.height > scale * source.height
        enlarged = f"{self.model} upscales by {scale}: enlarged to {size.width}x{size.height}"
        self.reader.notes += [note for note in (size.note, enlarged if is_enlarged else "") if note]
        generator = load(self.model, scale, self.detail, options.denoise, options.steady)
        return generator, size

    def _computed_info(self, source: StreamInfo) -> StreamInfo:
        """Describe the frames that the backend computes: as written, or deeper and to resample."""
        width, height = self.scale * source.width, self.scale * source.height
        if (width, height) == (self.info.width, self.info.height):
            return self.info
        check_frame_size((width, height))
        layout = replace(self.info.layout, bit_depth=RESAMPLED_DEPTH)
        return replace(self.info, width=width, height=height, layout=layout)

    def _check_memory(self) -> None:
        """Raise `OutputError` where the queues of frames alone exceed the memory."""
        pixels = max(one.width * one.height for one in (self.info, self._computed))
        needed, memory = _QUEUED_BYTES * pixels, memory_bytes(torch.device("cpu"))
        if needed > memory:
            size = f"{self.info.width}x{self.info.height}"
            raise OutputError(
                f"frames of {size} need about {needed / 1e9:.1f} GB of memory, and this machine "
                f"has {memory / 1e9:.1f} GB; use a smaller size"
            )

    def _survey(self, suffix: str, survey: Survey | None) -> Survey:
        """Survey the film, unless that was done; add findings to `lost` and the reader's notes."""
        source, reader = self.reader.path, self.reader
        if isinstance(reader, PictureReader):
            return Survey()
        if survey is None and is_pipe(source):  # a regular file may be called `-`
            survey = Survey(side_data=dict(reader.side_data))  # a pipe can be read once
        survey = survey or survey_film(source, self.options.video)
        self.info = without_unsupported(self.info, suffix, self.options.settings)
        self.lost += self._side_data_losses(survey)
        changed = unsupported_changes(reader.info, survey, self.info)
        self.lost += changed
        for name, seen in survey.changes.items():
            is_lost = any(line.startswith(f"{name} ") for line in changed)
            reader.announce(seen.change, None if is_lost else seen.change.line(seen.where))
        self._examine_fields(survey)
        return survey

    def _examine_fields(self, survey: Survey) -> None:
        """Recommend an option for the fields found, or watch for them during the run.

        Frames without flags get the field order found. Film with soft telecine gets its own frame
        rate: containers state that of its fields.
        """
        if survey.is_soft_telecine and not self.options.inverse_telecine:
            frames = self.reader.field_mode.frames
            self.info = film_info(self.info, frames)
            self.reader.info = film_info(self.reader.info, frames)
        needs_order = self.reader.field_mode.ticks > 1 and not survey.is_flagged
        if needs_order and survey.fields.is_bottom_first:
            self.reader.set_bottom_first()
        advice = list(self._field_advice(survey.fields, survey.is_flagged))
        self.reader.notes += advice
        if not advice and self.options.deinterlace != "off":
            self.reader.watch = FieldWatch()

    def _field_advice(self, finding: FieldFinding, is_flagged: bool) -> Iterator[str]:
        if not self.options.inverse_telecine:
            yield from field_advice(
                finding, is_flagged, self.reader.source_rate, self.options.deinterlace
            )

    def _field_notes(self) -> Iterator[str]:
        """Describe what became of the fields, and what was found out about them in the run."""
        yield from self.reader.field_notes()
        if watch := self.reader.watch:
            for line in self._field_advice(watch.finding(), watch.is_flagged):
                yield f"found in the run: {line}"

    def _side_data_losses(self, survey: Survey) -> list[str]:
        assert isinstance(self.reader, VideoReader)  # pictures have no side data
        tags = self.reader.container.streams[self.reader.index].metadata
        settings = self.options.settings
        return unsupported_side_data(
            self.reader.info,
            survey,
            self.info,
            self.suffix,
            settings,
            tags,
            is_rotated=self.reader.is_rotated,
        )

    def _found_late(self) -> Iterator[str]:
        """List side data that is not kept and that the survey didn't find."""
        for name, seconds in self.reader.side_data.items():
            if name not in self.survey.side_data and name != TIMECODE:
                for line in self._side_data_losses(Survey(side_data={name: seconds})):
                    if line not in self.lost:
                        yield f"not kept, from {seconds:.2f} s on: {line}"

    def submit(self, frame: Frame, begins_shot: bool) -> Callable[[], Frame]:
        """Start to upscale one frame with its alpha; the returned function waits for it."""
        planes = frame.planes
        if len(planes) > 3:
            planes = fill_hidden_colours(planes, self.reader.info.layout.bit_depth)[:3]
        if self.options.deblock:
            planes = self._deblocker.filter(planes)
        pending = self.backend.submit(planes, begins_shot)

        def wait() -> Frame:
            planes = pending()
            if self._resampler is not None:
                planes = self._resampler.resample(planes)
            if self._grain is not None:
                planes = (self._grain.apply(planes[0], frame.pts), *planes[1:])
            if self.info.layout.alpha:
                size = (self.info.height, self.info.width)
                depths = self.reader.info.layout.bit_depth, self.info.layout.bit_depth
                planes += (alpha_to_plane(frame.planes[3], size, *depths),)
            return replace(frame, planes=planes)

        return wait

    @property
    def queue_size(self) -> int:
        """Capacity of the queues between two stages in frames, lower for large frames."""
        computed = self._computed
        fit = _QUEUE_PIXELS // (computed.width * computed.height)
        return max(2, min(_QUEUE_FRAMES, fit))

    @property
    def selection(self) -> Selection:
        """Which streams beside the video are kept."""
        return Selection(self.options.audio, self.options.subtitles)

    def plan_streams(self, suffix: str) -> CopyPlan | None:
        """Plan which streams are copied, and note those that are converted.

        None for pictures, which have no other streams. Raises `OutputError`.
        """
        if isinstance(self.reader, PictureReader) or self.options.settings.codec == "pictures":
            return None
        plan = plan_copy(self.reader, suffix, self.selection, is_part=self.options.part is not None)
        self.reader.notes += plan.conversions
        return plan

    def left_out(self, copy_plan: CopyPlan | None) -> tuple[str, ...]:
        """List all contents of the source that can't be kept."""
        return (*self.lost, *(copy_plan.left_out if copy_plan else ()))

    def notes(self) -> tuple[str, ...]:
        """List all changes other than upscaling; to be called after the last frame."""
        notes = [*self.reader.notes, *self.backend.notes()]
        notes += self._field_notes()
        if self.reader.damage.ends_early and ENDS_EARLY not in notes:
            notes.append(ENDS_EARLY)
        if errors := self.reader.damage.read_errors:
            where = "1 position" if errors == 1 else f"{errors} positions"
            notes.append(f"the source can't be read at {where}; the rest of it is kept")
        if self.options.decoder == "gpu" and not self.reader.on_gpu:
            notes.append(f"no GPU of this machine decodes {self.reader.codec}; decoded on the CPU")
        notes += self._found_late()
        return (*notes, *self.dropped.lines())

    def identity(self) -> dict[str, Any]:
        """Describe all that the output's bytes depend on, as the journal stores it.

        Keys and values are a file format: an attribute may be renamed, but not its key, or
        unfinished work can't be resumed. `_LATER_OPTIONS` have a key only if they differ from the
        default.
        """
        options, settings, info = self.options, self.options.settings, self.info
        defaults = UpscaleOptions()
        later: dict[str, Any] = {
            name: getattr(options, name)
            for name in _LATER_OPTIONS
            if getattr(options, name) != getattr(defaults, name)
        }
        if settings.options:
            later["encoder_options"] = dict(settings.options)
        if options.part is not None:
            later["part"] = str(options.part)
        if options.rate is not None:
            later["rate"] = str(options.rate)
        if info.sample_aspect_ratio != self.reader.info.sample_aspect_ratio:
            later["aspect"] = str(info.sample_aspect_ratio)
        return {
            "source": _source_digest(self.reader),
            "weights": self.weights,
            "model": self.model,
            "scale": self.scale,
            "detail": self.detail,
            "device": self.device.type,
            "backend": self.backend.name,
            "precision": options.precision,
            "tiling": options.tiling,
            "deinterlace": options.deinterlace,
            "rotate": options.rotate,
            "decoder": options.decoder,
            "codec": settings.codec,
            "crf": settings.crf,
            "preset": settings.preset,
            "encoder": settings.encoder,
            "versions": {name: version(name) for name in ("vsr", "torch", "av")},
            "output": [info.width, info.height, info.layout.name],
            **later,
        }


def _source_digest(reader: FilmReader) -> str:
    if isinstance(reader, PictureReader):
        return pictures_digest(reader.pictures.files)
    return film_digest(reader.path)

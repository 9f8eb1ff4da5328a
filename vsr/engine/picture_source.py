"""Open films and numbered pictures, and list what is lost between them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import ConfigError
from vsr.media.decode.picture_reader import FilmReader, PictureReader
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import HDR_TRANSFERS, ColourTags, PixelLayout, StreamInfo
from vsr.media.image_writer import sample_type, still_losses
from vsr.media.numbered_pictures import find_pictures, is_picture_pattern
from vsr.media.picture_planes import PICTURE_DEPTH
from vsr.media.still import Still
from vsr.system.address import PIPE, is_pipe

PICTURES = EncoderSettings("pictures")
"""The settings of an output of numbered pictures."""
_PLAYED_CHROMA = ("h264", "hevc", "av1")
"""Codecs whose players expect 4:2:0."""
_WIDE_PRIMARIES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}


def names_pictures(source: Path) -> bool:
    """Whether a source names numbered pictures: a folder, or a pattern that is no file itself."""
    return source != PIPE and (
        source.is_dir() or (is_picture_pattern(source) and not source.exists())
    )


def open_source(
    source: Path, options: UpscaleOptions, keep_on_gpu: bool, threads: int = 0
) -> FilmReader:
    """Open a film, with so many threads of its decoder, or numbered pictures. Raises `VsrError`."""
    if names_pictures(source):
        _check_options(source, options)
        return PictureReader(find_pictures(source), options.rate)
    if options.rate is not None:
        raise ConfigError(
            f"--rate {options.rate}: is for numbered pictures; {source} has a frame rate of its own"
        )
    return VideoReader(
        source,
        options.deinterlace,
        options.rotate == "apply",
        probe_first_frame=True,
        decoder=options.decoder,
        keep_on_gpu=keep_on_gpu,
        once=is_pipe(source),
        video=options.video,
        inverse_telecine=options.inverse_telecine,
        threads=threads,
    )


def reopen_source(reader: FilmReader, options: UpscaleOptions) -> FilmReader:
    """Open a source again, to read the same frames independently of `reader`."""
    if isinstance(reader, PictureReader):
        return PictureReader(reader.pictures, reader.rate)
    return VideoReader(
        reader.path,
        options.deinterlace,
        options.rotate == "apply",
        decoder=options.decoder,
        video=options.video,
        inverse_telecine=options.inverse_telecine,
        is_bottom_first=reader.field_mode.is_bottom_first,
        threads=reader.threads,
    )


def encoded_as(reader: FilmReader, settings: EncoderSettings) -> StreamInfo:
    """Describe the frames to encode, in the size of the source.

    Pictures have full range and all their chroma. A film of pictures has limited range, as players
    expect, and 4:2:0 where the codec's players expect that.
    """
    info = reader.info
    if settings.codec == "pictures":
        return replace(info, colour=replace(info.colour, full_range=True))
    if not isinstance(reader, PictureReader):
        return info
    across, down = (2, 2) if settings.codec in _PLAYED_CHROMA else (1, 1)
    depth = 8 if info.bits <= 8 else 12
    layout = PixelLayout(depth, across=across, down=down, alpha=info.layout.alpha)
    return replace(info, layout=layout, colour=replace(info.colour, full_range=False))


def picture_losses(reader: FilmReader, output: StreamInfo, suffix: str, codec: str) -> list[str]:
    """List what is lost between pictures and films, or between pictures, one line each.

    `output` describes the frames to write to files with `suffix`.
    """
    lost: list[str] = []
    if isinstance(reader, PictureReader):
        first = reader.first
        lost += _reductions(first)
        if codec == "pictures":
            written = replace(first, inks=None, ink_profile=None, pages=1)
            path = Path(f"a{suffix}")
            if (
                first.rgb.dtype == np.uint16 == sample_type(path, written)
                and first.bits > PICTURE_DEPTH
            ):
                lost.append(f"{first.bits} bits a channel: computed in {PICTURE_DEPTH}")
            return still_losses(path, written) + lost
        lost += first.lost
        if first.chromaticities:
            lost.append("chromaticities of the pictures: a film has those of sRGB")
        if metadata := list(_metadata(first)):
            lost.append(f"{', '.join(metadata)} of the pictures: films hold none")
        if output.layout.across == 2:
            lost.append(f"chroma finer than {output.layout.name} (prores and ffv1 hold it)")
    elif codec == "pictures":
        lost += _losses_of_film(reader)
        deep = Still(np.empty((0, 0, 3), np.uint16), bits=reader.info.bits)
        lost += still_losses(Path(f"a{suffix}"), deep) if deep.bits > 8 else []
    return lost


def _reductions(still: Still) -> Iterator[str]:
    """List what a picture loses as a frame of a film, in any output format."""
    if still.rgb.dtype == np.float32:
        yield f"floating-point samples: computed in {PICTURE_DEPTH} bits, from 0 to 1"
    if still.inks is not None:
        yield "CMYK colours: RGB is written"
    if still.pages > 1:
        yield f"{still.pages - 1} of {still.pages} pages of each picture; the first is used"


def _metadata(still: Still) -> Iterator[str]:
    tags = still.tags
    named = {
        "colour profile": still.icc_profile,
        "Exif data": still.exif,
        "XMP": tags.xmp,
        "IPTC data": tags.iptc,
        "texts": tags.texts or tags.comment,
    }
    yield from (name for name, value in named.items() if value)


def _losses_of_film(reader: VideoReader) -> Iterator[str]:
    """List the streams of a film, and the properties of its frames, that pictures can't hold."""
    for kind in ("audio", "subtitle", "data", "attachment"):
        if count := sum(stream.type == kind for stream in reader.container.streams):
            yield f"{count} {kind} stream{'' if count == 1 else 's'}: pictures hold none"
    if reader.container.chapters():
        yield "chapters: pictures hold none"
    info = reader.info
    if info.sample_aspect_ratio != 1:
        yield f"pixel aspect {info.sample_aspect_ratio}: --square-pixels makes the pixels square"
    colour: ColourTags = info.colour
    if name := HDR_TRANSFERS.get(colour.transfer) or _WIDE_PRIMARIES.get(colour.primaries):
        yield f"colours of {name}: the pictures have no description of them"


def _check_options(source: Path, options: UpscaleOptions) -> None:
    """Raise `ConfigError` for options that pictures don't have."""
    unusable = {
        "--deinterlace": options.deinterlace in ("on", "double"),
        "--inverse-telecine": options.inverse_telecine,
        "--video": options.video is not None,
    }
    for name in (name for name, is_given in unusable.items() if is_given):
        raise ConfigError(f"{name}: is for films, and {source} names numbered pictures")

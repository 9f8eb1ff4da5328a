"""Pair pictures and folders of pictures with their outputs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vsr.engine.batch import (
    Pairs,
    find_files,
    is_folder_name,
    not_a_folder,
    pair_files,
    pair_several,
)
from vsr.errors import MediaError
from vsr.media.animation.reader import is_animated
from vsr.media.animation.writer import ANIMATION_SUFFIXES
from vsr.media.dicom import dicom_files, is_dicom
from vsr.media.image_writer import IMAGE_SUFFIXES
from vsr.media.pages import PAGED_SUFFIXES, find_pages
from vsr.system.files import make_folder
from vsr.system.folders import STILL_SUFFIXES, skipped

_JPEGS = (".jpe", ".jfif", ".mpo")


def pair_images(
    sources: Sequence[Path], output: Path, tell: Callable[[str], None] = lambda line: None
) -> Pairs:
    """Pair pictures, and each picture of folders, with their outputs.

    The folder's tree is created in `output`; several inputs are paired as films are, see
    `batch.pair_films`. A picture keeps its suffix if such pictures can be written; otherwise it
    becomes .png, or stays animated. `tell` is called with skipped files. Raises `MediaError` or
    `OutputError`.
    """
    source = sources[0]
    if Path("-") in (*sources, output):
        raise MediaError("-: pictures are files, not pipes; name a file or a folder")
    if len(sources) > 1:
        by_name = {path.name: path for path in sources}
        pairs = pair_several(
            sources,
            output,
            rename=lambda name: _name(name, by_name.get(name.name, name)),
            pair_folder=lambda folder, target: _pair_folder(folder, target, output, tell),
            suffixes=IMAGE_SUFFIXES,
        )
    elif source.is_dir():
        pairs = _pair_folder(source, output, output, tell)
    else:
        return [(source, output / _name(Path(source.name), source) if output.is_dir() else output)]
    for folder in {target.parent for _, target in pairs}:
        make_folder(folder)
    return pairs


def _pair_folder(source: Path, output: Path, without: Path, tell: Callable[[str], None]) -> Pairs:
    """Pair the pictures of a folder, except those in the folder `without`."""
    pictures, others = find_files(source, output, STILL_SUFFIXES, without)
    dicoms = dicom_files(others)
    others = [path for path in others if path not in dicoms]
    pictures = sorted([*pictures, *dicoms])
    if not pictures:
        raise MediaError(f"{source}: holds no picture ({', '.join(sorted(STILL_SUFFIXES))})")
    if not is_folder_name(without, STILL_SUFFIXES):
        raise not_a_folder(without)
    for line in skipped(source, others, "pictures"):
        tell(line)
    return pair_files(source, output, pictures, lambda path: _name(path, path))


def _name(picture: Path, source: Path) -> Path:
    """Return the name of the output of a picture at `source`."""
    if picture.suffix.lower() in IMAGE_SUFFIXES or is_dicom(source):
        return picture
    if picture.suffix.lower() in ANIMATION_SUFFIXES and is_animated(source):
        return picture
    if picture.suffix.lower() in PAGED_SUFFIXES and find_pages(source):
        return picture
    return picture.with_suffix(".jpg" if picture.suffix.lower() in _JPEGS else ".png")

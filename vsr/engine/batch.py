"""Pair the files of a folder with their outputs, for films and for still images."""

from collections.abc import Callable, Collection
from pathlib import Path

from vsr.errors import MediaError, OutputError
from vsr.media.mux.writer import VIDEO_SUFFIXES
from vsr.system.files import check_distinct
from vsr.system.folders import FILM_SUFFIXES, STILL_SUFFIXES, files_in, skipped

Pairs = list[tuple[Path, Path]]


def pair_films(
    source: Path, output: Path, tell: Callable[[str], None] = lambda line: None
) -> Pairs:
    """Pair a film, or each film of a folder, with its output.

    The folder's tree is kept. A film keeps its suffix if films of that suffix can be written;
    otherwise it becomes .mkv, which holds everything. `tell` is called with skipped files. Raises
    `MediaError` or `OutputError`.
    """
    if not source.is_dir():
        _check_numbered(source)
        return [(source, output / film_name(Path(source.name)) if output.is_dir() else output)]
    films, others = find_files(source, output, FILM_SUFFIXES)
    if not films:
        _check_images(source, others)
        raise MediaError(f"{source}: holds no film ({', '.join(sorted(FILM_SUFFIXES))})")
    pairs = pair_files(source, output, films, film_name)
    for line in skipped(source, others, "films"):
        tell(line)
    return pairs


def find_files(
    source: Path, output: Path, suffixes: Collection[str]
) -> tuple[list[Path], list[Path]]:
    """List the files of a folder with these suffixes, and all others.

    Raises `OutputError` if `output` is a file, or the folder itself.
    """
    if output.is_file():
        raise OutputError(f"{output}: is a file, but the input is a folder")
    check_distinct([output], [source])
    return files_in(source, suffixes, without=output)


def pair_files(
    source: Path, output: Path, paths: list[Path], rename: Callable[[Path], Path]
) -> Pairs:
    """Pair files of the folder `source` with renamed files in the folder `output`.

    Raises `OutputError` if two files would have the same output.
    """
    pairs = [(path, output / rename(path.relative_to(source))) for path in paths]
    sources: dict[Path, Path] = {}
    for path, target in pairs:
        if target in sources:
            raise OutputError(f"{path} and {sources[target]} would both become {target}")
        sources[target] = path
    return pairs


def film_name(film: Path) -> Path:
    """Return the name of an upscaled film."""
    writable = film.suffix.lower() in VIDEO_SUFFIXES and film.suffix.lower() != ".webm"
    return film if writable else film.with_suffix(".mkv")


def _check_numbered(source: Path) -> None:
    """Raise `MediaError` for a pattern of numbered pictures, such as `frames/%04d.png`."""
    is_pattern = any(sign in source.name for sign in "%*?#")
    if is_pattern and source.suffix.lower() in STILL_SUFFIXES and not source.exists():
        raise MediaError(f"{source}: no such file; {_advice(source.parent)}")


def _check_images(source: Path, others: list[Path]) -> None:
    """Raise `MediaError` for a folder of pictures."""
    count = sum(path.suffix.lower() in STILL_SUFFIXES for path in others)
    if count:
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        raise MediaError(f"{source}: holds no film, but {pictures}; {_advice(source)}")


def _advice(folder: Path) -> str:
    return (
        f"`vsr image {folder} OUT` upscales pictures one by one, without the motion between them; "
        "to use motion, make a film of them first"
    )

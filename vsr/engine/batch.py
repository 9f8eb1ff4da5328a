"""A folder of films: which there are, and where each goes."""

from collections.abc import Callable
from pathlib import Path

from vsr.errors import MediaError, OutputError
from vsr.media.mux.writer import SUFFIXES
from vsr.system.folders import FILM_SUFFIXES, STILL_SUFFIXES, files_in, skipped


def pair_films(
    source: Path, output: Path, tell: Callable[[str], None] = lambda line: None
) -> list[tuple[Path, Path]]:
    """Pair what is read with what is written: one pair, or one for each film of a folder.

    A folder's tree is kept. A film keeps its suffix where films of that suffix are written, and
    becomes .mkv, which holds everything, where not. `tell` hears of files that are no films.
    Raises `MediaError`.
    """
    if not source.is_dir():
        _check_numbered(source)
        return [(source, output / _name(Path(source.name)) if output.is_dir() else output)]
    if output.is_file():
        raise OutputError(f"{output}: is a file, but the input is a folder")
    films, others = files_in(source, FILM_SUFFIXES, without=output)
    if not films:
        _check_pictures(source, others)
        raise MediaError(f"{source}: holds no film ({', '.join(sorted(FILM_SUFFIXES))})")
    jobs = [(film, output / _name(film.relative_to(source))) for film in films]
    taken: dict[Path, Path] = {}
    for film, target in jobs:
        if target in taken:
            raise OutputError(f"{film} and {taken[target]} would both become {target}")
        taken[target] = film
    for line in skipped(source, others, "films"):
        tell(line)
    return jobs


def _check_numbered(source: Path) -> None:
    """Raise `MediaError` for a pattern of numbered pictures, such as `frames/%04d.png`."""
    is_pattern = any(sign in source.name for sign in "%*?#")
    if is_pattern and source.suffix.lower() in STILL_SUFFIXES and not source.exists():
        raise MediaError(f"{source}: no such file; {_advice(source.parent)}")


def _check_pictures(source: Path, others: list[Path]) -> None:
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


def _name(film: Path) -> Path:
    writable = film.suffix.lower() in SUFFIXES and film.suffix.lower() != ".webm"
    return film if writable else film.with_suffix(".mkv")

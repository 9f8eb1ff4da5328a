"""A folder of films: which there are, and where each goes."""

from pathlib import Path

from vsr.errors import MediaError, OutputError
from vsr.media.reader import FILM_SUFFIXES
from vsr.media.writer import SUFFIXES


def film_jobs(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """What to read and where to write: one pair, or one for each film of a folder.

    A folder's tree is kept. A film keeps its suffix where films of that kind are written, and
    becomes .mkv, which holds everything, where not. Raises `MediaError`.
    """
    if not source.is_dir():
        return [(source, output / source.name if output.is_dir() else output)]
    if output.is_file():
        raise OutputError(f"{output}: is a file, but the input is a folder")
    films = sorted(
        path
        for path in source.rglob("*")
        if path.suffix.lower() in FILM_SUFFIXES
        and path.is_file()
        # What an earlier run made, or left unfinished, is none of the input.
        and not path.is_relative_to(output)
        and not any(part.startswith(".") for part in path.relative_to(source).parts)
    )
    if not films:
        raise MediaError(f"{source}: holds no film ({', '.join(sorted(FILM_SUFFIXES))})")
    jobs = [(film, output / _name(film.relative_to(source))) for film in films]
    taken: dict[Path, Path] = {}
    for film, target in jobs:
        if target in taken:
            raise OutputError(f"{film} and {taken[target]} would both become {target}")
        taken[target] = film
    return jobs


def _name(film: Path) -> Path:
    writable = film.suffix.lower() in SUFFIXES and film.suffix.lower() != ".webm"
    return film if writable else film.with_suffix(".mkv")

"""Pair files and the files of folders with their outputs, for films and for still images."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from vsr.errors import MediaError, OutputError
from vsr.media.animation.writer import FILM_ANIMATION_SUFFIXES
from vsr.media.mux.writer import VIDEO_SUFFIXES
from vsr.media.numbered_pictures import holds_pictures, is_picture_pattern
from vsr.system.address import PIPE
from vsr.system.files import check_distinct
from vsr.system.folders import FILM_SUFFIXES, STILL_SUFFIXES, files_in, skipped

Pairs = list[tuple[Path, Path]]


def pair_films(
    sources: Sequence[Path], output: Path, tell: Callable[[str], None] = lambda line: None
) -> Pairs:
    """Pair films, and each film of folders, with their outputs.

    The tree of a single folder is kept in `output`. Several inputs need a folder as `output`, where
    the tree of each folder gets a subfolder of its name. A film keeps its suffix if films of that
    suffix can be written; otherwise it becomes .mkv, which holds everything. `tell` is called with
    skipped files. Raises `MediaError` or `OutputError`.
    """
    if is_picture_film(sources, output):
        return [(sources[0], output)]
    for source in sources:
        if not source.is_dir():
            _check_numbered(source)
    if len(sources) > 1:
        return pair_several(
            sources,
            output,
            rename=film_name,
            pair_folder=lambda folder, target: _pair_folder(folder, target, output, tell),
            suffixes=VIDEO_SUFFIXES,
        )
    source = sources[0]
    if not source.is_dir():
        return [(source, output / film_name(Path(source.name)) if output.is_dir() else output)]
    return _pair_folder(source, output, output, tell)


def is_picture_film(sources: Sequence[Path], output: Path) -> bool:
    """Whether the only input names numbered pictures, and the output a film or such pictures.

    A folder does if it holds numbered pictures and its tree no film.
    """
    source = sources[0]
    if len(sources) > 1 or (output.is_dir() and output != PIPE):
        return False
    film_suffixes = VIDEO_SUFFIXES | FILM_ANIMATION_SUFFIXES
    is_film = output == PIPE or output.suffix.lower() in film_suffixes
    if not (is_film or is_picture_pattern(output)):
        return False
    if source == PIPE or not source.is_dir():
        return source != PIPE and is_picture_pattern(source) and not source.exists()
    return holds_pictures(source) and not files_in(source, FILM_SUFFIXES).matching


def pair_several(
    sources: Sequence[Path],
    output: Path,
    *,
    rename: Callable[[Path], Path],
    pair_folder: Callable[[Path, Path], Pairs],
    suffixes: Collection[str],
) -> Pairs:
    """Pair several inputs, files and folders, with their outputs in the folder `output`.

    `rename` names the output of a file. `pair_folder` pairs the files of a folder with outputs in a
    subfolder. `suffixes` are those of output files, which are not taken for a folder. Raises
    `MediaError` or `OutputError`.
    """
    check_several(sources, output, suffixes)
    pairs: Pairs = []
    for source in sources:
        if source.is_dir():
            pairs += pair_folder(source, subfolder_of(source, output))
        else:
            pairs.append((source, output / rename(source).name))
    _check_pairs(pairs)
    return pairs


def check_several(sources: Sequence[Path], output: Path, suffixes: Collection[str]) -> None:
    """Raise an error unless all of several inputs exist and `output` is, or can be, a folder."""
    if PIPE in sources:
        raise MediaError("-: standard input can't be one of several inputs; upscale it alone")
    if not is_folder_name(output, suffixes):
        raise OutputError(f"{output}: several inputs need a folder as the last argument")
    for source in sources:
        if not source.exists():
            raise MediaError(f"{source}: no such file or folder")


def is_folder_name(output: Path, suffixes: Collection[str]) -> bool:
    """Whether `output` is a folder, or can become one: it has none of `suffixes`."""
    if output == PIPE or output.exists():
        return output != PIPE and output.is_dir()
    return output.suffix.lower() not in suffixes


def not_a_folder(output: Path) -> OutputError:
    """Return the error for an output that can't hold the files of a folder."""
    return OutputError(f"{output}: isn't a folder, but the input is one; name a folder")


def subfolder_of(source: Path, output: Path) -> Path:
    """Return the folder in `output` for the tree of `source`, one of several folders."""
    return output / source.resolve().name


def _pair_folder(source: Path, output: Path, without: Path, tell: Callable[[str], None]) -> Pairs:
    """Pair the films of a folder, except those in the folder `without`."""
    films, others = find_files(source, output, FILM_SUFFIXES, without)
    if not films:
        _check_images(source, others)
        raise MediaError(f"{source}: holds no film ({', '.join(sorted(FILM_SUFFIXES))})")
    if not is_folder_name(without, FILM_SUFFIXES):
        raise not_a_folder(without)
    pairs = pair_files(source, output, films, film_name)
    for line in skipped(source, others, "films"):
        tell(line)
    return pairs


def find_files(
    source: Path, output: Path, suffixes: Collection[str], without: Path
) -> tuple[list[Path], list[Path]]:
    """List the files of a folder with these suffixes, and all others.

    Files in the folder `without`, which holds outputs, are skipped. Raises `OutputError` if
    `output` is a file, or if either folder is the input itself.
    """
    if output.is_file():
        raise not_a_folder(output)
    for folder in (output, without):
        check_distinct([folder], [source])
    return files_in(source, suffixes, without=without)


def pair_files(
    source: Path, output: Path, paths: list[Path], rename: Callable[[Path], Path]
) -> Pairs:
    """Pair files of the folder `source` with renamed files in the folder `output`.

    Raises `OutputError` if two files would have the same output.
    """
    pairs = [(path, output / rename(path).relative_to(source)) for path in paths]
    _check_pairs(pairs)
    return pairs


def _check_pairs(pairs: Pairs) -> None:
    """Raise `OutputError` if two files have the same output, or if an output is an input."""
    inputs = {path.resolve() for path, _ in pairs}
    sources: dict[Path, Path] = {}
    for path, target in pairs:
        if target in sources:
            raise OutputError(f"{path} and {sources[target]} would both become {target}")
        if target.resolve() in inputs:
            raise OutputError(f"{target}: is an input itself; name another folder")
        sources[target] = path


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
        f"`vsr image {folder} OUT` upscales pictures one by one; numbered pictures are a film if "
        "the output is a film such as out.mkv, or a pattern such as out/%05d.png"
    )

"""What is shown of films before any work: descriptions and filmstrips, kept on disk."""

from concurrent.futures import Future
from pathlib import Path

from vsr.system.files import file_stamp
from vsr.web.computations import Computation, Computations, Work
from vsr.web.film_info import describe_film, describe_picture
from vsr.web.filmstrip import make_filmstrip

_SECONDS = 60.0
"""Time limit."""


class Films:
    """Describes films and pictures in processes without torch."""

    def __init__(self, computations: Computations) -> None:
        self._computations = computations

    def describe(self, path: Path, is_picture: bool) -> Future[Computation]:
        """Describe a film or picture; see `film_info`. Raises `MediaError` without the file."""
        function = describe_picture if is_picture else describe_film
        work = Work(function, (path,), seconds=_SECONDS)
        return self._start(("info", is_picture, file_stamp(path)), work)

    def strip(self, path: Path, count: int) -> Future[Computation]:
        """Draw a filmstrip; see `filmstrip`. Raises `MediaError` where the file is missing."""
        work = Work(make_filmstrip, (path, count), seconds=_SECONDS)
        return self._start(("strip", count, file_stamp(path)), work)

    def _start(self, identity: tuple[object, ...], work: Work) -> Future[Computation]:
        return self._computations.request(identity, {}, work)[1]

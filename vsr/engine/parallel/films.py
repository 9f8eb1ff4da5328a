"""Upscale several films at the same time, so that no worker waits for a film to end."""

import threading
import time
from collections.abc import Callable, Iterable

from vsr.engine.parallel.workers import Workers
from vsr.errors import Interrupted

_POLL_SECONDS = 0.05


class _Film(threading.Thread):
    """Calls a function, and keeps its error."""

    def __init__(self, upscale: Callable[[], None], started: int) -> None:
        """`started` is the count of runs before this one."""
        super().__init__(name="vsr-film", daemon=True)
        self.started_before = started
        self.error: BaseException | None = None
        self._upscale = upscale
        self.start()

    def run(self) -> None:
        """Call the function."""
        try:
            self._upscale()
        except BaseException as error:
            self.error = error


def upscale_films(
    films: Iterable[Callable[[], None]], workers: Workers, stop: threading.Event
) -> None:
    """Call functions that upscale a film each by `workers`, in threads of their own.

    They are called in order, each once workers would be idle otherwise, and one at a time until
    its film is open. Once `stop` is set, none is called any more. Raises `Interrupted` if one is
    left, or has raised it. Any other error ends all films at once, and so does Ctrl-C.
    """
    shared = workers.shared
    running: list[_Film] = []
    interrupted: Interrupted | None = None

    def wait_until(is_reached: Callable[[], bool]) -> None:
        nonlocal running, interrupted
        while True:
            reached = is_reached()
            ended = [film for film in running if not film.is_alive()]
            running = [film for film in running if film not in ended]
            for film in ended:
                if isinstance(film.error, Interrupted):
                    interrupted = film.error
                elif film.error is not None:
                    raise film.error
            if reached:
                return
            time.sleep(_POLL_SECONDS)

    def is_next_needed() -> bool:
        if stop.is_set():
            return True
        newest = running[-1] if running else None
        is_open = newest is None or not newest.is_alive() or shared.started > newest.started_before
        # Films whose last frame is written still copy their sound.
        return is_open and shared.needs_run and len(running) <= 2 * len(workers.names)

    try:
        for film in films:
            wait_until(is_next_needed)
            if stop.is_set():
                interrupted = interrupted or Interrupted("interrupted between two films")
                break
            running.append(_Film(film, shared.started))
        wait_until(lambda: not any(film.is_alive() for film in running))
    except BaseException:
        shared.abandon()
        for thread in running:
            thread.join()
        raise
    if interrupted is not None:
        raise interrupted

"""Run the main function of a tool, with errors as one line."""

import sys
from collections.abc import Callable
from pathlib import Path

from vsr.errors import VsrError


def run(main: Callable[[], None]) -> None:
    """Call `main`; after a `VsrError`, print it in one line and exit with 1."""
    try:
        main()
    except VsrError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")

"""Child processes of the tests."""

from collections.abc import Callable
from multiprocessing.process import BaseProcess

Processes = Callable[[], list[BaseProcess]]
"""Lists running processes."""

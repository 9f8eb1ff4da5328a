"""Processes that are interrupted or killed."""

import os
import signal
import sys

import pytest

from vsr.engine.parallel.placement import Placement
from vsr.engine.parallel.processes import SPAWN, call_in_each, start_process
from vsr.errors import VsrError

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")


@POSIX
def test_ctrl_c_does_not_reach_a_process_that_starts() -> None:
    process = SPAWN.Process(target=signal.raise_signal, args=(signal.SIGINT,))
    start_process(process)
    process.join()
    assert process.exitcode == 0
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def kill_itself(device: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@POSIX
@pytest.mark.slow
def test_a_process_that_is_killed_during_a_call_is_one_line() -> None:
    placement = Placement(name="worker 1", device="cpu", threads=1)
    with pytest.raises(VsrError, match=r"^worker 1 died \(killed by SIGKILL, perhaps .* fewer"):
        call_in_each([placement], kill_itself)

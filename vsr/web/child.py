"""Run a command of `vsr` that ends when its parent process does.

python -m vsr.web.child upscale IN OUT ...

Standard input is a pipe that the parent keeps open: its end means that the parent has ended, even
by SIGKILL. Then the command gets SIGTERM, as finished segments stay.
"""

import os
import runpy
import signal
import threading
import time

_PATIENCE_SECONDS = 10
"""Time for SIGTERM."""


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runpy.run_module("vsr", run_name="__main__", alter_sys=True)

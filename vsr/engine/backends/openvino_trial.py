"""Compile and run a converted network, as a program of its own.

OpenVINO ends the whole process with some networks. This program imports neither torch nor vsr, so
that it starts fast: `python -P openvino_trial.py network.xml settings.json inputs.npz outputs.npz`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

STARTED = "started"
"""Line of output without which a failure says nothing about the network."""


def main(network: str, settings: str, inputs: str, outputs: str) -> None:
    """Compute each array (1, 3, H, W) of a file, and write the results under the same names."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # see `import_openvino`
    import openvino

    print(STARTED, flush=True)
    core, results = openvino.Core(), {}
    options: dict[str, Any] = json.loads(Path(settings).read_text(encoding="utf-8"))
    with np.load(inputs) as pictures:
        for name, picture in pictures.items():
            model = core.read_model(network)
            model.reshape(list(picture.shape))
            compiled = core.compile_model(model, "CPU", options)
            results[name] = compiled.create_infer_request().infer([picture])[0]
    np.savez(outputs, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Conversion by TorchScript, which torch has deprecated, for OpenVINO and to ONNX.

Both functions work up to torch 2.14, the newest version tested, on Python before 3.14. Only the
warnings of that version are silenced, by their wording: a new warning, for example of a removal,
is shown and fails the tests. The successor is `torch.export`.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_DEPRECATED = (
    r"`torch\.jit\.trace(_method)?` is deprecated\. Please switch to `torch\.compile` or "
    r"`torch\.export`\.$",
    r"You are using the legacy TorchScript-based ONNX export\. Starting in PyTorch 2\.9, ",
    r"The feature will be removed\. Please remove usage of this function$",
)
_EXPORT_WARNING = r"Constant folding - Only steps=1 can be constant folded"
_OPSET = 18


def traced(module: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """Trace a module to a TorchScript graph for inputs of these shapes and types alone."""
    with _without_known_warnings():
        return torch.jit.trace(module, tuple(inputs), check_trace=False)  # type: ignore[no-untyped-call]


def write_onnx(
    module: nn.Module,
    inputs: Sequence[Tensor],
    path: Path,
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
) -> None:
    """Write a module as ONNX, for inputs of these shapes and types alone.

    Raises ImportError if onnx is missing.
    """
    import onnx  # noqa: F401 - needed by torch.onnx.export

    with _without_known_warnings():
        torch.onnx.export(
            module,
            tuple(inputs),
            str(path),
            input_names=list(input_names),
            output_names=list(output_names),
            opset_version=_OPSET,
            dynamo=False,
        )


@contextmanager
def _without_known_warnings() -> Iterator[None]:
    """Disable gradients and known warnings, for example that sizes become constants."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        for message in (*_DEPRECATED, _EXPORT_WARNING):
            warnings.filterwarnings("ignore", message)
        yield

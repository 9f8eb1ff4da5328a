"""What still needs TorchScript, which torch has deprecated: conversion for OpenVINO and to ONNX.

Both functions hold up to torch 2.14, the newest tried, on Python before 3.14. Only the warnings of
that version are silenced, by their wording: a later one, such as of a removal, is seen, and fails
the tests. The successor is `torch.export`.
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
_OF_EXPORT = r"Constant folding - Only steps=1 can be constant folded"
_OPSET = 18


def traced(module: nn.Module, takes: Sequence[Tensor]) -> Any:
    """A module as a graph of TorchScript, for inputs of these shapes and types alone."""
    with _as_expected():
        return torch.jit.trace(module, tuple(takes), check_trace=False)  # type: ignore[no-untyped-call]


def write_onnx(
    module: nn.Module,
    takes: Sequence[Tensor],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> None:
    """Write a module as ONNX, for inputs of these shapes and types alone, with named ports.

    Raises `ImportError` where onnx is missing.
    """
    import onnx  # noqa: F401 - what torch writes by

    with _as_expected():
        torch.onnx.export(
            module,
            tuple(takes),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=_OPSET,
            dynamo=False,
        )


@contextmanager
def _as_expected() -> Iterator[None]:
    """No gradients, and no warnings of what is known: that sizes become constants, for one."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        for message in (*_DEPRECATED, _OF_EXPORT):
            warnings.filterwarnings("ignore", message)
        yield

"""Evaluate outputs and models: measurements, reports and comparison pages.

Each name is imported when it is first used: comparison pages need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vsr.evaluation.model_evaluation import evaluate_model
    from vsr.evaluation.output_evaluation import evaluate
    from vsr.evaluation.report import FilmReport, MetricSummary, Report

__all__ = ["FilmReport", "MetricSummary", "Report", "evaluate", "evaluate_model"]

_MODULES = {
    "FilmReport": "report",
    "MetricSummary": "report",
    "Report": "report",
    "evaluate": "output_evaluation",
    "evaluate_model": "model_evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

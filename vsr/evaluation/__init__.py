"""How good an output or a model is, as numbers, as pages, and side by side."""

from vsr.evaluation.report import FilmReport, MetricSummary, Report
from vsr.evaluation.run import evaluate, evaluate_model

__all__ = ["FilmReport", "MetricSummary", "Report", "evaluate", "evaluate_model"]

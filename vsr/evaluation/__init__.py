"""Evaluate outputs and models: measurements, reports and comparison pages."""

from vsr.evaluation.model_evaluation import evaluate_model
from vsr.evaluation.output_evaluation import evaluate
from vsr.evaluation.report import FilmReport, MetricSummary, Report

__all__ = ["FilmReport", "MetricSummary", "Report", "evaluate", "evaluate_model"]

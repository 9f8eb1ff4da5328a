"""Responses repeat the fields of results whose classes only processes with torch import."""

from dataclasses import fields
from typing import Any

import pytest

from vsr.config import Config
from vsr.engine.plan import Alternative, Plan
from vsr.evaluation.stability import SecondStability
from vsr.media.verify import Finding
from vsr.web.view_models import KeptProperty, OtherQuality, PlanResult, StabilitySecond


@pytest.mark.parametrize(
    ("response", "result"),
    [
        (PlanResult, Plan),
        (OtherQuality, Alternative),
        (KeptProperty, Finding),
        (StabilitySecond, SecondStability),
    ],
)
def test_responses_have_the_fields_of_results(response: type[Config], result: Any) -> None:
    assert list(response.model_fields) == [field.name for field in fields(result)]

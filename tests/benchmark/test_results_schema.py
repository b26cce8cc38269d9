"""Kept reports of earlier versions are as the published schema says too; tests/recipes/test_run.py checks a new one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.benchmark.results_schema import SCHEMA

KEPT = Path(__file__).parents[2] / "benchmarks" / "results"


def kept(name: str) -> Any:
    return json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["demo", "demo-vnni"])
def test_reports_of_earlier_versions_are_as_the_schema_says(name: str) -> None:
    jsonschema.validate(kept(name), SCHEMA)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda results: results.pop("machine"),
        lambda results: results["models"].clear(),
        lambda results: results["models"][1]["latency"][0].update(p50_ms="1 ms"),
        lambda results: results["models"][1]["accuracy"].update(value=97.0),
        lambda results: results["models"][1]["versus_first"].pop("speedup_p50"),
    ],
)
def test_other_documents_are_refused(spoil: Callable[[Any], object]) -> None:
    results = kept("demo")
    spoil(results)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(results, SCHEMA)

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.benchmark.report.charts import curve_of, draw_curve, metric_domain
from compress.benchmark.report.page import as_html
from compress.folder import read_manifest
from tests.benchmark.test_report import document, parse

STEPS = [14, 28, 42, 56]
LOSSES = [0.9, 0.5, 0.45, 0.2]
VALUES = [0.61, 0.9, 0.955, 0.93]


def past(step: str = "finetune", metric: str = "accuracy", seconds: float = 60.0) -> dict[str, Any]:
    """A training step as a model's history has it; its third validation is the best."""
    points = [{"step": at, "loss": loss, metric: value} for at, loss, value in zip(STEPS, LOSSES, VALUES, strict=True)]
    metrics = {f"validation_{metric}": max(VALUES), "best_step": 42, "steps": 56, "curve": points}
    return {"step": step, "seconds": seconds, "metrics": metrics}


def trained(histories: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """A results document whose models have these histories."""
    results = document(len(histories))
    for model, history in zip(results["models"], histories, strict=True):
        model["history"] = history
    return results


def lines(svg: str) -> list[npt.NDArray[np.float64]]:
    """Each line's corners, pixels ``[n, 2]`` from the upper left of its panel: the metric's, then the loss's."""
    found = re.findall(r'line mark container"\s*><path[^>]* d="M([^"]+)"', svg)
    return [np.array([corner.split(",") for corner in line.split("L")], dtype=np.float64) for line in found]


def straight(pixels: npt.NDArray[np.float64], values: Sequence[float]) -> tuple[float, float]:
    """Slope and offset of the scale from values to pixels, which must be linear."""
    slope, offset = np.polyfit(values, pixels, 1)
    assert pixels == pytest.approx(slope * np.array(values) + offset, abs=0.01)
    return slope, offset


def test_both_lines_go_through_every_validation_on_one_axis_of_steps() -> None:
    curve = curve_of(past())
    assert curve is not None
    metric, loss = lines(draw_curve(curve, 336))
    assert metric[:, 0].tolist() == loss[:, 0].tolist()
    assert straight(metric[:, 0], STEPS) == pytest.approx((336 / 56, 0), abs=1e-3)
    assert straight(metric[:, 1], VALUES)[0] < 0  # up is better
    slope, floor = straight(loss[:, 1], LOSSES)
    assert slope < 0
    assert floor == pytest.approx(60, abs=0.01)  # loss 0 is the panel's foot


def test_the_dot_is_on_the_checkpoint_that_was_kept() -> None:
    curve = curve_of(past())
    assert curve is not None
    svg = draw_curve(curve, 336)
    dots = re.findall(r'symbol mark container"\s*><path[^>]*translate\(([\d.]+),([\d.]+)\)', svg)
    assert [[float(pixel) for pixel in dot] for dot in dots] == [pytest.approx(lines(svg)[0][2], abs=0.01)]
    assert curve.in_words == "accuracy 95.5%, step 42 of 56"


def test_steps_that_trained_nothing_have_no_curve() -> None:
    assert curve_of({"step": "export", "seconds": 1.0, "metrics": {"max_logit_difference": 1e-6}}) is None
    assert curve_of({"step": "import", "seconds": 1.0}) is None


def test_one_validation_makes_no_line() -> None:
    short = past()
    del short["metrics"]["curve"][1:]
    assert curve_of(short) is None


def test_what_a_step_records_can_be_drawn(tiny_torch: Path, tiny_int8: Path) -> None:
    finetuned, *others = map(curve_of, read_manifest(tiny_int8).history)
    assert finetuned == curve_of(read_manifest(tiny_torch).history[-1])
    assert finetuned is not None
    assert len(lines(draw_curve(finetuned, 300))[0]) == len(finetuned.points)
    assert set(others) == {None}


@given(st.lists(st.floats(0, 100), min_size=1))
def test_scale_of_the_metric_holds_all_values_and_does_not_blow_up_noise(percents: list[float]) -> None:
    low, high = metric_domain(percents)
    assert 0 <= low <= min(percents)
    assert max(percents) <= high <= 100
    assert high - low >= 1 - 1e-9  # two points, of which one may be beyond 0 or 100


@pytest.mark.usefixtures("undrawn")
def test_shared_history_is_drawn_once_with_the_model_it_made() -> None:
    teacher, student = past(), past("distill", seconds=30.0)
    export = {"step": "export", "seconds": 1.0, "metrics": {}}
    page = as_html(trained([[teacher], [teacher, student], [teacher, student, export]]))
    heads = [" ".join(re.sub(r"<[^>]+>", "", head).split()) for head in re.findall(r"<h3>(.*?)</h3>", page, re.DOTALL)]
    assert heads == ["finetune made teacher", "distill made student"]
    assert page.count('aria-label="Validation metric and loss of') == 2 * 2  # for desk and phone


@pytest.mark.usefixtures("undrawn")
def test_history_of_an_onnx_model_alone_is_drawn() -> None:
    export = {"step": "export", "seconds": 1.0, "metrics": {}}
    page = as_html(trained([[past(metric="macro_f1"), export]]))
    assert "Learning curves" in page
    assert "Kept: macro-F1 95.5%, step 42 of 56" in page


@pytest.mark.usefixtures("undrawn")
def test_without_training_there_is_no_heading() -> None:
    assert "Learning curves" not in as_html(document(2))


def test_page_with_curves_is_whole_and_follows_the_colour_scheme() -> None:
    page = as_html(trained([[past()], [past(), past("prune")]]))
    ids = parse(page).ids
    assert len(ids) == len(set(ids))
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ET.fromstring(svg)
        assert not re.findall(r'(?:fill|stroke)="(#[^"]+|black|white)"', svg)

import copy
import json
import re
from dataclasses import asdict
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from compress.benchmark.report.charts import latency_bars
from compress.benchmark.report.page import as_html, as_markdown, steps, write_report
from compress.benchmark.report.recommend import recommend
from compress.benchmark.report.scatter import box_of, log_ticks, pareto_front, place_labels
from compress.benchmark.warnings import label_warnings, timing_warnings
from compress.benchmark.workload import REAL, Workload, summarise
from compress.evaluation.comparison import measure_change
from compress.evaluation.metrics import Indicators, measure_accuracy
from compress.machine import describe_machine
from compress.tuning.ending import as_points
from compress.tuning.tries import Try
from tests.undrawn import leave_charts_out

# name, share right, p50_ms, megabytes
MODELS = [
    ("teacher", 0.971, 8.9, 90.9),
    ("student", 0.975, 4.6, 69.6),
    ("pruned", 0.966, 3.1, 62.1),
    ("onnx", 0.966, 1.6, 62.1),
    ("int8", 0.964, 0.72, 15.8),
    ("teacher-onnx", 0.971, 3.4, 90.9),
    ("teacher-int8-without-the-gate", 0.92, 1.5, 22.9),
    ("two-layers", 0.93, 0.45, 12.0),
]


def document(models: int) -> dict[str, Any]:
    """A results document of ``models`` models whose answers and times are drawn, not measured."""
    return copy.deepcopy(_drawn(models))


@cache
def page_of(models: int) -> str:
    """The page of :func:`document`."""
    return as_html(document(models))


@cache
def _drawn(models: int) -> dict[str, Any]:
    entries = _entries()[:models]
    return {
        "created": "2026-11-22T10:00:00+00:00",
        "machine": describe_machine([2]),
        "settings": {"seconds": 6.0, "resamples": 4000},
        "models": entries,
        "recommendation": asdict(recommend(entries)),
        "failed": [],
    }


@cache
def _entries(texts: int = 445) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    true = np.eye(5, dtype=np.bool_)[rng.integers(5, size=texts)]
    difficulty = rng.random(texts)
    answers = [np.where((difficulty < share)[:, None], true, np.roll(true, 1, axis=1)) for _, share, *_ in MODELS]
    return [_entry(index, answers[index], answers[0], true, rng) for index in range(len(MODELS))]


def _entry(
    index: int, answers: Indicators, first: Indicators, true: Indicators, rng: np.random.Generator
) -> dict[str, Any]:
    name, _, p50_ms, megabytes = MODELS[index]
    loads = [REAL, Workload(1, 32), Workload(8, 128)]
    slower = [1, 1.1, 20]
    past = [
        {"step": step, "seconds": 70.0 + place, "metrics": {"accuracy": 0.97}} for place, step in enumerate("abcde")
    ]
    latency = [
        summarise(load, 2, [p50_ms * factor * rng.lognormal(0, 0.2, 40) for _ in range(20)])
        for load, factor in zip(loads, slower, strict=True)
    ]
    change = asdict(measure_change("accuracy", first, answers, true, seed=0))
    return {
        "name": name,
        "path": f"runs/demo/{name}",
        "backend": "torch" if index < 3 else "onnxruntime",
        "device": "cpu",
        "provider": None if index < 3 else "CPUExecutionProvider",
        "precision": "int8" if "int8" in name else "fp32",
        "size_bytes": int(megabytes * 1e6),
        "parameters": int(megabytes * 2.5e5),
        "accuracy": asdict(measure_accuracy("accuracy", answers, true, seed=0)),
        "versus_first": change | {"speedup_p50": MODELS[0][2] / p50_ms, "size_ratio": MODELS[0][3] / megabytes},
        "latency": [asdict(each) for each in latency],
        "history": past[: index + 1],
    }


def searched(
    losses: list[float], chosen: str, front: set[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[list[dict[str, Any]]]]:
    """The page of a search whose tries lose so many points, and what each of its charts draws."""
    leave_charts_out(monkeypatch)
    drawn: list[list[dict[str, Any]]] = []

    def draw(chart: dict[str, Any]) -> str:
        drawn.append(chart["data"]["values"])
        return "<svg></svg>"

    monkeypatch.setattr("vl_convert.vegalite_to_svg", draw)
    tries = [
        Try(f"try-{at}", 0, 0.9 - loss / 100, (0.9 - loss / 100,) * 2, loss, ms=1.0, ms_ci95=(0.9, 1.1))
        for at, loss in enumerate(losses)
    ]
    search = {"found": "", "tries": as_points(tries, front, "accuracy"), "chosen": chosen, "stages": []}
    return as_html(document(1) | {"search": search}), drawn


@pytest.mark.parametrize(("models", "chosen", "others"), [(1, 0, 0), (2, 0, 1), (2, 1, 0), (3, 1, 1), (3, 0, 1)])
def test_the_colours_of_the_risk_curves_are_told_of_all_models(
    models: int, chosen: int, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_charts_out(monkeypatch)
    drawn = document(models)
    for entry in drawn["models"]:
        entry["accuracy"]["risk_coverage"] = [(0.5, 0.0), (1.0, 0.1)]
    drawn["recommendation"]["name"] = MODELS[chosen][0]
    page = as_html(drawn)
    assert page.count(f"Green: {MODELS[chosen][0]}") == 1
    assert page.count("; pale: teacher") == (chosen > 0)
    assert page.count("; dark as the text: the other models") == others


@pytest.mark.parametrize(
    ("chosen", "losses", "told"),
    [
        ("try-1", [-0.4, 0.9, 9.0, 10.1, 68.0], "The chart leaves out 2 that lose more than 10 points."),
        ("try-1", [1.0, 6.0, 9.0, 23.0, 68.0], "The chart leaves out 1 that loses more than 24 points."),
        ("", [12.0, 40.0, 68.0], "The chart leaves out 1 that loses more than 48 points."),
        ("try-0", [0.0, 1.0, 9.5], ""),
    ],
)
def test_a_search_draws_what_can_be_told_apart_and_says_how_much_lies_outside(
    chosen: str, losses: list[float], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, drawn = searched(losses, chosen, set(), monkeypatch)
    (left_out,) = re.findall(r"leaves out (\d)", told) or ["0"]
    of_search = [values for values in drawn if {each["name"] for each in values} == {""}]
    assert [len(values) for values in of_search] == [len(losses) - int(left_out)] * 2
    assert told in page
    assert ("leaves out" in page) == bool(told)
    assert all(f"<td>try-{at}</td>" in page for at in range(len(losses)))


@pytest.mark.parametrize(("losses", "front", "left_out"), [([1.0, 23.0, 68.0, 30.0], 2, 0), ([1.0, 68.0, 30.0], 2, 1)])
def test_the_chart_of_a_search_reaches_to_every_model_of_the_front(
    losses: list[float], front: int, left_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also to one that is fast and loses far more than the chosen one."""
    of_front = {"try-0", f"try-{front}"}
    _, drawn = searched(losses, "try-0", of_front, monkeypatch)
    of_search = [values for values in drawn if {"", *of_front} >= {each["name"] for each in values} > {"try-0"}]
    assert [len(values) for values in of_search] == [len(losses) - left_out] * 2
    assert all(of_front <= {each["name"] for each in values} for values in of_search)


VOID = {"meta", "link", "br", "img", "hr", "input"}


class Balance(HTMLParser):
    """Checks that every tag is closed in order and remembers what a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "data", "srcset"}]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(page: str) -> Balance:
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    return parser


@pytest.mark.parametrize("models", [1, 2, 8])
def test_page_is_whole_and_loads_nothing(models: int) -> None:
    page = page_of(models)
    parser = parse(page)
    assert parser.loads == []
    assert "<script" not in page
    assert not re.search(r"@import|url\((?!#)", page)
    assert len(parser.ids) == len(set(parser.ids))
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ET.fromstring(svg)


def test_page_follows_the_colour_scheme() -> None:
    page = page_of(8)
    assert "prefers-color-scheme: dark" in page
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        assert set(re.findall(r'(?:fill|stroke)="(#[^"]+|black|white)"', svg)) <= set()


def test_names_cannot_break_the_page_or_the_table() -> None:
    results = document(2)
    results["models"][1]["name"] = "<b>a|b & c"
    results["recommendation"] = {"name": "<b>a|b & c", "headline": "<b>", "why": "<i>"}
    page = as_html(results)
    parse(page)
    assert "<b>a" not in page
    row = next(line for line in as_markdown(results).splitlines() if "a\\|b" in line)
    assert row.replace("\\|", "").count("|") == 10


@pytest.mark.parametrize("models", [1, 8])
def test_markdown_has_a_row_a_model_and_even_columns(models: int) -> None:
    results = document(models)
    table = [line for line in as_markdown(results).splitlines() if line.startswith("|")]
    assert len(table) == 2 + models
    assert len({line.count("|") for line in table}) == 1
    for model, line in zip(results["models"], table[2:], strict=True):
        assert line.startswith(f"| {model['name']} |")


def test_all_three_files_are_written_and_failures_are_shown(tmp_path: Path) -> None:
    results = document(2) | {"failed": [{"name": "lost", "path": "x/lost", "reason": "its process died"}]}
    write_report(results, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.md", "results.json"}
    assert "its process died" in (tmp_path / "report.html").read_text()
    assert "lost: its process died" in (tmp_path / "report.md").read_text()
    again = json.loads((tmp_path / "results.json").read_text())
    assert as_html(again) == (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_partial_report_says_so(tmp_path: Path) -> None:
    write_report(document(2) | {"partial": True}, tmp_path)
    assert "<b>Partial</b>" in (tmp_path / "report.html").read_text()
    assert "Partial: interrupted" in (tmp_path / "report.md").read_text()
    assert "artial:" not in as_markdown(document(2))
    assert "<b>Partial</b>" not in page_of(2)


@pytest.mark.usefixtures("undrawn")
def test_what_was_left_out_skipped_or_is_doubtful_is_said_in_both() -> None:
    about = {
        "warnings": ["the machine was busy"],
        "left_out": [{"name": "tiny", "path": "x", "reason": "no kernels for it"}],
        "skipped": [{"name": "teacher", "load": "4096 x 128 tokens", "threads": 1, "reason": "out of memory"}],
    }
    results = document(2) | about
    del results["models"][1]["latency"][2]
    page, markdown = as_html(results), as_markdown(results)
    for text in (page, markdown):
        for said in ("the machine was busy", "no kernels for it", "4096 x 128 tokens", "out of memory"):
            assert text.count(said) == 1
    assert page.count(">skipped</td>") == 1


@pytest.mark.usefixtures("undrawn")
def test_macro_f1_keeps_its_capital_in_headings() -> None:
    results = document(2)
    for entry in results["models"]:
        entry["accuracy"]["metric"] = "macro_f1"
    assert "Macro-F1 against latency" in as_html(results)
    assert "| Macro-F1 (95%) |" in as_markdown(results)


def test_recommends_the_fastest_that_is_close_enough() -> None:
    models = document(8)["models"]
    chosen = recommend(models)
    close = [model for model in models if model["versus_first"]["accuracy_delta"] >= -0.01]
    assert chosen.name == min(close, key=lambda model: model["latency"][0]["p50_ms"])["name"]
    assert "The faster two-layers" in chosen.why


@pytest.mark.usefixtures("undrawn")
def test_the_time_to_an_answer_decides_where_it_was_measured() -> None:
    results = document(5)
    first, *others = results["models"]
    for entry, answer_ms in zip(results["models"], (20.0, 10.0, 2.0, 5.0, 4.0), strict=True):
        entry |= {"answer_p50_ms": answer_ms, "answer_p50_ci95": [0.99 * answer_ms, 1.01 * answer_ms]}
    for entry in [first, *others]:
        ratio = 20.0 / entry["answer_p50_ms"]
        entry["versus_first"] |= {"speedup_answer": ratio, "speedup_answer_ci95": [0.99 * ratio, 1.01 * ratio]}
    chosen = recommend(results["models"])
    assert chosen.name == "pruned"  # though int8 alone is faster
    assert "10.0\N{MULTIPLICATION SIGN} faster" in chosen.headline
    assert "2.00 ms a text against 20.0 ms" in chosen.why
    table = as_markdown(results | {"recommendation": asdict(chosen)})
    assert "| Answer ms | p50 ms | p95 ms | Texts/s | Size | Speed-up | Model's speed-up |" in table
    assert "<th>Answer</th>" in as_html(results | {"recommendation": asdict(chosen)})


def test_a_report_with_a_cascade_shows_means_and_says_what_cannot_be_compared() -> None:
    results = document(3)
    for entry, mean_ms in zip(results["models"], (31.0, 17.0, 7.4), strict=True):
        entry |= {"answer_average": "mean", "answer_p50_ms": 3.3, "answer_p50_ci95": [3.2, 3.4], "answer_p95_ms": 40.0}
        entry |= {"answer_mean_ms": mean_ms, "answer_mean_ci95": [mean_ms - 0.2, mean_ms + 0.2]}
        ratio = 31.0 / mean_ms
        entry["versus_first"] |= {"speedup_answer": ratio, "speedup_answer_ci95": [0.99 * ratio, 1.01 * ratio]}
    results["models"][2]["cascade"] = {"hand_on_below": 0.9, "handed_on": 0.25}
    page, markdown = as_html(results), as_markdown(results)
    for shown in (page, markdown):
        assert shown.count("not comparable") == 1
        assert "hands 25.0% of the test texts on" in shown
        assert "include its tokenizers" in shown
    assert "mean latency, ms a text" in page
    assert "median latency, ms a text" not in page
    assert "7.20 to 7.60" in page
    assert "| Answer ms (mean) |" in markdown


@pytest.mark.parametrize(("count", "said"), [(1, " 1 thread, "), (2, " 2 threads, ")])
def test_threads_are_counted_in_words_that_fit(count: int, said: str) -> None:
    results = document(1)
    results["models"][0]["latency"][0]["threads"] = count
    assert said in as_markdown(results)


def test_recommends_the_first_when_all_faster_ones_lose() -> None:
    models = [document(8)["models"][index] for index in (0, 6)]
    assert recommend(models).name == "teacher"
    assert "keep it" in recommend(models).headline


def test_a_loss_of_just_a_point_is_no_more_than_a_point() -> None:
    first, other = copy.deepcopy(document(2)["models"])
    other["versus_first"] |= {"accuracy_delta": 0.97 - 0.98, "ci95": [0.97 - 0.98, 0.01]}
    chosen = recommend([first, other])
    assert chosen.name == other["name"]
    assert "cannot rule out" not in chosen.why


@pytest.mark.parametrize("interval", [(1.73, 2.0), (2.0, 2.27), (1.71, 2.29)])
def test_a_speed_up_whose_interval_is_within_15_percent_is_stated(interval: tuple[float, float]) -> None:
    results = doubtful(interval)
    for page in (doubtful_page(interval), as_markdown(results)):
        assert "2.0\N{MULTIPLICATION SIGN} faster" in page
        assert "measure again" not in page


@pytest.mark.parametrize("interval", [(1.69, 2.0), (2.0, 2.31), (0.5, 11.0)])
def test_a_wider_one_is_nowhere_a_number(interval: tuple[float, float]) -> None:
    """Not in the title, the headline, the reason, the tiles or the tables: there stand the interval and the advice."""
    results = doubtful(interval)
    shown = f"{interval[0]:.1f}\N{MULTIPLICATION SIGN} to {interval[1]:.1f}\N{MULTIPLICATION SIGN}"
    chosen = results["recommendation"]
    assert chosen["headline"].startswith(f"student: {shown} the speed (too uncertain: measure again)")
    assert "Take student" not in chosen["why"]
    page, markdown = doubtful_page(interval), as_markdown(results)
    assert f"<title>{chosen['headline']}</title>" in page
    assert page.count(f"<b>{shown}</b>") == 1
    assert shown in next(line for line in markdown.splitlines() if line.startswith("| student"))
    assert markdown.startswith(f"**{chosen['headline']}**")
    for text in (page, markdown):
        assert "2.0\N{MULTIPLICATION SIGN}" not in re.sub(re.escape(shown), "", text)
    (warning,) = timing_warnings(results["models"], "student", None)
    assert shown in warning


def doubtful(interval: tuple[float, float]) -> dict[str, Any]:
    """Results of two models, of which the second has a speed-up of 2 with this interval."""
    results = document(2)
    change = results["models"][1]["versus_first"]
    change |= {"speedup_p50": 2.0, "speedup_ci95": interval}
    return results | {"recommendation": asdict(recommend(results["models"]))}


@cache
def doubtful_page(interval: tuple[float, float]) -> str:
    return as_html(doubtful(interval))


def test_the_front_holds_only_models_whose_speed_up_can_be_stated() -> None:
    assert "without models whose speed-up is too uncertain" in doubtful_page((0.5, 11.0))
    assert "without models" not in doubtful_page((1.73, 2.0))


@pytest.mark.usefixtures("undrawn")
def test_the_method_says_how_a_neighbour_is_kept_from_costing_one_model_more() -> None:
    results = doubtful((1.9, 2.1)) | {"spin": "10000"}
    page = as_html(results)
    assert "GOMP_SPINCOUNT=10000" in page
    assert "with one thread as well" not in page
    results["models"][1]["versus_first"]["one_thread"] = {"speedup_p50": 1.7, "speedup_ci95": (1.6, 1.8)}
    assert "with one thread as well" in as_html(results)
    said = timing_warnings(results["models"], "student", None)
    assert said == ["With one thread each, which waits for no other, student is 1.7\N{MULTIPLICATION SIGN} faster."]


def test_what_one_answer_for_all_would_score_stands_beside_the_accuracy() -> None:
    balance = {"most_frequent": ["neg"], "share": 0.99, "always": 0.99, "lopsided": True, "absent": list("abcdefg")}
    entries = document(1)["models"]
    assert recommend(entries, balance).headline.endswith("MB (always the same answer: 99.0%)")
    assert recommend(entries, balance | {"lopsided": False}) == recommend(entries)
    lopsided, absent = label_warnings(balance)
    assert "99.0% of the texts are neg" in lopsided
    assert absent.endswith("no text has, which macro-F1 counts as 0: a, b, c, d, e and 2 more.")
    assert label_warnings(balance | {"lopsided": False, "absent": []}) == label_warnings(None) == []


def test_the_table_names_what_the_times_are_of() -> None:
    results = document(2)
    results["machine"] |= {"gpu": "NVIDIA H100", "cpu": "Xeon"}
    for device, name, other in (("cpu", "Xeon", "H100"), ("cuda", "H100", "Xeon")):
        results["models"][0]["device"] = device
        assert name in as_markdown(results)
        assert other not in as_markdown(results)


def test_a_wide_loss_is_not_excused_by_a_wide_interval() -> None:
    first, other = copy.deepcopy(document(2)["models"])
    other["versus_first"] |= {"accuracy_delta": -0.03, "ci95": [-0.08, 0.02]}
    assert recommend([first, other]).name == first["name"]


def test_a_loss_that_few_texts_cannot_rule_out_is_named() -> None:
    first, other = copy.deepcopy(document(2)["models"])
    other["versus_first"] |= {"accuracy_delta": -0.005, "ci95": [-0.025, 0.015]}
    assert "cannot rule out a loss of 2.5 points" in recommend([first, other]).why


def test_steps_are_listed_once_with_the_models_they_made() -> None:
    rows = steps(document(3)["models"])
    assert [(row["step"], row["model"]) for row in rows] == [("a", "teacher"), ("b", "student"), ("c", "pruned")]
    assert rows[0]["time"] == "1 min 10 s"


def test_pareto_front_is_what_nothing_beats_in_both() -> None:
    points = [{"x": x, "y": y} for x, y in [(1, 90), (2, 95), (3, 94), (2, 93), (5, 99), (6, 99)]]
    assert [(point["x"], point["y"]) for point in pareto_front(points)] == [(1, 90), (2, 95), (5, 99)]


@pytest.mark.parametrize(("low", "high"), [(0.3, 20), (5, 12), (0.001, 1000), (7.1, 14.2)])
def test_ticks_lie_inside_and_are_enough(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 2 < len(ticks) < 13
    assert all(low <= tick <= high for tick in ticks)


def test_labels_of_crowded_points_do_not_overlap() -> None:
    points = [(100.0 + 4 * number, 100.0 + 3 * number) for number in range(8)]
    names = [f"model-{number}" for number in range(8)]
    labels = place_labels(names, points, [], width=400, height=300)
    boxes = [box_of(label, name) for label, name in zip(labels, names, strict=True)]
    assert not any(one.overlap(two) for index, one in enumerate(boxes) for two in boxes[:index])
    assert not any(box.outside(400, 300) for box in boxes)


def test_latency_bar_reaches_from_the_median_to_the_95th_percentile() -> None:
    models = document(2)["models"]
    bar = latency_bars(models, "student")[1]
    assert (bar.value, bar.until) == (models[1]["latency"][0]["p50_ms"], models[1]["latency"][0]["p95_ms"])
    assert bar.accent


@pytest.mark.parametrize("name", ["demo-vnni", "sst2"])
def test_results_of_earlier_versions_are_still_drawn(name: str) -> None:
    kept = Path(__file__).parents[2] / "benchmarks" / "results" / f"{name}.json"
    results = json.loads(kept.read_text(encoding="utf-8"))
    page = as_html(results)
    assert all(model["name"] in page for model in results["models"])

"""The hours that a search is refused for, and those that it is told to give instead."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.config import AutoConfig, DataConfig
from compress.data import Split
from compress.errors import CompressError
from compress.modeling.widths import Cut
from compress.task import Metric
from compress.tuning import planner
from compress.tuning.candidates import Candidate, candidates_of
from compress.tuning.cascades import most_pairs
from compress.tuning.context import SearchContext
from compress.tuning.planner import Planner
from compress.tuning.plans import Costs
from compress.tuning.record import SearchRecord, TeacherTimes
from compress.tuning.teacher import teacher_settings
from compress.tuning.tries import Try


@pytest.fixture(scope="module")
def context(tiny_torch: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> SearchContext:
    (out := tmp_path_factory.mktemp("auto") / "out").mkdir()
    return SearchContext.of(str(tiny_torch), DataConfig(data=str(tiny_data)), AutoConfig(max_drop=1.0), out)


def refused(context: SearchContext, config: AutoConfig) -> float | None:
    """The hours that are told to be enough; None where those of ``config`` are."""
    try:
        Planner(replace(context, config=config)).announce()
    except CompressError as error:
        said = re.fullmatch(r"auto.hours (\S+) is too short for one candidate; give (\S+) or more", str(error))
        assert said is not None
        assert float(said[1]) == pytest.approx(config.hours, rel=1e-5)
        return float(said[2])
    return None


@pytest.mark.parametrize("limits", [{"max_drop": 1.0}, {"target_latency_ms": 0.3}, {"max_megabytes": 0.1}])
def test_hours_are_refused_below_the_number_that_is_said_and_at_no_other(
    context: SearchContext, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any]
) -> None:
    """Whatever an epoch, the cuts and the teacher take."""
    rng, facts = np.random.default_rng(0), context.record.facts
    for _ in range(12):
        epoch_s, cuts_s, try_s, share = 10 ** rng.uniform([-1, -1, 0, -0.3], [4, 4, 2, 0.3])
        epochs = int(rng.integers(1, 20))
        monkeypatch.setattr(planner, "cuts_seconds", lambda *_, cuts_s=cuts_s: cuts_s)
        monkeypatch.setattr(planner, "full_epochs", lambda _, epochs=epochs: epochs)
        facts.epoch_s = {32: epoch_s}
        facts.whole = TeacherTimes(2.0, 1.0, 1.0, try_s) if rng.random() < 0.5 else None
        here = replace(context, bare=bool(rng.random() < 0.5))
        needed = refused(here, AutoConfig(**limits, hours=1e-9))
        assert needed is not None
        assert refused(here, AutoConfig(**limits, hours=needed)) is None
        assert refused(here, AutoConfig(**limits, hours=needed * (1 - 1e-9))) == needed
        for hours in needed * 10 ** rng.uniform([-share, 0], [0, share]):
            assert refused(here, AutoConfig(**limits, hours=hours)) == (needed if hours < needed else None)


def test_students_are_priced_at_their_own_batch_size_and_the_teacher_at_its(
    context: SearchContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "student_batch", lambda _: 128)
    monkeypatch.setattr(planner, "cuts_seconds", lambda *_: 0.0)
    facts = context.record.facts
    facts.epoch_s, facts.whole = {32: 100.0, 128: 50.0}, None
    took = []
    for bare in (False, True):
        here = Planner(replace(context, bare=bare))
        facts.estimated_s = None
        here.announce()
        took.append(facts.estimated_s or 0.0)
        costs, texts, validated = here.costs(), len(context.data.train), len(context.choosing)
        assert costs.epoch_s == pytest.approx(50 * (1 + 2 / 3 * validated / texts))  # with its two validations
        assert costs.answers_s == pytest.approx(50 / 3 * (texts + validated) / texts)
    assert took[1] - took[0] == pytest.approx(100 * teacher_settings(context.data)["epochs"])


def test_the_estimate_is_the_one_before_anything_was_done_also_of_a_search_that_goes_on(
    context: SearchContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(planner, "cuts_seconds", lambda *_: 12.0)

    def estimated_s(**asked: Any) -> float:
        record = SearchRecord(tmp_path, {}, asked)
        record.facts.epoch_s = {32: 60.0}
        Planner(replace(context, record=record)).announce()
        record.begin()
        record.add(Try("teacher-int8", 0, seconds=1e5))
        assert record.facts.estimated_s is not None
        return record.facts.estimated_s

    first = estimated_s(max_drop=1.0)
    assert estimated_s(max_drop=1.0) == first < 1e5
    assert estimated_s(max_drop=2.0) > 1e5  # another ask has its own


@pytest.mark.parametrize(("cuts_s", "told"), [(12.0, False), (7200.0, True)])
def test_that_cuts_take_too_long_is_said_where_they_do(
    context: SearchContext,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cuts_s: float,
    told: bool,
) -> None:
    """And not where an epoch takes so long that no student is tried."""
    monkeypatch.setattr(planner, "cuts_seconds", lambda *_: cuts_s)
    monkeypatch.setattr(context.record.facts, "epoch_s", {32: 1e5})
    monkeypatch.setattr(context.record.facts, "whole", TeacherTimes(2.0, 1.0, 1.0, 1.0))
    Planner(replace(context, config=AutoConfig(max_drop=1.0, hours=1.0))).plan()
    said = capsys.readouterr().err
    assert "there is no time for a student" in said
    assert ("measuring cuts would take" in said) == told


def test_that_cuts_leave_no_time_for_a_student_is_said_too(
    context: SearchContext, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They keep to their part of the hours, but what is left would not do."""
    monkeypatch.setattr(planner, "cuts_seconds", lambda *_: 1199.0)
    monkeypatch.setattr(planner, "full_epochs", lambda _: 20)
    monkeypatch.setattr(context.record.facts, "epoch_s", {32: 650.0})
    monkeypatch.setattr(context.record.facts, "whole", TeacherTimes(2.0, 1.0, 1.0, 60.0))
    wanted = Planner(replace(context, config=AutoConfig(max_drop=1.0, hours=1.0))).plan()
    assert len(wanted.candidates) > 1
    assert not any(each.command == "prune" for each in wanted.candidates)
    assert "measuring cuts would take about 19 min 59 s" in capsys.readouterr().err


def test_cuts_that_are_known_are_tried_though_there_is_no_time_to_measure_them(
    context: SearchContext, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(planner, "cuts_seconds", lambda *_: 7200.0)
    monkeypatch.setattr(context.record.facts, "epoch_s", {32: 1.0})
    monkeypatch.setattr(context.record.facts, "whole", TeacherTimes(2.0, 1.0, 1.0, 1.0))
    monkeypatch.setattr(context.record.facts, "cuts", {2.0: Cut([[0, 1]] * 4, [[*range(64)]] * 4)})
    wanted = Planner(replace(context, config=AutoConfig(max_drop=1.0, hours=1.0))).plan()
    assert "cut-2x" in {each.title for each in wanted.candidates}
    assert "measuring cuts" not in capsys.readouterr().err


def test_time_that_tries_leave_over_is_for_a_larger_plan_until_there_is_none(
    context: SearchContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "cuts_seconds", lambda *_: 1e9)
    monkeypatch.setattr(planner, "full_epochs", lambda _: 20)
    monkeypatch.setattr(context.record.facts, "epoch_s", {32: 60.0})
    monkeypatch.setattr(context.record.facts, "whole", TeacherTimes(2.0, 1.0, 1.0, 60.0))
    here = Planner(replace(context, config=AutoConfig(max_drop=1.0, hours=0.5)))
    first, learned = here.plan(), Costs(epoch_s=30.0, other_s=15.0)
    made = [Try(each.title, first.rungs[0] if each.command else 0) for each in first.candidates]
    monkeypatch.setattr(context.record, "tries", made)
    spent_s = 600.0
    monkeypatch.setattr(SearchRecord, "spent_s", property(lambda _: spent_s))
    second = here.larger(first, learned, lambda _: True)
    assert second is not None
    assert len(second.candidates) > len(first.candidates)
    assert second.rungs[0] == first.rungs[0]
    assert all(each in second.candidates for each in first.candidates)
    assert second.seconds(learned, made) <= 1800 - planner.END_S - spent_s
    assert here.larger(first, learned, lambda _: False) is None
    assert here.larger(first, Costs(1e4, 1e4), lambda _: True) is None
    spent_s = 1800.0
    assert here.larger(first, learned, lambda _: True) is None
    without_limit = Planner(replace(context, config=AutoConfig(max_drop=1.0)))
    assert without_limit.larger(first, learned, lambda _: True) is None


def test_models_are_joined_only_where_the_bound_of_a_cascade_is_of_the_loss_and_can_be_shown(
    context: SearchContext,
) -> None:
    def most(**asked: Any) -> int:
        return most_pairs(replace(context, config=AutoConfig(**asked)))

    assert most(max_drop=50.0) == 3
    assert most(max_drop=50.0, metric="macro_f1") == most(max_drop=1.0) == most(speedup=2.0) == 0
    several = replace(context, config=AutoConfig(max_drop=50.0), data=replace(context.data, task="multi_label"))
    assert several.metric == "accuracy"
    assert most_pairs(several) == 0


def test_a_try_is_quantized_finer_above_what_two_texts_cost_and_the_teacher_never_ends_the_search(
    context: SearchContext,
) -> None:
    labels: list[tuple[str, ...]] = [(name,) for name in ["positive"] * 8 + ["negative"] * 32]
    texts = Split([str(row) for row in range(40)], labels)
    itself, student, *_ = candidates_of(context.shape, {})

    def allowed(metric: Metric, candidate: Candidate) -> float:
        here = replace(context, choosing=texts, config=AutoConfig(max_drop=1.0, metric=metric))
        *_, last = here.steps_of(candidate, 1).values()
        return float(last["max_drop"])

    assert [allowed(metric, student) for metric in ("accuracy", "f1", "macro_f1")] == [5.0, 25.0, 25.0]
    assert {allowed(metric, itself) for metric in ("accuracy", "f1", "macro_f1")} == {100.0}

"""A table says of whole models what their parts were measured to cost, and is measured once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from compress.errors import CompressError
from compress.families.view import EncoderView
from compress.graph.build import graph_of
from compress.latency.deployment import Deployment, parameters, random_model, typical_lengths
from compress.latency.table import (
    LatencyTable,
    Timing,
    fit_table,
    latency_table,
    models_to_time,
    read_timings,
    time_against,
    write_timings,
)
from compress.latency.timer import GraphTimer
from compress.modeling.widths import Architecture, Widths
from tests.tiny import make_bert

TINY = Architecture.of(make_bert())
SERVED = Deployment("int8", threads=1, batch=1, lengths=(9, 5, 13))


def bent(heights: dict[int, float]) -> np.ndarray:
    return np.interp(np.arange(max(heights) + 1), list(heights), list(heights.values()))


TABLE = LatencyTable(
    0.03,
    bent({0: 0.02, 1: 0.05, 3: 0.06, 6: 0.1, 12: 0.2}),
    bent({0: 0.0, 32: 0.01, 384: 0.05, 768: 0.08, 1536: 0.2}),
    bent({0: 0.0, 1: 0.02, 12: 0.06}),
    bent({0: 0.0, 32: 0.01, 1536: 0.07}),
)


def uneven(count: int) -> list[Widths]:
    rng = np.random.default_rng(0)
    layers = rng.integers(1, 7, count)
    return [Widths(tuple(rng.integers(1, 13, n)), tuple(32 * rng.integers(0, 49, n))) for n in layers]


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_table_that_is_fitted_to_even_models_knows_uneven_ones(noise: float) -> None:
    rng = np.random.default_rng(1)
    models = models_to_time(6, 12, 1536)
    fitted = fit_table({widths: TABLE.latency_ms(widths) * (1 + noise * rng.normal()) for widths in models})
    errors = [fitted.latency_ms(widths) / TABLE.latency_ms(widths) - 1 for widths in uneven(40)]
    assert np.abs(errors).max() < (0.15 if noise else 1e-6)


def test_nothing_gets_cheaper_with_width_however_noisy_the_times() -> None:
    rng = np.random.default_rng(2)
    fitted = fit_table({widths: float(rng.random() + 0.1) for widths in models_to_time(6, 12, 1536)})
    for costs in (fitted.attention_ms, fitted.ffn_ms, fitted.last_attention_ms, fitted.last_ffn_ms):
        assert (np.diff(costs) >= 0).all()
        assert costs[0] >= 0
    assert fitted.base_ms >= 0


@pytest.mark.parametrize("widest", [(1, 1, 32), (2, 0, 64), (3, 4, 0), (12, 12, 3072), (1, 2, 40)])
def test_whatever_the_model_the_times_of_few_others_make_its_table(widest: tuple[int, int, int]) -> None:
    models = models_to_time(*widest)
    assert models[0] == Widths.even(*widest)
    assert len(models) == len(set(models)) <= 22
    table = fit_table({widths: 1.0 + sum(widths.heads) + sum(widths.neurons) / 64 for widths in models})
    assert (len(table.attention_ms), len(table.ffn_ms)) == (widest[1] + 1, widest[2] + 1)
    assert table.latency_ms(models[0]) == pytest.approx(1.0 + sum(models[0].heads) + sum(models[0].neurons) / 64)


def test_empty_layers_cost_nothing() -> None:
    assert TABLE.latency_ms(Widths((12, 0, 3), (0, 0, 32))) == TABLE.latency_ms(Widths((12, 3), (0, 32)))


@pytest.mark.parametrize(
    "widths", [Widths((4, 4, 4, 4), (128,) * 4), Widths((4, 0, 2), (0, 64, 32)), Widths((1,), (0,))]
)
def test_a_probe_is_what_a_model_of_these_widths_is(widths: Widths) -> None:
    model = make_bert(widths.heads, widths.neurons)
    assert Architecture.of(model) == TINY
    assert Widths.of(model) == widths
    assert parameters(TINY, widths) == model.num_parameters() == random_model(TINY, widths).num_parameters()
    assert EncoderView(random_model(TINY, widths)).head_size == EncoderView(model).head_size


def test_parameters_of_layers_that_are_empty_do_not_count() -> None:
    assert parameters(TINY, Widths((4, 0), (128, 0))) == parameters(TINY, Widths((4,), (128,)))


def test_no_two_weights_of_a_probe_are_equal_as_the_runtime_would_keep_them_once() -> None:
    graph = graph_of(random_model(TINY, Widths.even(3, 4, 128))).graph
    weights = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
    large = [weight.tobytes() for weight in weights if weight.size > 1000]
    assert len(large) == len(set(large)) >= 3 * 4


def test_typical_lengths_are_as_the_texts() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 5000)
    alone = typical_lengths(lengths, batch=1)
    assert np.percentile(alone, [10, 50, 90]) == pytest.approx(np.percentile(lengths, [10, 50, 90]), abs=2)
    assert np.median(typical_lengths(lengths, batch=8)) > np.median(alone) + 10
    assert typical_lengths([7], batch=4) == (7,) * len(alone)
    assert list(alone) != sorted(alone)


@pytest.mark.usefixtures("forked_workers")
def test_a_table_is_measured_once_and_an_interrupted_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path))
    whole = Widths((2,), (32,))
    table = latency_table(TINY, whole, SERVED)
    (place,) = (tmp_path / "latency").iterdir()
    timings = read_timings(place)
    assert set(timings) == set(models_to_time(1, 2, 32))
    assert all(0 < timing.ratio < 3 and timing.whole_ms > 0 for timing in timings.values())
    again, left = latency_table(TINY, whole, SERVED), place.read_bytes()
    assert again.latency_ms(whole) == table.latency_ms(whole)
    assert left == place.read_bytes()

    interrupted = dict(list(timings.items())[:-1])
    write_timings(place, interrupted)
    latency_table(TINY, whole, SERVED)
    assert interrupted.items() <= read_timings(place).items()
    assert set(read_timings(place)) == set(timings)

    place.write_text("{half a fi", encoding="utf-8")
    assert read_timings(place) == {}


class Exact(AbstractContextManager["Exact"]):
    """Times that are the same whenever they are taken: each call costs its length and the model's widths, no more."""

    def __init__(self, lengths: Sequence[int], cost_ms: float) -> None:
        self._inputs_ms = [length * cost_ms for length in lengths]

    def turn(self, calls: int, first: int) -> float:
        return float(np.median(list(islice(cycle(self._inputs_ms), first, first + calls))))

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


class Quiet(Deployment):
    def timer(self, architecture: Architecture, widths: Widths) -> Exact:  # noqa: ARG002
        return Exact(self.lengths, TABLE.latency_ms(widths))


def test_a_table_of_a_slow_model_is_made_of_times_of_the_same_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So slow that a turn has fewer calls than there are lengths: all models must be timed at the same of them."""
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path))
    lengths = typical_lengths(np.random.default_rng(5).integers(8, 50, 1000), batch=1)
    whole = Widths.even(6, 12, 1536)
    table = latency_table(TINY, whole, Quiet("int8", threads=1, batch=1, lengths=lengths))
    ratios = [table.latency_ms(each) / table.latency_ms(whole) for each in uneven(20)]
    assert ratios == pytest.approx([TABLE.latency_ms(each) / TABLE.latency_ms(whole) for each in uneven(20)], rel=1e-6)


def test_another_machine_runtime_shape_or_load_has_a_table_of_its_own() -> None:
    told = {json.dumps(SERVED.as_key(), sort_keys=True)}
    for runtime, threads, batch, lengths in (("fp32", 1, 1, (9, 5, 13)), ("int8", 2, 1, (9, 5, 13)),
                                             ("int8", 1, 8, (9, 5, 13)), ("int8", 1, 1, (9, 5, 14))):  # fmt: skip
        told.add(json.dumps(Deployment(runtime, threads, batch, lengths).as_key(), sort_keys=True))  # type: ignore[arg-type]
    assert len(told) == 5
    assert Deployment("int8", 1, 1, (13, 9, 5)).as_key() == SERVED.as_key()


def test_a_table_that_was_timed_in_another_way_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path))
    whole = Widths.even(2, 2, 64)
    for protocol in (1, 2):
        monkeypatch.setattr("compress.latency.table._PROTOCOL", protocol)
        latency_table(TINY, whole, Quiet("int8", threads=1, batch=1, lengths=(8,)))
        latency_table(TINY, whole, Quiet("int8", threads=1, batch=1, lengths=(8,)))
    assert len(list((tmp_path / "latency").iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "latency").write_text("in the way")
    with pytest.raises(CompressError, match=r"cannot be written .*COMPRESS_CACHE"):
        write_timings(tmp_path / "latency" / "table.json", {Widths((1,), (1,)): Timing(1.0, 1.0)})


def test_a_model_against_itself_takes_as_long_and_a_deep_one_longer() -> None:
    shallow, deep = Widths.even(1, 4, 128), Widths.even(10, 4, 128)
    with SERVED.timer(TINY, shallow) as one, SERVED.timer(TINY, deep) as other:
        assert time_against(other, one).ratio > 1.5


def test_a_process_that_dies_is_told() -> None:
    with SERVED.timer(TINY, Widths.even(1, 4, 128)) as model:
        assert isinstance(model, GraphTimer)
        os.kill(model.session, signal.SIGKILL)
        with pytest.raises(CompressError, match=r"^prune: .*probably out of memory: .*signal 9"):
            model.turn(4, first=0)


def test_the_process_that_times_a_graph_starts_with_no_more_than_serves_a_model() -> None:
    code = "import sys, compress.latency.timer, compress.runtime.session; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "onnxruntime" in loaded
    assert not {"torch", "transformers", "onnx", "scipy", "pydantic"}.intersection(loaded)

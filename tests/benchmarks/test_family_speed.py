"""The benchmark of the families' speed, in miniature: graphs of the same answers, timed in turns, judged by goals."""

from pathlib import Path

import pytest

from benchmarks import beside, family_speed
from benchmarks.family_speed import MINILM, STOCK, measure_family, prepare, random_model, save
from benchmarks.graphs import OURS
from compress.families import FAMILIES
from compress.families.view import EncoderView

TINY = MINILM | {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def test_models_of_all_families_are_of_the_shape_that_is_asked_for() -> None:
    for family in FAMILIES.values():
        view = EncoderView(random_model(family, TINY))
        assert (len(view.layers), view.hidden_size, view.longest, view.layers[0].neurons) == (1, 32, 512, 1536)


def test_a_family_is_timed_in_turns_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family, file = FAMILIES["modernbert"], tmp_path / "results.json"
    texts = {"real": [[1, 9, 8, 2], [1, 7, 2]]}
    monkeypatch.setattr(family_speed, "real_texts", lambda *_: texts)
    prepare(family, tmp_path, TINY)
    for row, _ in measure_family(family, tmp_path, tmp_path, threads=1, seconds=0):
        assert row.ratio.keys() == {OURS, STOCK}
        document = save(row, 1e-3 if row.load == "1 x 32" else 1e3, file)
    met = {row["load"]: row["met"] for row in document["rows"]}
    assert met == {
        "1 x 32": True,
        "8 x 128": False,
        "real lines": False,
    }
    assert beside.families(document).count("(missed)") == 2

"""The list of benchmarks says of each kept result what the result says of itself."""

import json
from pathlib import Path
from typing import Any

from benchmarks.all import REPORTS, without_texts
from benchmarks.catalogue import conditions_of
from benchmarks.kept import RESULTS, read
from compress.machine import describe_machine


def test_conditions_are_those_that_a_result_gives(tmp_path: Path) -> None:
    about = {"created": "2020-02-03T04:05:06+00:00", "machine": describe_machine([3]) | {"cpu": "Abacus", "gpu": None}}
    about |= {"commit": "0123456789ab-dirty"}
    for name, document in {"silent": {"rows": []}, "whole": about | {"beside": "a training"}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    (tmp_path / "lines.jsonl").write_text(f"{json.dumps(about)}\n{json.dumps({'row': 1})}\n", encoding="utf-8")
    assert conditions_of(tmp_path / "silent.json") == "not recorded"
    for told in (conditions_of(tmp_path / "whole.json"), conditions_of(tmp_path / "lines.jsonl")):
        assert all(part in told for part in ("Abacus", "threads 3", "torch 2", "0123456-dirty", "2020-02-03"))
    assert "beside a training" in conditions_of(tmp_path / "whole.json")


def test_no_kept_report_quotes_test_texts() -> None:
    """They are not ours to publish."""
    flips: dict[str, Any] = {"count": 1, "became_wrong": 1, "became_right": 0, "texts": [{"text": "a quoted text"}]}
    results = without_texts(
        {"created": "", "models": [{"name": "first", "flips": None}, {"name": "int8", "flips": flips}]}
    )
    assert "a quoted text" not in json.dumps(results)
    assert results["models"][1]["flips"]["became_wrong"] == 1
    for path in (*map(RESULTS.joinpath, REPORTS), RESULTS / "demo-vnni.json"):
        kept = read(path) if path.exists() else {"models": []}
        assert without_texts(kept) == kept, path

"""The list of benchmarks says of each kept result what the result says of itself."""

import json

from benchmarks.catalogue import BANKING77, BENCHMARKS, RESULTS, conditions, kept_files
from compress.folder import read_manifest


def test_a_result_of_the_published_model_stands_beside_a_command_that_names_it() -> None:
    digest = read_manifest(RESULTS.parents[1] / BANKING77).digest
    found = [
        benchmark.command
        for benchmark in BENCHMARKS
        for path in kept_files(benchmark)
        if path.suffix == ".json" and json.loads(path.read_text(encoding="utf-8")).get("model") == digest
    ]
    assert len(found) >= 4
    assert [command for command in found if BANKING77 not in command] == []


def test_conditions_that_a_result_gives_in_words_are_shown() -> None:
    assert "AMD EPYC" in conditions(RESULTS / "load_time.json")
    assert conditions(RESULTS / "thresholds.json") == "not recorded"

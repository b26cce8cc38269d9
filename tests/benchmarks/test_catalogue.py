"""The list of benchmarks says of each kept result what the result says of itself."""

from benchmarks.catalogue import RESULTS, conditions


def test_conditions_that_a_result_gives_in_words_are_shown() -> None:
    assert "AMD EPYC" in conditions(RESULTS / "load_time.json")
    assert conditions(RESULTS / "thresholds.json") == "not recorded"

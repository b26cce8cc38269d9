"""The ablation: every model differs from the whole way in one part, and is made of the same things otherwise."""

from pathlib import Path

import pytest

from benchmarks import ablation, ablation_variants
from benchmarks.ablation import COPIES, Way, epochs, tasks
from benchmarks.ablation_table import OUR_GRAPH, STATIC, WHOLE, kept, table
from benchmarks.ablation_variants import VARIANTS, Variant
from benchmarks.side_by_side import Place
from compress.folder import read_manifest

SETS = ["sst2", "banking77"]


def test_a_variant_leaves_out_one_part() -> None:
    usual = vars(Variant())
    for name, variant in VARIANTS.items():
        changed = {key for key, value in vars(variant).items() if value != usual[key]}
        assert len(changed) == (0 if name == WHOLE else 3 if name.startswith("distillation") else 1), name


def test_without_copies_a_student_takes_as_many_steps() -> None:
    for variant in VARIANTS.values():
        texts = 1 if variant.distill.get("augment") == 0 else 1 + COPIES["banking77"]
        assert texts * epochs("banking77", variant) == 5 * epochs("banking77", VARIANTS[WHOLE])


def test_tasks_need_what_comes_before_and_share_what_is_alike() -> None:
    before: set[str] = set()
    for task in tasks(SETS, 3, 4, Way()):
        assert before.issuperset(task.needs), task.name
        assert task.name not in before
        before.add(task.name)
    assert len([name for name in before if name.startswith("sst2/student/")]) == 3 * 6
    assert len([name for name in before if name.startswith("sst2/pruned/")]) == 3 * 7
    assert {"sst2/int8-2", "banking77/times"} <= before


def test_differences_are_between_models_of_one_seed() -> None:
    rows = [
        {
            "task": "",
            "set": "sst2",
            "left_out": left_out,
            "seed": seed,
            "metric": "accuracy",
            "test": test,
            "bytes": 2e6,
        }
        for left_out, tests in (
            (WHOLE, (0.90, 0.80)),
            ("search", (0.89, 0.79)),
            (STATIC, (0.92, 0.82)),
            (OUR_GRAPH, (0.91, 0.81)),
        )
        for seed, test in enumerate(tests)
    ]
    found = table(
        list(kept([{"task": "sst2/table"}, *rows, {"task": "", "set": "sst2", "answer_ms": {"search": 1.5}}]))
    )
    assert "| sst2 (accuracy) | search | 84.0 ± 7.1 | 2 | -1.0 ± 0.0 | 1.50 ms | 2.0 MB |" in found
    assert "| our graph | 86.0 ± 7.1 | 2 | -1.0 ± 0.0 (static activations) |" in found
    assert "| nothing | 85.0 ± 7.1 | 2 |  | not measured |" in found


@pytest.mark.slow
@pytest.mark.usefixtures("timed_here", "forked_workers")
def test_ablation_in_miniature(
    tiny_encoder: Path, few_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, in the order of the tasks: its work, not its runner."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sst2").symlink_to(few_data)
    names = [WHOLE, "distillation, with its copies", "start from the teacher's layers"]
    names += ["search (uniform by magnitude)", OUR_GRAPH, "int8"]
    few = {name: VARIANTS[name] for name in names}
    for module in (ablation, ablation_variants):
        monkeypatch.setattr(module, "VARIANTS", few)
    monkeypatch.setattr(ablation, "SPEEDUP", 1.2)
    place = Place(tmp_path / "out", tmp_path / "data", 600.0)
    way = Way(model=str(tiny_encoder), trial={"epochs": 1, "batch_size": 32})
    found = list(kept([dict(task.work(place, *task.arguments)) for task in tasks(["sst2"], 1, 1, way)]))
    assert [row["left_out"] for row in found[:-1]] == list(few)
    assert found[-1]["answer_ms"].keys() == {"teacher", *few}
    assert all(0 <= row["test"] <= 1 for row in found[:-1])
    assert len(table(found).splitlines()) == 2 + len(few) + 2
    history = [entry["step"] for entry in read_manifest(place.folder(f"sst2/{WHOLE}-0")).history]
    assert history == ["finetune", "distill", "prune", "prune", "export", "quantize"]
    assert found[0]["bytes"] < found[-2]["bytes"] / 2

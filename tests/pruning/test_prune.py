"""The prune step: layers, hidden size and rounds, alone and together; what it refuses; killed, it goes on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.config import PruneConfig
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.modeling.checkpoint import load_classifier
from compress.pruning.prune import Start
from compress.pruning.prune import prune as core
from compress.pruning.rounds import Budget, plan_rounds
from compress.runtime.encoding import Encoding, Text, TextEncoder
from compress.training.optimization import Optimizer
from compress.training.run_files import RunFiles
from tests.tiny import make_bert, make_checkpoint, read, same_weights, weights_of

FAST: dict[str, Any] = {"precision": "fp32", "threads": 1, "batch_size": 16, "learning_rate": 5e-4}


def config_of(folder: Path) -> Any:
    return load_classifier(str(folder)).model.config


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"layers": 2}, {"num_hidden_layers": 2, "heads_per_layer": [4, 4], "neurons_per_layer": [128, 128]}),
        ({"hidden_size": 40}, {"hidden_size": 40, "heads_per_layer": [4] * 4, "neurons_per_layer": [128] * 4}),
        (
            {"layers": 3, "hidden_size": 48, "heads": 0.5, "ffn": 0.5, "rounds": 2, "epochs": 8, "learning_rate": 3e-3},
            {"num_hidden_layers": 3, "hidden_size": 48, "heads": 6, "neurons": 192},
        ),
    ],
    ids=["layers", "hidden size", "everything, in rounds"],
)
def test_what_is_asked_for_goes(
    tiny_torch: Path, few_data: Path, tmp_path: Path, settings: dict[str, Any], shape: dict[str, Any]
) -> None:
    more = {**FAST, "batch_size": 8, "learning_rate": 1e-3, "epochs": 1}
    result = compress.prune(tiny_torch, few_data, tmp_path / "pruned", **{**more, **settings})
    pruned = load_classifier(str(result.folder))
    found = pruned.model.config.to_dict()
    found |= {"heads": sum(found["heads_per_layer"]), "neurons": sum(found["neurons_per_layer"])}
    assert {name: found[name] for name in shape} == shape
    assert all(neurons % 32 == 0 for neurons in found["neurons_per_layer"])
    parameters, before = result.metrics["parameters"], result.metrics["parameters_before"]
    assert parameters == pruned.parameters == read_manifest(result.folder).parameters
    assert parameters < before == load_classifier(str(tiny_torch)).parameters
    assert result.metrics["validation_accuracy"] > 0.7


def test_a_cut_model_exports_quantizes_distils_and_is_cut_again(
    tiny_torch: Path, few_data: Path, tmp_path: Path
) -> None:
    cut = compress.prune(tiny_torch, few_data, tmp_path / "cut", layers=[0, 3], ffn=0.5, heads=0.5, epochs=1, **FAST)
    config = config_of(cut.folder)
    assert (len(config.heads_per_layer), sum(config.heads_per_layer), sum(config.neurons_per_layer)) == (2, 4, 128)
    onnx = compress.export(cut.folder, tmp_path / "onnx", threads=1)
    int8 = compress.quantize(onnx.folder, few_data, tmp_path / "int8", max_drop=100, threads=1)
    assert len(compress.load(int8.folder, threads=1)(["a good film"])) == 1
    student = compress.distill(cut.folder, few_data, tmp_path / "student", layers=1, epochs=1, **FAST)
    assert config_of(student.folder).num_hidden_layers == 1
    again = compress.prune(
        cut.folder, few_data, tmp_path / "again", layers=1, ffn=0.5, teacher=str(tiny_torch), epochs=1, **FAST
    )
    assert config_of(again.folder).neurons_per_layer == [32]
    assert [entry["step"] for entry in read_manifest(again.folder).history] == ["finetune", "prune", "prune"]


def test_rounds_end_where_one_cut_would_and_share_the_epochs() -> None:
    once = plan_rounds(10, 999, PruneConfig(heads=0.5, ffn=0.7, epochs=7))
    rounds = plan_rounds(10, 999, PruneConfig(heads=0.5, ffn=0.7, epochs=7, rounds=3))
    assert [part.budget for part in once] == [Budget(5, 300)]
    assert [part.budget for part in rounds] == [Budget(8, 766), Budget(7, 533), Budget(5, 300)]
    assert [part.epochs for part in rounds] == [2, 2, 3]
    whole, half = PruneConfig(heads=0.5, epochs=2), PruneConfig(heads=0.5, epochs=2.5, rounds=2)
    assert [part.epochs for part in plan_rounds(10, 999, half)] == [1, 1.5]
    assert str(plan_rounds(10, 999, whole)[0].epochs) == "2"  # not 2.0: trainings are known by it


def test_every_round_has_the_first_teacher_and_the_cut_model_of_the_round_before(
    tiny_torch: Path, few_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        **FAST,
        "batch_size": 8,
        "heads": 0.5,
        "epochs": 2,
        "rounds": 2,
        "teacher_cache": str(tmp_path / "cache"),
    }
    result = compress.prune(tiny_torch, few_data, tmp_path / "pruned", **settings)
    told = capsys.readouterr().err
    assert "round 1 of 2" in told
    assert sum(config_of(result.folder).heads_per_layer) == 8
    assert len(list((tmp_path / "cache").glob("*-fp32"))) == 1  # one teacher, asked once
    assert told.count(" 0 to answer") == 2  # the second round found what the first had asked, of train and validation
    assert result.metrics["validation_accuracy"] > 0.7
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_killed_in_any_round_it_goes_on_and_ends_as_if_it_had_not_been(
    tiny_encoder: Path, few_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = {"checkpoint_seconds": 0, "batch_size": 8, "eval_steps": 2, "patience": 100}  # a checkpoint every two steps
    config = PruneConfig(**{**FAST, "heads": 0.5, "epochs": 2, "rounds": 2, **often})
    whole, data = make_checkpoint(tiny_encoder, make_bert((4,), (128,)), ("negative", "positive")), read(few_data)

    def run(name: str) -> Any:
        for part in (name, f"{name}/unfinished"):
            (tmp_path / part).mkdir(exist_ok=True)
        start = Start.of(whole, data, config)
        return core(start, whole, data, config, RunFiles(tmp_path / name, tmp_path / name / "unfinished"))

    expected, metrics = run("whole")
    steps: list[int] = []
    take = Optimizer.step
    killed_at = 0

    def killed(self: Optimizer, accelerator: Any) -> None:
        steps.append(0)
        if len(steps) == killed_at:
            raise KeyboardInterrupt
        take(self, accelerator)

    monkeypatch.setattr(Optimizer, "step", killed)
    for killed_in in (1, 2):  # rounds of 8 or so steps
        killed_at, name = len(steps) + killed_in * 7, f"killed in {killed_in}"
        with pytest.raises(KeyboardInterrupt):
            run(name)
        (tmp_path / name / "metrics.jsonl").unlink(missing_ok=True)  # the step's new folder has none
        before = len(steps)
        found, again = run(name)
        assert len(steps) - before < metrics["steps"] - 5
        assert same_weights(weights_of(found.model), weights_of(expected.model))
        assert again == metrics
        logs = [(tmp_path / each / "metrics.jsonl").read_bytes() for each in ("whole", name)]
        assert logs[0] == logs[1]


def test_steps_are_counted_on_over_the_rounds_and_the_curve_holds_them_all(
    shallow_torch: Path, few_data: Path, tmp_path: Path
) -> None:
    rounds = {**FAST, "heads": 0.5, "epochs": 3, "rounds": 3, "eval_steps": 2, "patience": 2, "batch_size": 8}
    result = compress.prune(shallow_torch, few_data, tmp_path / "pruned", **rounds)
    records = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    steps = [record["step"] for record in records]
    assert steps == sorted(steps)
    told = [record for record in records if "validation_divergence" in record]
    metrics = read_manifest(result.folder).history[-1]["metrics"]
    for name in ("accuracy", "divergence"):
        shown = [(record["step"], record[f"validation_{name}"]) for record in told]
        assert [(point["step"], point[name]) for point in metrics["curve"]] == shown
    assert metrics["steps"] == steps[-1]
    rates = [record["learning_rate"] for record in records if "learning_rate" in record]
    starts = [at for at in range(1, len(rates)) if rates[at] > rates[at - 1]]
    assert len(starts) >= 2  # each round warms up anew
    last = [record for record in told if record["step"] >= metrics["best_step"]]
    assert metrics["validation_accuracy"] == last[0]["validation_accuracy"]
    assert last[0] == min(last, key=lambda record: record["validation_divergence"])


def test_the_train_split_is_tokenized_once(
    shallow_torch: Path, few_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For importance, least squares and both rounds of the recovery together."""
    train, read_at_once = read(few_data).train.texts, []
    encode = TextEncoder.__call__

    def counted(self: TextEncoder, texts: Sequence[Text]) -> list[Encoding]:
        read_at_once.append(list(texts))
        return encode(self, texts)

    monkeypatch.setattr(TextEncoder, "__call__", counted)
    compress.prune(shallow_torch, few_data, tmp_path / "pruned", heads=0.5, epochs=2, rounds=2, **FAST)
    assert read_at_once.count(train) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ("heads or ffn above 0", "layers", "hidden_size")),
        ({"layers": 5}, ("prune.layers must be at most 4", "got 5")),
        ({"layers": [2, 1]}, ("prune.layers must be rising", "got 2,1")),
        ({"hidden_size": 65}, ("prune.hidden_size must be from 1 to 64", "got 65")),
        ({"hidden_size": 64}, ("prune.hidden_size 64 is the model's own", "give a smaller one")),
        (
            {"heads": 0.5, "rounds": 3, "epochs": 2},
            ("prune needs an epoch for each of 3 rounds", "epochs=2", "epochs=3"),
        ),
        ({"heads": 0.5, "batch": 16}, ("prune takes batch with speedup or target_latency_ms", "batch_size")),
        ({"layers": 2, "rounds": 2}, ("prune needs heads or ffn", "2 rounds")),
        ({"heads": 0.5, "rounds": 0}, ("prune.rounds", "above 0", "got 0")),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(
    tiny_torch: Path, tiny_data: Path, tmp_path: Path, settings: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(CompressError) as error:
        compress.prune(tiny_torch, tiny_data, tmp_path / "out", **settings)
    assert all(word in str(error.value) for word in words), error.value
    assert list(tmp_path.iterdir()) == []


def test_a_layer_imitates_the_last_one_whose_work_it_does(tiny_torch: Path, few_data: Path, tmp_path: Path) -> None:
    settings = {**FAST, "layers": [0, 1, 3], "epochs": 1, "hidden_weight": 1.0}
    found, wanted, other = (
        weights_of(load_classifier(str(compress.prune(tiny_torch, few_data, tmp_path / name, **more).folder)).model)
        for name, more in {
            "found": settings,
            "wanted": {**settings, "layer_map": [0, 2, 3]},
            "other": {**settings, "layer_map": [0, 1, 3]},
        }.items()
    )
    assert same_weights(found, wanted)
    assert not same_weights(found, other)

"""The training loop: what it learns, keeps, refuses and repeats."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import BertModel

import compress
from compress.config import FinetuneConfig
from compress.data import Dataset
from compress.errors import CompressError
from compress.evaluation.metrics import score
from compress.modeling.checkpoint import Checkpoint, load_for_finetuning
from compress.modeling.states import Batch, States
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import encoded_logits
from compress.training.batches import BatchSchedule
from compress.training.finetune import encode
from compress.training.loop import train
from compress.training.optimization import hard_labels, usual_rate
from compress.training.run_files import RunFiles
from compress.training.validator import Divergence, TrainingResult
from tests.tiny import parts, read, same_weights, weights_of

Loss = Callable[[torch.Tensor, Batch], torch.Tensor]


@pytest.fixture(scope="module")
def data(tiny_data: Path) -> Dataset:
    return read(tiny_data)


@pytest.fixture(scope="module")
def few(few_data: Path) -> Dataset:
    return read(few_data)


@pytest.fixture
def fresh(shallow_encoder: Path, data: Dataset) -> Callable[[], Checkpoint]:
    return lambda: load_for_finetuning(str(shallow_encoder), data.task, data.labels, seed=0)


class OneLoss:
    """An objective that is one function of the logits."""

    wanted: frozenset[str] = frozenset()
    by_text: bool = True

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def __call__(self, states: States, batch: Batch) -> dict[str, torch.Tensor]:
        return {"loss": self._loss(states["logits"], batch)}


def hard_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    return hard_labels(logits, batch["targets"])


def config_of(**settings: Any) -> FinetuneConfig:
    return FinetuneConfig.parse(
        {"precision": "fp32", "learning_rate": 1e-3, "batch_size": 8, "device": "cpu", **settings}
    )


def fit(
    checkpoint: Checkpoint,
    data: Dataset,
    loss: Loss = hard_loss,
    folder: Path | None = None,
    divergence: Divergence | None = None,
    **settings: Any,
) -> TrainingResult:
    examples, validation = encode(checkpoint, data.train), encode(checkpoint, data.validation)
    with TemporaryDirectory() as nowhere:
        run_files = RunFiles(folder or Path(nowhere), (folder or Path(nowhere)) / ".unfinished", "inputs")
        return train(checkpoint, examples, validation, OneLoss(loss), config_of(**settings), run_files, divergence)


@pytest.fixture
def epoch_steps(fresh: Callable[[], Checkpoint], data: Dataset) -> list[int]:
    """Steps of each of 20 epochs."""
    return BatchSchedule(encode(fresh(), data.train).encodings.lengths, config_of(epochs=20)).epoch_steps


def accuracy(checkpoint: Checkpoint, data: Dataset) -> float:
    examples = encode(checkpoint, data.validation)
    return score("accuracy", encoded_logits(TorchPredictor(checkpoint), list(examples.encodings)), examples.targets)


class Recorder(torch.optim.AdamW):
    """AdamW that writes down what each of its steps is given."""

    rates: list[float]
    norms: list[float]

    def step(self, closure: Any = None) -> Any:
        found = [weight.grad for group in self.param_groups for weight in group["params"] if weight.grad is not None]
        self.rates.append(self.param_groups[0]["lr"])
        self.norms.append(float(torch.stack([grad.norm() for grad in found]).norm()))
        return super().step(closure)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    monkeypatch.setattr(torch.optim, "AdamW", Recorder)
    Recorder.rates, Recorder.norms = [], []
    return Recorder


def scaled(factor: float) -> Loss:
    return lambda logits, batch: factor * hard_loss(logits, batch)


def nothing(logits: torch.Tensor, _: Batch) -> torch.Tensor:
    """A loss from which nothing can be learned: all gradients are 0."""
    return 0.0 * logits.sum()


def learn_then_unlearn(steps: int) -> Loss:
    done = 0

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        nonlocal done
        done += 1
        return hard_loss(logits, batch) * (1 if done <= steps else -1)

    return loss


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_falls_and_the_model_learns(fresh: Callable[[], Checkpoint], data: Dataset, precision: str) -> None:
    checkpoint = fresh()
    before = accuracy(checkpoint, data)
    training = fit(checkpoint, data, precision=precision)
    assert training.curve[-1]["loss"] < 0.5 * training.curve[0]["loss"]
    assert before < 0.75
    assert training.best > 0.9
    assert {weight.dtype for weight in checkpoint.model.parameters()} == {torch.float32}
    assert not checkpoint.model.training


def test_the_best_weights_are_the_ones_that_are_left(
    fresh: Callable[[], Checkpoint], data: Dataset, epoch_steps: list[int]
) -> None:
    checkpoint = fresh()
    training = fit(checkpoint, data, learn_then_unlearn(sum(epoch_steps[:2])), epochs=4, eval_steps=10, patience=100)
    values = [point["accuracy"] for point in training.curve]
    assert values[-1] < max(values) - 0.3  # the last weights are much worse
    assert training.best == max(values)
    assert training.best_step == max(point["step"] for point in training.curve if point["accuracy"] == max(values))
    assert accuracy(checkpoint, data) == training.best
    assert training.steps == sum(epoch_steps[:4])


def test_a_divergence_decides_in_the_place_of_the_metric_which_weights_are_kept_and_when_to_stop(
    fresh: Callable[[], Checkpoint], data: Dataset
) -> None:
    checkpoint, said = fresh(), [0.9, 0.4, 0.2, 0.5, 0.3, 0.21, 0.1]
    training = fit(checkpoint, data, divergence=lambda _: said.pop(0), epochs=2, eval_steps=10, patience=3)
    assert [point["divergence"] for point in training.curve] == [0.9, 0.4, 0.2, 0.5, 0.3, 0.21]
    assert (training.judged_by, training.best_step, training.steps) == ("divergence", 30, 60)
    assert accuracy(checkpoint, data) == training.best == training.curve[2]["accuracy"]
    assert training.best < max(point["accuracy"] for point in training.curve)


def test_of_equal_checkpoints_the_latest_is_kept_and_a_gain_alone_renews_the_patience(
    fresh: Callable[[], Checkpoint], few: Dataset
) -> None:
    """Accuracy cannot see that the answers get surer; a figure that never moves again must not go on for ever."""
    checkpoint, kept = fresh(), []

    def one_gain_then_ties(_: object) -> float:
        kept.append(weights_of(checkpoint.model))
        return 0.5 if len(kept) == 1 else 0.4

    training = fit(checkpoint, few, divergence=one_gain_then_ties, epochs=20, eval_steps=2, patience=3)
    assert (training.best_step, training.steps) == (10, 10)
    assert same_weights(weights_of(checkpoint.model), kept[-1])
    assert not same_weights(kept[-1], kept[1])


def test_training_stops_after_patience_validations_without_a_better_one(
    fresh: Callable[[], Checkpoint], data: Dataset, epoch_steps: list[int]
) -> None:
    idle = fit(fresh(), data, nothing, epochs=20, eval_steps=3, patience=4, weight_decay=0.0)
    assert len(idle.curve) == 1 + 4
    assert idle.steps == 15
    training = fit(fresh(), data, learn_then_unlearn(sum(epoch_steps[:2])), epochs=20, eval_steps=10, patience=3)
    assert training.best_step > 10  # it did get better after the first validation, which starts the count again
    values = [point["accuracy"] for point in training.curve]
    assert training.steps == training.curve[values.index(max(values))]["step"] + 3 * 10


@pytest.mark.parametrize("eval_steps", [5, 50, None])  # the first goes on counting from one epoch to the next
def test_validation_comes_every_so_many_steps_and_at_the_end(
    fresh: Callable[[], Checkpoint], few: Dataset, eval_steps: int | None
) -> None:
    training = fit(fresh(), few, epochs=2, eval_steps=eval_steps, patience=100)
    first, second = BatchSchedule(encode(fresh(), few.train).encodings.lengths, config_of(epochs=2)).epoch_steps
    total, every = first + second, eval_steps or first // 2
    assert [point["step"] for point in training.curve] == sorted({*range(every, total, every), total})


def test_the_learning_rate_warms_up_then_decays_to_zero(
    fresh: Callable[[], Checkpoint], data: Dataset, recorder: type[Recorder], epoch_steps: list[int], tmp_path: Path
) -> None:
    fit(fresh(), data, folder=tmp_path, epochs=2, warmup=0.25, learning_rate=1e-3, patience=100)
    total = sum(epoch_steps[:2])
    peak = round(total / 4)
    rising = [1e-3 * step / peak for step in range(peak)]
    falling = [1e-3 * (total - step) / (total - peak) for step in range(peak, total)]
    assert recorder.rates == pytest.approx(rising + falling)
    for record in map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines()):
        if "learning_rate" in record:  # the diary tells the rate that the step was taken at
            assert record["learning_rate"] == pytest.approx(recorder.rates[record["step"] - 1])


@pytest.mark.parametrize("max_norm", [1.0, 0.25])
def test_gradients_are_clipped_after_backward(
    fresh: Callable[[], Checkpoint], data: Dataset, recorder: type[Recorder], max_norm: float
) -> None:
    fit(fresh(), data, scaled(1e6), epochs=1, max_grad_norm=max_norm)
    assert recorder.norms == pytest.approx([max_norm] * len(recorder.norms), rel=1e-3)
    assert len(recorder.norms) > 20


def test_small_gradients_are_neither_clipped_nor_summed_over_steps(
    fresh: Callable[[], Checkpoint], data: Dataset, recorder: type[Recorder]
) -> None:
    def always_the_same_way(logits: torch.Tensor, _: Batch) -> torch.Tensor:
        return 1e-3 * logits.sum(dim=-1).mean()

    fit(fresh(), data, always_the_same_way, epochs=1, learning_rate=1e-12)  # the weights stay as they are
    assert 0 < max(recorder.norms) < 0.1
    early, late = recorder.norms[:10], recorder.norms[-10:]
    assert sum(late) < 2 * sum(early)  # sums would grow 30 times


def test_only_matrices_decay(fresh: Callable[[], Checkpoint], few: Dataset) -> None:
    checkpoint = fresh()
    before = weights_of(checkpoint.model)
    fit(checkpoint, few, nothing, epochs=1, weight_decay=0.5, learning_rate=0.1, warmup=0.0, eval_steps=100)
    for name, weight in checkpoint.model.named_parameters():
        if weight.ndim > 1:
            assert weight.norm() < 0.99 * before[name].norm(), name
        else:
            assert torch.equal(weight, before[name]), name


def test_dropout_is_on_in_every_step(fresh: Callable[[], Checkpoint], data: Dataset) -> None:
    checkpoint, modes = fresh(), []

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        modes.append(checkpoint.model.training)
        return hard_loss(logits, batch)

    fit(checkpoint, data, loss, epochs=1, eval_steps=2, patience=100)
    assert len(modes) > 20
    assert all(modes)


def test_the_seed_decides_every_weight(fresh: Callable[[], Checkpoint], few: Dataset) -> None:
    def trained(seed: int, noise: int = 0) -> dict[str, torch.Tensor]:
        checkpoint = fresh()
        torch.manual_seed(noise)  # what was drawn before does not count
        fit(checkpoint, few, epochs=1, seed=seed)
        return weights_of(checkpoint.model)

    one = trained(1)
    assert same_weights(one, trained(1, noise=5))
    assert not same_weights(one, trained(2))


def test_frozen_embeddings_stay_and_all_else_is_trained(fresh: Callable[[], Checkpoint], few: Dataset) -> None:
    checkpoint = fresh()
    before = weights_of(checkpoint.model)
    fit(checkpoint, few, epochs=1, freeze_embeddings=True)
    after = weights_of(checkpoint.model)
    same = {name for name in after if torch.equal(before[name], after[name])}
    assert same == {name for name in after if "_embeddings.weight" in name}
    fit(checkpoint, few, epochs=1)  # and they thaw
    assert not torch.equal(
        parts(checkpoint.model).bert.embeddings.word_embeddings.weight, before["bert.embeddings.word_embeddings.weight"]
    )


def test_a_loss_that_is_not_a_number_stops_with_step_and_rate_and_leaves_nothing(
    tiny_encoder: Path, tiny_data: Path, tmp_path: Path
) -> None:
    model: Any = BertModel.from_pretrained(tiny_encoder)
    with torch.no_grad():
        model.encoder.layer[1].output.dense.bias.fill_(3e38)  # finite, but not in a sum
    broken = tmp_path / "broken"
    model.save_pretrained(broken)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (broken / name).write_bytes((tiny_encoder / name).read_bytes())
    with pytest.raises(CompressError, match=r"loss is nan at step 1, at learning rate 0\.0e\+00"):
        compress.finetune(broken, tiny_data, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_the_step_that_broke_is_named_wherever_it_is(
    fresh: Callable[[], Checkpoint], data: Dataset, tmp_path: Path
) -> None:
    done = 0

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        nonlocal done
        done += 1
        return hard_loss(logits, batch) * (torch.inf if done == 17 else 1.0)

    with pytest.raises(
        CompressError, match=r"loss is inf at step 17, at learning rate [1-9]\.\de-0\d; .*--learning-rate"
    ):
        fit(fresh(), data, loss, folder=tmp_path, epochs=1, eval_steps=8, checkpoint_seconds=0)
    (whole,) = (tmp_path / ".unfinished").iterdir()
    assert whole.name == "step-000000016"  # what was whole before the step stays


def test_accumulated_batches_are_one_step_of_their_mean_gradient(
    fresh: Callable[[], Checkpoint], data: Dataset, recorder: type[Recorder]
) -> None:
    seen = []

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen.append(len(batch["targets"]))
        return 1e-4 * logits[:, 0].mean()

    fit(fresh(), data, loss, epochs=1, gradient_accumulation=3, learning_rate=1e-12)
    many = recorder.norms
    assert len(seen) == 3 * len(many)
    recorder.norms = []
    fit(fresh(), data, loss, epochs=1, learning_rate=1e-12)
    assert len(recorder.norms) > 2.5 * len(many)
    mean, mean_alone = (sum(norms) / len(norms) for norms in (many, recorder.norms))
    assert mean == pytest.approx(mean_alone, rel=0.2)  # a mean of three, not their sum


def test_the_diary_tells_losses_and_metrics_by_step(
    fresh: Callable[[], Checkpoint], data: Dataset, tmp_path: Path
) -> None:
    training = fit(fresh(), data, folder=tmp_path, epochs=3)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    validations = [record for record in records if "validation_accuracy" in record]
    assert [(one["step"], one["validation_accuracy"]) for one in validations] == [
        (point["step"], point["accuracy"]) for point in training.curve
    ]
    losses = [record["loss"] for record in records if "loss" in record]
    assert len(losses) > 4
    assert losses[-1] < losses[0] / 2


def test_a_tracker_gets_them_too(fresh: Callable[[], Checkpoint], few: Dataset, tmp_path: Path) -> None:
    training = fit(fresh(), few, folder=tmp_path, epochs=1, track="tensorboard")
    events = EventAccumulator(str(tmp_path / "tracking" / "compress")).Reload()
    told = [(event.step, event.value) for event in events.Scalars("validation_accuracy")]
    assert told == [(point["step"], pytest.approx(point["accuracy"])) for point in training.curve]
    assert "loss" in events.Tags()["scalars"]


def test_a_model_that_its_last_step_broke_is_not_kept(
    fresh: Callable[[], Checkpoint], data: Dataset, epoch_steps: list[int]
) -> None:
    """A gradient can be NaN where the loss is finite: the square root of 0."""
    checkpoint = fresh()
    done = 0

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        nonlocal done
        done += 1
        return hard_loss(logits, batch) + ((0 * logits.sum()).sqrt() if done == epoch_steps[0] else 0.0)

    with pytest.raises(CompressError, match=f"after step {epoch_steps[0]}"):
        fit(checkpoint, data, loss, epochs=1, eval_steps=100)


@pytest.mark.parametrize(("asked", "taken"), [(None, 1.6e-4), (2e-3, 2e-3)])
def test_a_small_encoder_has_a_higher_rate_unless_one_is_asked_for(
    fresh: Callable[[], Checkpoint], few: Dataset, recorder: type[Recorder], asked: float | None, taken: float
) -> None:
    training = fit(fresh(), few, epochs=1, warmup=0.0, learning_rate=asked)
    assert training.trained_with["learning_rate"] == taken
    assert recorder.rates[0] == pytest.approx(taken)
    assert [usual_rate(width) for width in (768, 1024)] == [3e-5, 1e-5]

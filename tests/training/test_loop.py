"""The training loop: what it learns, keeps, refuses and repeats."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertModel

import compress
from compress.config import FinetuneConfig
from compress.data import Dataset
from compress.errors import CompressError
from compress.metrics import score
from compress.modeling.checkpoint import Checkpoint, load_for_finetuning
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import encoded_logits
from compress.training.batches import Batch
from compress.training.finetune import encode
from compress.training.loop import Training, train
from compress.training.losses import Loss, hard_loss
from tests.tiny import read, same_weights, weights_of

STEPS_AN_EPOCH = 30  # 240 texts, 8 a batch


@pytest.fixture(scope="module")
def data(tiny_data: Path) -> Dataset:
    return read(tiny_data)


@pytest.fixture
def fresh(tiny_encoder: Path, data: Dataset) -> Callable[[], Checkpoint]:
    return lambda: load_for_finetuning(str(tiny_encoder), data.task, data.labels, seed=0)


def fit(checkpoint: Checkpoint, data: Dataset, loss: Loss = hard_loss, **settings: Any) -> Training:
    config = FinetuneConfig.parse(
        {"precision": "fp32", "learning_rate": 1e-3, "batch_size": 8, "device": "cpu", **settings}
    )
    return train(checkpoint, encode(checkpoint, data.train), encode(checkpoint, data.validation), loss, config)


def accuracy(checkpoint: Checkpoint, data: Dataset) -> float:
    examples = encode(checkpoint, data.validation)
    return score("accuracy", encoded_logits(TorchPredictor(checkpoint), examples.encodings), examples.targets)


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


def test_the_best_weights_are_the_ones_that_are_left(fresh: Callable[[], Checkpoint], data: Dataset) -> None:
    checkpoint = fresh()
    training = fit(checkpoint, data, learn_then_unlearn(2 * STEPS_AN_EPOCH), epochs=4, eval_steps=10, patience=100)
    values = [point["accuracy"] for point in training.curve]
    assert values[-1] < max(values) - 0.3  # the last weights are much worse
    assert training.best == max(values)
    assert training.best_step == training.curve[values.index(max(values))]["step"]
    assert accuracy(checkpoint, data) == training.best
    assert training.steps == 4 * STEPS_AN_EPOCH


def test_training_stops_after_patience_validations_without_a_better_one(
    fresh: Callable[[], Checkpoint], data: Dataset
) -> None:
    idle = fit(fresh(), data, nothing, epochs=20, eval_steps=3, patience=4, weight_decay=0.0)
    assert len(idle.curve) == 1 + 4
    assert (idle.best_step, idle.steps) == (3, 15)
    training = fit(fresh(), data, learn_then_unlearn(2 * STEPS_AN_EPOCH), epochs=20, eval_steps=10, patience=3)
    assert training.best_step > 10  # it did get better after the first validation, which starts the count again
    assert training.steps == training.best_step + 3 * 10


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({"eval_steps": 25}, [25, 50, 60]), ({"eval_steps": 100}, [60]), ({}, [15, 30, 45, 60])],
)
def test_validation_comes_every_so_many_steps_and_at_the_end(
    fresh: Callable[[], Checkpoint], data: Dataset, settings: dict[str, Any], steps: list[int]
) -> None:
    training = fit(fresh(), data, epochs=2, **settings)
    assert [point["step"] for point in training.curve] == steps


def test_the_learning_rate_warms_up_then_decays_to_zero(
    fresh: Callable[[], Checkpoint], data: Dataset, recorder: type[Recorder]
) -> None:
    fit(fresh(), data, epochs=2, warmup=0.25, learning_rate=1e-3, patience=100)
    rates = recorder.rates
    assert len(rates) == 60
    assert rates[:16] == pytest.approx([1e-3 * step / 15 for step in range(16)])
    assert rates[15:] == pytest.approx([1e-3 * (60 - step) / 45 for step in range(15, 60)])


@pytest.mark.parametrize("max_norm", [1.0, 0.25])
def test_gradients_are_clipped_after_backward(
    fresh: Callable[[], Checkpoint], data: Dataset, recorder: type[Recorder], max_norm: float
) -> None:
    fit(fresh(), data, scaled(1e6), epochs=1, max_grad_norm=max_norm)
    assert recorder.norms == pytest.approx([max_norm] * STEPS_AN_EPOCH, rel=1e-3)


def test_small_gradients_are_neither_clipped_nor_summed_over_steps(
    fresh: Callable[[], Checkpoint], data: Dataset, recorder: type[Recorder]
) -> None:
    def always_the_same_way(logits: torch.Tensor, _: Batch) -> torch.Tensor:
        return 1e-3 * logits.sum(dim=-1).mean()

    fit(fresh(), data, always_the_same_way, epochs=1, learning_rate=1e-12)  # the weights stay as they are
    assert 0 < max(recorder.norms) < 0.1
    assert max(recorder.norms) < 4 * min(recorder.norms)  # sums would grow 30 times


def test_only_matrices_decay(fresh: Callable[[], Checkpoint], data: Dataset) -> None:
    checkpoint = fresh()
    before = weights_of(checkpoint.model)
    fit(checkpoint, data, nothing, epochs=1, weight_decay=0.5, learning_rate=0.1, warmup=0.0, eval_steps=100)
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
    assert modes == [True] * STEPS_AN_EPOCH


def test_the_seed_decides_every_weight(fresh: Callable[[], Checkpoint], data: Dataset) -> None:
    def trained(seed: int, noise: int = 0) -> dict[str, torch.Tensor]:
        checkpoint = fresh()
        torch.manual_seed(noise)  # what was drawn before does not count
        fit(checkpoint, data, epochs=1, seed=seed)
        return weights_of(checkpoint.model)

    one = trained(1)
    assert same_weights(one, trained(1, noise=5))
    assert not same_weights(one, trained(2))


def test_frozen_embeddings_stay_and_all_else_is_trained(fresh: Callable[[], Checkpoint], data: Dataset) -> None:
    checkpoint = fresh()
    before = weights_of(checkpoint.model)
    fit(checkpoint, data, epochs=1, freeze_embeddings=True)
    after = weights_of(checkpoint.model)
    same = {name for name in after if torch.equal(before[name], after[name])}
    assert same == {name for name in after if "_embeddings.weight" in name}
    fit(checkpoint, data, epochs=1)  # and they thaw
    assert not torch.equal(
        checkpoint.model.bert.embeddings.word_embeddings.weight, before["bert.embeddings.word_embeddings.weight"]
    )


def test_a_loss_that_is_not_a_number_stops_with_step_and_rate_and_leaves_nothing(
    tiny_encoder: Path, tiny_data: Path, tmp_path: Path
) -> None:
    model: Any = BertModel.from_pretrained(tiny_encoder)
    with torch.no_grad():
        model.encoder.layer[1].output.dense.bias[0] = torch.nan
    broken = tmp_path / "broken"
    model.save_pretrained(broken)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (broken / name).write_bytes((tiny_encoder / name).read_bytes())
    with pytest.raises(CompressError, match=r"loss is nan by step 4, at learning rate \d\.\de-\d\d"):
        compress.finetune(broken, tiny_data, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_a_model_that_its_last_step_broke_is_not_kept(fresh: Callable[[], Checkpoint], data: Dataset) -> None:
    """A gradient can be NaN where the loss is finite: the square root of 0."""
    checkpoint = fresh()
    done = 0

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        nonlocal done
        done += 1
        return hard_loss(logits, batch) + ((0 * logits.sum()).sqrt() if done == STEPS_AN_EPOCH else 0.0)

    with pytest.raises(CompressError, match="step 30"):
        fit(checkpoint, data, loss, epochs=1, eval_steps=100)

"""A teacher's answers: what it says itself, asked once for each text, whoever asks."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import compress
from compress.config import DistillConfig
from compress.distillation.teacher_cache import outputs as fill
from compress.distillation.teacher_cache.cache import teacher_digest
from compress.distillation.teacher_cache.outputs import CachedOutputs, LiveOutputs, teacher_outputs
from compress.errors import CompressError
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.states import Batch, recording
from compress.training.batches import Encodings, Examples, TeacherOutputs
from compress.training.optimization import TEACHER_PREFIX
from tests.tiny import make_bert, make_checkpoint, parts, read

LABELS = ("negative", "positive")
STATES = frozenset({"embeddings", "hidden.1", "hidden.3", "query.2", "value.0"})


@pytest.fixture
def teacher(tiny_encoder: Path) -> Checkpoint:
    return make_checkpoint(tiny_encoder, make_bert(), LABELS)


@pytest.fixture
def encodings(teacher: Checkpoint, tiny_data: Path) -> Encodings:
    return Encodings.pack(teacher.encoder(read(tiny_data).train.texts))


@pytest.fixture
def config(tmp_path: Path) -> DistillConfig:
    return settings(tmp_path / "cache")


def settings(cache: Path, **changes: Any) -> DistillConfig:
    return DistillConfig.parse({"device": "cpu", "precision": "fp32", "teacher_cache": str(cache), **changes})


def answers(
    teacher: Checkpoint, encodings: Encodings, labels: tuple[str, ...], wanted: frozenset[str], config: DistillConfig
) -> TeacherOutputs:
    """The outputs of the teacher as its weights are now."""
    return teacher_outputs(teacher, teacher_digest(teacher), encodings, labels, wanted, config)


def subset(encodings: Encodings, rows: range) -> Encodings:
    return Encodings.pack(encodings[row] for row in rows)


def unlike(encodings: Encodings) -> int:
    """How many different texts there are."""
    return len({(tuple(encoding.ids), tuple(encoding.type_ids)) for encoding in encodings})


@contextmanager
def texts_read(teacher: Checkpoint) -> Iterator[list[int]]:
    """The number of texts of each forward pass."""
    passes: list[int] = []
    hook = teacher.model.register_forward_hook(lambda _model, _inputs, output: passes.append(len(output.logits)))
    try:
        yield passes
    finally:
        hook.remove()


def batch_of(encodings: Encodings, rows: list[int]) -> Batch:
    return Examples(encodings, np.zeros(len(encodings), dtype=np.int64)).batch(rows)


def shown_by(teacher: Checkpoint, batch: Batch, wanted: frozenset[str]) -> dict[str, torch.Tensor]:
    with torch.no_grad(), recording(teacher.model, wanted) as states:
        teacher.model(**{name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")})
    return dict(states)


def real(batch: Batch) -> torch.Tensor:
    return batch["attention_mask"].bool()


def test_kept_answers_are_the_teachers_own_and_padded_as_the_batch(
    teacher: Checkpoint, encodings: Encodings, config: DistillConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "_SHARD_TEXTS", 100)  # several shards, of several batches
    monkeypatch.setattr(fill, "_BATCH_TOKENS", {"cpu": 256})
    found = answers(teacher, encodings, LABELS, STATES, config)
    assert isinstance(found, CachedOutputs)
    for rows in np.random.default_rng(0).permutation(len(encodings)).reshape(-1, 24).tolist():
        batch = batch_of(encodings, rows)
        kept, own = found(rows, batch), shown_by(teacher, batch, STATES)
        assert kept.keys() == own.keys()
        assert kept["logits"].dtype == torch.float32
        assert torch.allclose(kept["logits"], own["logits"], atol=1e-5)
        for name in STATES:
            assert kept[name].shape == own[name].shape
            assert torch.allclose(kept[name].float()[real(batch)], own[name][real(batch)], rtol=1e-3, atol=1e-4)
            assert not kept[name][~real(batch)].any()


def test_live_answers_agree_with_kept_ones(
    teacher: Checkpoint, encodings: Encodings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = LABELS[::-1]
    kept = answers(teacher, encodings, order, STATES, settings(tmp_path / "kept"))
    assert " MB for " in capsys.readouterr().err
    live = answers(teacher, encodings, order, STATES, settings(tmp_path / "live", cache_gb=1e-4))
    assert isinstance(live, LiveOutputs)
    said = capsys.readouterr().err
    size_mb = 2 * len(encodings.ids) * 64 * len(STATES) / 1e6
    assert f"{size_mb:.3g} MB" in said
    assert "--cache-gb 0.0001" in said
    assert not (tmp_path / "live").exists()
    rows = list(range(5, 37))
    batch = batch_of(encodings, rows)
    one, other = kept(rows, batch), live(rows, batch)
    assert one.keys() == other.keys()
    assert torch.allclose(one["logits"], other["logits"], atol=1e-5)
    for name in STATES:
        assert one[name].shape == other[name].shape
        assert torch.allclose(one[name].float()[real(batch)], other[name][real(batch)], rtol=1e-3, atol=1e-4)
    assert not any(state.requires_grad for state in other.values())


def test_states_that_fit_exactly_are_kept(teacher: Checkpoint, encodings: Encodings, tmp_path: Path) -> None:
    fits_gb = 2 * len(encodings.ids) * 64 / 1e9
    found = answers(teacher, encodings, LABELS, frozenset({"hidden.0"}), settings(tmp_path, cache_gb=fits_gb))
    assert isinstance(found, CachedOutputs)
    two = frozenset({"hidden.0", "key.1"})
    assert isinstance(answers(teacher, encodings, LABELS, two, settings(tmp_path, cache_gb=fits_gb)), LiveOutputs)


def test_logits_alone_are_kept_whatever_the_limit(teacher: Checkpoint, encodings: Encodings, tmp_path: Path) -> None:
    assert isinstance(answers(teacher, encodings, LABELS, frozenset(), settings(tmp_path, cache_gb=0)), CachedOutputs)


def test_examples_get_the_answers_of_their_own_rows(
    teacher: Checkpoint, encodings: Encodings, config: DistillConfig
) -> None:
    found = answers(teacher, encodings, LABELS, frozenset({"hidden.3"}), config)
    examples = Examples(encodings, np.zeros(len(encodings), dtype=np.int64), found)
    rows = [7, 3, 200, 3]
    batch = examples.batch(rows)
    own = shown_by(teacher, batch, frozenset({"hidden.3"}))
    assert torch.allclose(batch[TEACHER_PREFIX + "logits"], own["logits"], atol=1e-5)
    difference = batch[TEACHER_PREFIX + "hidden.3"].float() - own["hidden.3"]
    assert difference[real(batch)].abs().max() < 1e-2


def test_of_an_epoch_that_is_done_in_part_only_what_is_read_is_answered_and_no_text_twice(
    tiny_torch: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a longer training asks after a shorter one."""
    texts, told = len(read(tiny_data).train), []
    settings: dict[str, Any] = {"layers": 1, "precision": "fp32", "batch_size": 8, "teacher_cache": str(tmp_path / "c")}
    for epochs in (0.25, 0.5, 2):
        compress.distill(tiny_torch, tiny_data, tmp_path / f"student-{epochs}", epochs=epochs, **settings)
        line = re.findall(r"for (\d+) texts, (\d+) to answer", capsys.readouterr().err)
        told.append([int(number) for number in line[0]])
    assert [read for read, _ in told] == pytest.approx([texts / 4, texts / 2, texts], rel=0.3)
    assert told[2][0] == texts
    assert all(missing <= now - before for (before, _), (now, missing) in pairwise([[0, 0], *told]))


def test_columns_follow_the_students_labels(tiny_encoder: Path, encodings: Encodings, config: DistillConfig) -> None:
    teacher = make_checkpoint(tiny_encoder, make_bert(labels=3), ("a", "b", "c"))
    rows = list(range(20))
    batch = batch_of(encodings, rows)
    own = shown_by(teacher, batch, frozenset())["logits"]
    for labels, order in ((("a", "b", "c"), [0, 1, 2]), (("c", "a", "b"), [2, 0, 1])):
        found = answers(teacher, encodings, labels, frozenset(), config)
        assert torch.allclose(found(rows, batch)["logits"], own[:, order], atol=1e-5)


def test_each_text_is_read_once(teacher: Checkpoint, encodings: Encodings, config: DistillConfig) -> None:
    doubled = Encodings.pack([*encodings, *encodings])
    assert unlike(doubled) < len(doubled)
    with texts_read(teacher) as passes:
        first = answers(teacher, doubled, LABELS, frozenset({"hidden.1"}), config)
        assert sum(passes) == unlike(doubled)
        assert len(passes) < unlike(doubled) / 4  # in batches
        passes.clear()
        second = answers(teacher, doubled, LABELS[::-1], frozenset({"hidden.1"}), config)
        third = answers(teacher, doubled, LABELS, frozenset(), config)
        rows = [0, 1, 250]
        batch = batch_of(doubled, rows)
        expected = first(rows, batch)
        assert torch.equal(second(rows, batch)["logits"], expected["logits"][:, [1, 0]])
        assert torch.equal(third(rows, batch)["logits"], expected["logits"])
        assert torch.equal(second(rows, batch)["hidden.1"], expected["hidden.1"])
        assert not passes


def test_only_texts_that_are_missing_are_read(teacher: Checkpoint, encodings: Encodings, config: DistillConfig) -> None:
    half, rest = subset(encodings, range(120)), subset(encodings, range(120, 240))
    with texts_read(teacher) as passes:
        answers(teacher, half, LABELS, frozenset(), config)
        passes.clear()
        answers(teacher, subset(encodings, range(30, 60)), LABELS, frozenset(), config)
        assert not passes
        whole = answers(teacher, encodings, LABELS, frozenset(), config)
        known = {tuple(encoding.ids) for encoding in half}
        assert sum(passes) == len({tuple(encoding.ids) for encoding in rest} - known)
    rows = [0, 119, 120, 239]
    batch = batch_of(encodings, rows)
    own = shown_by(teacher, batch, frozenset())
    assert torch.allclose(whole(rows, batch)["logits"], own["logits"], atol=1e-5)


def test_a_state_that_was_not_kept_before_is_added(
    teacher: Checkpoint, encodings: Encodings, config: DistillConfig
) -> None:
    answers(teacher, encodings, LABELS, frozenset({"hidden.0"}), config)
    before_bytes = stored_bytes(config)
    with texts_read(teacher) as passes:
        found = answers(teacher, encodings, LABELS, frozenset({"hidden.0", "hidden.2"}), config)
        assert sum(passes) == unlike(encodings)
        passes.clear()
        answers(teacher, encodings, LABELS, frozenset({"hidden.2"}), config)
        assert not passes
    added_bytes = stored_bytes(config) - before_bytes
    tokens = sum(map(len, {tuple(encoding.ids) for encoding in encodings}))
    assert added_bytes < 1.2 * 2 * 64 * tokens  # hidden.0 was not written again
    rows = [1, 2, 3]
    batch = batch_of(encodings, rows)
    kept, own = found(rows, batch), shown_by(teacher, batch, frozenset({"hidden.0", "hidden.2"}))
    for name in ("hidden.0", "hidden.2"):
        assert torch.allclose(kept[name].float()[real(batch)], own[name][real(batch)], rtol=1e-3, atol=1e-4)


def stored_bytes(config: DistillConfig) -> int:
    return sum(path.stat().st_size for path in Path(str(config.teacher_cache)).rglob("*.npy"))


def logits_of(found: TeacherOutputs, encodings: Encodings) -> torch.Tensor:
    rows = list(range(len(encodings)))
    return found(rows, batch_of(encodings, rows))["logits"]


def test_another_teacher_answers_anew(teacher: Checkpoint, encodings: Encodings, config: DistillConfig) -> None:
    first = logits_of(answers(teacher, encodings, LABELS, frozenset(), config), encodings)
    other = teacher.with_model(make_bert(seed=1))
    with texts_read(other) as passes:
        second = logits_of(answers(other, encodings, LABELS, frozenset(), config), encodings)
        assert sum(passes) == unlike(encodings)
    assert (first - second).abs().max() > 0.1
    for asked, expected in ((teacher, first), (other, second)):  # both are kept
        with texts_read(asked) as passes:
            assert torch.equal(logits_of(answers(asked, encodings, LABELS, frozenset(), config), encodings), expected)
            assert not passes


def test_a_teacher_that_was_trained_on_is_another_teacher(
    teacher: Checkpoint, encodings: Encodings, config: DistillConfig
) -> None:
    teacher = replace(teacher, digest="of the folder that it came from")
    answers(teacher, encodings, LABELS, frozenset(), config)
    with torch.no_grad():
        parts(teacher.model).classifier.bias += 1.0
    found = logits_of(answers(teacher, encodings, LABELS, frozenset(), config), encodings)
    rows = list(range(len(encodings)))
    own = shown_by(teacher, batch_of(encodings, rows), frozenset())["logits"]
    assert torch.allclose(found, own, atol=1e-5)


def test_precisions_are_kept_apart(teacher: Checkpoint, encodings: Encodings, tmp_path: Path) -> None:
    rough = logits_of(answers(teacher, encodings, LABELS, frozenset(), settings(tmp_path, precision="bf16")), encodings)
    fine = logits_of(answers(teacher, encodings, LABELS, frozenset(), settings(tmp_path)), encodings)
    assert rough.dtype == fine.dtype == torch.float32
    assert 0 < (rough - fine).abs().max() < 0.2


@pytest.mark.parametrize("where", ["classifier", "hidden"])
def test_answers_that_are_no_numbers_are_refused_and_not_kept(
    teacher: Checkpoint, encodings: Encodings, config: DistillConfig, where: str
) -> None:
    model = parts(teacher.model)
    with torch.no_grad():
        if where == "classifier":
            model.classifier.bias[0] = float("nan")
        else:
            model.bert.encoder.layer[1].output.LayerNorm.weight[0] = 1e6  # finite, but not in 16 bits
    message = (
        "logits are not finite" if where == "classifier" else r"hidden\.1 is beyond what 16 bits hold.*--cache-gb 0"
    )
    with pytest.raises(CompressError, match=message):
        answers(teacher, encodings, LABELS, frozenset({"hidden.1"}), config)
    assert not list(Path(str(config.teacher_cache)).rglob("*.npy"))


def test_a_state_that_the_teacher_does_not_have_is_refused_at_once(
    teacher: Checkpoint, encodings: Encodings, config: DistillConfig
) -> None:
    with texts_read(teacher) as passes, pytest.raises(CompressError, match="layers 0 to 3, got 4"):
        answers(teacher, encodings, LABELS, frozenset({"hidden.4"}), config)
    assert not passes


def test_the_teacher_stays_as_it_is(teacher: Checkpoint, encodings: Encodings, config: DistillConfig) -> None:
    teacher.model.train()  # dropout would make the answers random
    first = logits_of(answers(teacher, encodings, LABELS, frozenset(), config), encodings)
    own = shown_by(teacher, batch_of(encodings, list(range(len(encodings)))), frozenset())["logits"]
    assert not teacher.model.training
    assert torch.allclose(first, own, atol=1e-5)

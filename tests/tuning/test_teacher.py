"""What is measured of the teacher before the search: an epoch, and the tokens that it could do without."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from compress.modeling.checkpoint import load_classifier
from compress.modeling.widths import Architecture, Widths
from compress.tuning import teacher
from compress.tuning.candidates import TeacherShape, candidates_of
from compress.tuning.teacher import epoch_seconds, vocabulary_left
from tests.tiny import read


def test_what_a_new_shape_of_a_batch_costs_once_is_no_part_of_an_epoch(
    tiny_torch: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, which sets up kernels for each; the clock is of the test."""
    model, data = load_classifier(str(tiny_torch)), read(tiny_data)
    shapes: set[tuple[int, ...]] = set()
    now_ms = 0.0

    class Clock:
        def __init__(self) -> None:
            self._start_ms = now_ms

        @property
        def milliseconds(self) -> float:
            return now_ms - self._start_ms

    def run(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        nonlocal now_ms
        shape = tuple(inputs["input_ids"].shape)
        now_ms += shape[0] if shape in shapes else 1000
        shapes.add(shape)

    for clock in ("Stopwatch", "CudaStopwatch"):
        monkeypatch.setattr(teacher, clock, Clock)
    whole: Any = model.model
    whole.register_forward_pre_hook(run, with_kwargs=True)
    assert epoch_seconds(model, data, 32) == pytest.approx(len(data.train) / 1000)
    assert len(shapes) > 1


def test_where_the_tokenizer_cannot_lose_tokens_no_candidate_is_to_lose_any(tiny_torch: Path, tiny_data: Path) -> None:
    whole = load_classifier(str(tiny_torch))
    shape = TeacherShape(Architecture.of(whole.model), Widths.of(whole.model), most_mb=1e-6)
    words = Tokenizer(WordLevel(whole.tokenizer.get_vocab(), unk_token="[UNK]"))
    other = replace(whole, tokenizer=PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]"))
    data = read(tiny_data)
    for model, cut in ((whole, True), (other, False)):
        found = candidates_of(replace(shape, smaller_vocabulary=vocabulary_left(model, data)), {})
        assert {each.cuts_vocabulary for each in found} == {cut}

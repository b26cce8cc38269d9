"""The single file answers texts as the folder that it was made from does: any script, any length, pairs, any task."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime_extensions import get_library_path
from tokenizers import Tokenizer, models, pre_tokenizers

import compress
from compress.errors import CompressError
from compress.families import FAMILIES
from compress.folder import read_manifest
from compress.graph import byte_pairs
from compress.graph.tokenizer import DOMAIN, character_table, treated, write_pair_tokens, write_tokens
from compress.graph.writer import GraphWriter, Shape, model_of
from compress.modeling.checkpoint import Checkpoint, save_checkpoint
from compress.runtime.encoding import Text, TextEncoder
from tests.families import tokenizers
from tests.families.models import make_model
from tests.tiny import THREE_LABELS, read

TEXTS = [
    "a good film",
    "",
    "a very bad film with a dull story and awful fun",
    "GREAT! Ça, c'est très SUPERB: Żać, Ångstrom, ΑΘΗΝΑ, ПРИВЕТ, İstanbul",
    "good \u2665\ufe0f \U0001f642\u200d fun… «bad» 東京は great 한국 \uf0b7 bullet",
    "tab\tand\nline\r\n  end \x85\u2028\xa0. ",
    "the film is boring " * 40,
    "x" * 250,
]


def open_texts(model: Path | bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.register_custom_ops_library(get_library_path())
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def ask(session: ort.InferenceSession, texts: Sequence[Text]) -> list[Any]:
    columns = [texts] if len(session.get_inputs()) == 1 else list(zip(*texts, strict=True))
    names = [value.name for value in session.get_inputs()]
    feeds = {name: np.array(column, dtype=object) for name, column in zip(names, columns, strict=True)}
    return list(session.run(["label", "score", "scores"], feeds))


def check_answers(folder: Path, single: Path, texts: Sequence[Text]) -> None:
    label, score, scores = ask(open_texts(single / "model.onnx"), texts)
    expected = compress.load(folder, threads=1)(texts)
    assert label.tolist() == [answer.label for answer in expected]
    assert score == pytest.approx([answer.score for answer in expected], abs=1e-5)
    assert scores == pytest.approx(np.array([list(answer.scores.values()) for answer in expected]), abs=1e-5)


@pytest.mark.parametrize("model", ["tiny_onnx", "tiny_int8", "tiny_static"])
def test_it_answers_as_the_folder_does(
    model: str, request: pytest.FixtureRequest, tiny_data: Path, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(model)
    result = compress.export(folder, tmp_path / "single", single_file=True)
    assert {path.name for path in (tmp_path / "single").iterdir()} == {"model.onnx", "README.md", "compress.json"}
    manifest = read_manifest(tmp_path / "single")
    assert (manifest.kind, result.metrics["bytes"]) == ("single_file", manifest.files[1].bytes)
    check_answers(folder, tmp_path / "single", [*TEXTS, *read(tiny_data).test.texts])
    if model == "tiny_onnx":
        label, score, scores = ask(open_texts(tmp_path / "single" / "model.onnx"), [])
        assert (label.shape, score.shape, scores.shape) == ((0,), (0,), (0, 2))
        with pytest.raises(CompressError, match=r"laid out for others \(single_file"):
            compress.load(tmp_path / "single")


def test_a_torch_folder_needs_no_export_before(tiny_torch: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    compress.export(tiny_torch, tmp_path / "single", single_file=True, threads=1)
    check_answers(tiny_onnx, tmp_path / "single", TEXTS[:4])
    assert [entry["step"] for entry in read_manifest(tmp_path / "single").history][-2:] == ["export", "export"]


@pytest.mark.parametrize("task", ["multi_label", "pair_single_label"])
def test_other_tasks(task: str, task_onnx: Callable[[str], Path], tmp_path: Path) -> None:
    folder = task_onnx(task)
    compress.export(folder, tmp_path / "single", single_file=True)
    pairs = [(first, second) for first in TEXTS[:7] for second in TEXTS[:7]]
    check_answers(folder, tmp_path / "single", pairs if task.startswith("pair") else TEXTS)
    about = open_texts(tmp_path / "single" / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(about["labels"]) == list(THREE_LABELS)
    assert (about["task"], about["max_length"]) == (task, "128")
    assert "decision" not in about


def tokens_session(tokenizer: Path, max_length: int, *, pairs: bool) -> ort.InferenceSession:
    """The tokenizer's nodes alone."""
    graph = GraphWriter()
    write = write_pair_tokens if pairs else write_tokens
    tokens = write(graph, Tokenizer.from_file(str(tokenizer / "tokenizer.json")), "text", max_length)
    outputs: dict[str, Shape] = {name: (onnx.TensorProto.INT64, [None]) for name in tokens}
    whole = graph.graph("tokens", {"text": (onnx.TensorProto.STRING, [None])}, outputs)
    return open_texts(model_of(whole, DOMAIN).SerializeToString())


# Of the letters that the tiny vocabulary knows, so that each one counts; lengths around what is cut.
WORDS = st.text(alphabet="ab cé!", max_size=24)


@pytest.fixture(scope="module", params=[9, 10, 128])
def pair_tokens(request: pytest.FixtureRequest, tiny_encoder: Path) -> tuple[ort.InferenceSession, TextEncoder]:
    encoder = TextEncoder.from_file(tiny_encoder / "tokenizer.json", request.param)
    return tokens_session(tiny_encoder, request.param, pairs=True), encoder


@given(first=WORDS, second=WORDS)
@settings(max_examples=50, deadline=None)
def test_pairs_are_cut_as_by_tokenizers(
    pair_tokens: tuple[ort.InferenceSession, TextEncoder], first: str, second: str
) -> None:
    session, encoder = pair_tokens
    ids, mask, types = session.run(None, {"text": np.array([first, second], dtype=object)})
    (expected,) = encoder([(first, second)])
    assert (ids.tolist(), types.tolist()) == (expected.ids, expected.type_ids)
    assert mask.tolist() == [1] * len(expected)


def test_every_character_is_read_as_by_tokenizers(tiny_encoder: Path) -> None:
    """Of Unicode's first plane, ideographs and Hangul by samples; some few exotic characters are read otherwise.

    Between known letters, unless that makes an unknown word: of one, the operator gives the known beginning too.
    """
    session = tokens_session(tiny_encoder, 10**6, pairs=False)
    encoder = TextEncoder.from_file(tiny_encoder / "tokenizer.json", 10**6)
    ideographs, hangul = range(0x3400, 0xA000, 29), range(0xAC00, 0xD800, 29)
    codes = [*range(1, 0x3400), *ideographs, *range(0xA000, 0xAC00), *hangul, *range(0xE000, 0x10000)]
    wrong: list[str] = []
    for start in range(0, len(codes), 64):
        characters = [chr(code) for code in codes[start : start + 64]]
        alone = [len(found) == 3 for found in encoder([f"good{character}bad" for character in characters])]
        words = [f"good {one} bad" if apart else f"good{one}bad" for one, apart in zip(characters, alone, strict=True)]
        if not same_tokens(session, encoder, " ".join(words)):
            wrong += [
                one for one, word in zip(characters, words, strict=True) if not same_tokens(session, encoder, word)
            ]
    assert len(wrong) < 30, ascii(wrong)
    assert all(ord(character) > 0x370 for character in wrong), ascii(wrong)


def same_tokens(session: ort.InferenceSession, encoder: TextEncoder, text: str) -> bool:
    return bool(session.run(None, {"text": np.array([text], dtype=object)})[0].tolist() == encoder([text])[0].ids)


def test_the_table_follows_the_tokenizers_options(tiny_encoder: Path) -> None:
    raw = json.loads((tiny_encoder / "tokenizer.json").read_text())
    uncased = character_table(Tokenizer.from_str(json.dumps(raw)))
    assert (uncased["É"], uncased["ß".upper()[0]], uncased["\ufe0f"], uncased["。"]) == ("e", "s", "\u200b", " 。 ")
    raw["normalizer"] |= {"lowercase": False, "strip_accents": False}
    cased = Tokenizer.from_str(json.dumps(raw))
    assert {"É", "A"}.isdisjoint(character_table(cased))
    assert list(treated(cased, ["É", "!", " ", "中", "\x01"])) == ["É", " ! ", " ", " 中 ", ""]


@pytest.fixture(scope="module")
def roberta() -> Any:
    """A tokenizer of RoBERTa's kind that knows some words."""
    return tokenizers.byte_pairs(TEXTS[:4] * 9, 400)


def byte_pair_session(tokenizer: Tokenizer, max_length: int, texts: int) -> ort.InferenceSession:
    graph = GraphWriter()
    names = ["first", "second"][:texts]
    tokens = byte_pairs.write_tokens(graph, tokenizer, names, max_length)
    outputs: dict[str, Shape] = {name: (onnx.TensorProto.INT64, [None]) for name in tokens}
    whole = graph.graph("tokens", {name: (onnx.TensorProto.STRING, [1]) for name in names}, outputs)
    return open_texts(model_of(whole, DOMAIN).SerializeToString())


def assert_read_alike(session: ort.InferenceSession, encoder: TextEncoder, text: Text) -> None:
    names = [value.name for value in session.get_inputs()]
    sides = [text] if isinstance(text, str) else text
    feeds = {name: np.array([side], dtype=object) for name, side in zip(names, sides, strict=True)}
    ids, mask, types = session.run(None, feeds)
    (expected,) = encoder([text])
    assert (ids.tolist(), types.tolist()) == (expected.ids, expected.type_ids), ascii(text)
    assert mask.tolist() == [1] * len(expected)


def test_byte_pairs_are_read_as_by_tokenizers(roberta: Any) -> None:
    """Characters of all scripts, spaces of every kind, and special tokens that are written out."""
    session = byte_pair_session(roberta.backend_tokenizer, 10**6, 1)
    encoder = TextEncoder(roberta.backend_tokenizer, 10**6)
    codes = [*range(1, 0x3100), *range(0x3100, 0xD800, 97), *range(0xE000, 0x20000, 53)]
    words = [f"good{chr(code)}bad {chr(code)} 1{chr(code)}2 {chr(code)}{chr(code)}x'S" for code in codes]
    for text in [
        *TEXTS,
        "</s> a<s>b<unk>",
        "I'm  we'LL\n\n x",
        *map(" ".join, zip(*[iter(words)] * 256, strict=False)),
    ]:
        assert_read_alike(session, encoder, text)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("length", [4, 5, 9, 10, 128])  # 4 are a pair's special tokens alone
def test_byte_pairs_of_pairs_are_cut_as_by_tokenizers(roberta: Any, length: int, side: str) -> None:
    tokenizer = Tokenizer.from_str(roberta.backend_tokenizer.to_str())
    tokenizer.enable_truncation(length, direction=side)
    encoder = TextEncoder(tokenizer, length, side)
    alone, both = (byte_pair_session(tokenizer, length, texts) for texts in (1, 2))

    @given(first=WORDS, second=WORDS)
    @settings(max_examples=50, deadline=None)
    def check(first: str, second: str) -> None:
        assert_read_alike(alone, encoder, first)
        assert_read_alike(both, encoder, (first, second))

    check()


def test_a_roberta_answers_pairs_as_its_folder_does(roberta: Any, tmp_path: Path) -> None:
    model = make_model(FAMILIES["roberta"], vocab_size=len(roberta), num_labels=2)
    save_checkpoint(Checkpoint(model, roberta, "pair_single_label", ("x", "y"), max_length=32), tmp_path / "torch")
    compress.export(tmp_path / "torch", tmp_path / "onnx", threads=1)
    compress.export(tmp_path / "onnx", tmp_path / "single", single_file=True)
    check_answers(tmp_path / "onnx", tmp_path / "single", [(one, other) for one in TEXTS[:5] for other in TEXTS[:5]])


ADDED = {"id": 400, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"normalizer": {"type": "NFC"}}, r"it normalizes texts \(NFC\)"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}}, "a space before"),
        ({"post_processor": None}, "other tokens than <s> and </s>"),
        ({"added_tokens": [ADDED | {"content": "two\nlines"}]}, "an added token has a line break"),
        ({"added_tokens": [ADDED | {"content": " spaced"}]}, "begins with a space"),
    ],
)  # fmt: skip
def test_byte_pairs_that_the_operator_would_read_otherwise_are_refused(
    change: dict[str, Any], reason: str, roberta: Any
) -> None:
    tokenizer = Tokenizer.from_str(json.dumps(json.loads(roberta.backend_tokenizer.to_str()) | change))
    with pytest.raises(CompressError, match=reason):
        byte_pairs.write_tokens(GraphWriter(), tokenizer, ["text"], 8)


def test_other_tokenizers_are_refused(tiny_onnx: Path) -> None:
    plain = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    unframed, spaced, digits = (Tokenizer.from_file(str(tiny_onnx / "tokenizer.json")) for _ in range(3))
    unframed.post_processor = None
    spaced.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # a-b is one word
    digits.pre_tokenizer = pre_tokenizers.Sequence([digits.pre_tokenizer, pre_tokenizers.Digits(True)])  # 12 are two
    for tokenizer in (plain, unframed, spaced, digits):
        with pytest.raises(CompressError, match="neither a BERT's"):
            write_tokens(GraphWriter(), tokenizer, "text", 8)

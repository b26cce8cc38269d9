# ruff: noqa: E501 - a row of the table is a line
"""Odd but real checkpoints, a row for each: what is exported answers as transformers answers from the source.

A case is right if PyTorch here, the saved copy, the exported folder and, where the row says so, the single file give the
source's logits, and the folder's files say the same as its graph; or if it is refused in one line with the row's words.
The table can be imported: ``CASES`` and :func:`outcome`.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
)

import compress
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.modeling.checkpoint import load_classifier, quiet_transformers, save_checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.packaging.layout import finish_onnx_folder, single_file
from compress.runtime.encoding import Text, side_of
from compress.runtime.predictor import predict_logits
from tests.odd import refusal
from tests.packaging.test_single_file import ask, open_texts
from tests.tiny import write_onnx

Logits = npt.NDArray[np.float32]
Change = Callable[[Path], object]

LENGTH = 12
LETTERS = "abcdefghijklmnopqrstuvwxyz1ABCDEFÉéß"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "good", "bad", "the", "Film", "été", "ete", ".", ",", "<", ">", "[", "]", "目", "##目",
              *(mark + letter for letter in LETTERS for mark in ("", "##"))]  # fmt: skip
ROOM = 8  # rows of the embedding table that the vocabulary leaves free
TEXTS: list[Text] = [
    "a good film",
    "",
    "The bad Film, the good one. " * 6 + "end",
    "Été É ß FADE 目目",
    "see <url> by <user> [E1] new film",
]
PAIRS: list[Text] = [
    ("a good film", "bad"),
    ("", "Été"),
    ("the film " * 9 + "end", "a bad one"),
    ("good", "a bad one " * 9),
    ("a b " * 9, "c d " * 8),
]


@dataclass(frozen=True)
class Case:
    """One odd checkpoint.

    Attributes:
        name: the kind in a few words.
        change: makes a plain checkpoint's folder odd.
        config: settings of the network.
        pairs: whether it reads pairs.
        single_file: whether it is exported as a single file too.
        refused: words that the error must have; none where the answers must be the source's.
        labels: what the logits mean.
        without_segments: the source answers pairs only if their segments are not given.
    """

    name: str
    change: Change = lambda _: None
    config: dict[str, Any] = field(default_factory=dict)
    pairs: bool = False
    single_file: bool = False
    refused: tuple[str, ...] = ()
    labels: tuple[str, ...] = ("neg", "pos")
    without_segments: bool = False


def edited(name: str, **values: Any) -> Change:
    """Set values of a JSON file; None removes one."""

    def change(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8")) | values
        path.write_text(
            json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8"
        )

    return change


def config(**values: Any) -> Change:
    return edited("config.json", **values)


def settings(**values: Any) -> Change:
    return edited("tokenizer_config.json", **values)


def tokenizer(change: Callable[[Tokenizer], object]) -> Change:
    """Change ``tokenizer.json`` as its own package reads and writes it."""

    def write(folder: Path) -> None:
        path = str(folder / "tokenizer.json")
        found = Tokenizer.from_file(path)
        change(found)
        found.save(path)

    return write


def described(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change the description in ``tokenizer.json``."""

    def write(folder: Path) -> None:
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return write


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def vocabulary_file(lines: Sequence[str], end: str = "\n") -> Change:
    """A checkpoint of earlier days: ``vocab.txt`` alone, with the two settings that were usual."""

    def write(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.txt").write_bytes("".join(line + end for line in lines).encode())
        (folder / "tokenizer_config.json").write_text(
            '{"do_lower_case": true, "model_max_length": 12}', encoding="utf-8"
        )

    return write


def added(*tokens: str, special: bool = False) -> Change:
    def write(folder: Path) -> None:
        found: Any = AutoTokenizer.from_pretrained(folder)
        if special:
            found.add_special_tokens({"additional_special_tokens": list(tokens)})
        else:
            found.add_tokens(list(tokens))
        found.save_pretrained(folder)

    return write


def left(found: Tokenizer) -> None:
    found.enable_truncation(5, direction="left")


def limited(found: Tokenizer) -> None:
    found.enable_truncation(3)
    found.enable_padding(length=9)


def left_out(number: int) -> Change:
    """A vocabulary whose numbers have a gap."""
    return described(lambda content: content["model"]["vocab"].pop(VOCABULARY[number]))


FAST = settings(tokenizer_class="PreTrainedTokenizerFast")
LEFT = settings(truncation_side="left")
TWICE = [*VOCABULARY[:8], "film", *VOCABULARY[8:]]

TOKENIZERS = [
    Case("nothing odd"),
    Case("truncation on the left", LEFT, single_file=True),
    Case("truncation on the left, for pairs", LEFT, pairs=True, single_file=True),
    Case("truncation on the left, said in tokenizer.json alone", both(tokenizer(left), settings(truncation_side=None))),
    Case("truncation on the right, tokenizer.json says left", both(tokenizer(left), settings(truncation_side="right"))),
    Case("a limit and padding in tokenizer.json", tokenizer(limited)),
    Case("a token twice in vocab.txt", vocabulary_file(TWICE), single_file=True),
    Case("Windows' line ends in vocab.txt", vocabulary_file(VOCABULARY, "\r\n")),
    Case("no settings beside vocab.txt", both(vocabulary_file(VOCABULARY), lambda folder: (folder / "tokenizer_config.json").unlink())),
    Case("an id without a token", both(FAST, left_out(6))),
    Case("added tokens", added("<url>", "<user>")),
    Case("added tokens in a single file", added("<url>", "<user>"), single_file=True, refused=("<url>, <user>", "--single-file")),
    Case("added special tokens", added("[E1]", special=True)),
    Case("added special tokens in a single file", added("[E1]", special=True), single_file=True, refused=("[E1]", "--single-file")),
    Case("an added token of two words", added("new film")),
    Case("an added token with a line break", added("new\nfilm")),
    Case("many added tokens in a single file", added(*(f"<t{number}>" for number in range(ROOM))), single_file=True,
         refused=("<t4> and 3 more",)),
    Case("cased, though tokenizer.json lower-cases", settings(do_lower_case=False)),
    Case("accents stay", settings(strip_accents=False)),
    Case("accents go, capitals stay", settings(do_lower_case=False, strip_accents=True)),
    Case("Chinese characters are not split off", settings(tokenize_chinese_chars=False), single_file=True),
    Case("a setting that nobody reads", settings(is_lower=True, never_split=None)),
    Case("settings that tokenizer.json does not follow", both(FAST, settings(do_lower_case=False, strip_accents=False))),
    Case("no limit in the settings", settings(model_max_length=None)),
    Case("short words alone in a single file", both(FAST, described(lambda content: content["model"].update(max_input_chars_per_word=5))),
         single_file=True, refused=("neither a BERT's", "--single-file")),
]  # fmt: skip

CONFIGS = [
    Case("one segment embedding", config={"type_vocab_size": 1}),
    Case("one segment embedding, for pairs", config={"type_vocab_size": 1}, pairs=True, without_segments=True),
    Case("answers as tuples", config(return_dict=False)),
    Case("attention shares in the answers", config(output_attentions=True)),
    Case("hidden states in the answers", config(output_hidden_states=True)),
    Case("a feed-forward block in pieces", config(chunk_size_feed_forward=1)),
    Case("labels in falling order", config(id2label={"1": "pos", "0": "neg"})),
    Case("labels one way only", config(label2id=None)),
    Case("numbers as text in label2id", config(label2id={"neg": "0", "pos": "1"})),
    Case("numbers as names", config(id2label={"0": 7, "1": 9}, label2id=None), labels=("7", "9")),
    Case("a line break and a tab in names", config(id2label={"0": "a\nb", "1": "c\td"}, label2id={"a\nb": 0, "c\td": 1}), labels=("a b", "c d")),
    Case("no names", config(id2label=None, label2id=None), labels=("0", "1")),
    Case("keys that are no numbers", config(id2label={"neg": 0, "pos": 1}, label2id=None), refused=("'neg'",)),
]  # fmt: skip

CASES = [*TOKENIZERS, *CONFIGS]


def write_model(case: Case, folder: Path) -> Path:
    """The case's checkpoint, with random weights."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 16,
    }
    labels: dict[str, Any] = {"id2label": {0: "neg", 1: "pos"}, "label2id": {"neg": 0, "pos": 1}}
    with quiet_transformers():
        model = BertForSequenceClassification(
            BertConfig(vocab_size=len(VOCABULARY) + ROOM, **shape, **labels, **case.config)
        )
        for name, weight in model.named_parameters():
            weight.data.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, 0.5)
        model.save_pretrained(folder)
        vocabulary = {token: number for number, token in enumerate(VOCABULARY)}
        BertTokenizer(vocab=vocabulary, model_max_length=LENGTH, do_lower_case=True).save_pretrained(folder)
    case.change(folder)
    return folder


def source_logits(case: Case, folder: Path, texts: Sequence[Text]) -> Logits:
    """What transformers answers from the source, each text alone."""
    with quiet_transformers(), torch.inference_mode():
        found: Any = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        rows = []
        for text in texts:
            parts = [text] if isinstance(text, str) else list(text)
            limit = min(found.model_max_length, 16)
            fed = dict(found(*parts, truncation=True, max_length=limit, return_tensors="pt"))
            if case.without_segments:
                del fed["token_type_ids"]
            rows.append(model(**fed, return_dict=True).logits[0].numpy())
    return np.stack(rows)


def answers(case: Case, model: Path, work: Path, texts: Sequence[Text]) -> Iterator[tuple[str, Logits]]:
    """The logits of everything that is made of the model, by what answers."""
    checkpoint = load_classifier(str(model), pairs=case.pairs)
    yield "PyTorch", predict_logits(TorchPredictor(checkpoint), texts)
    save_checkpoint(checkpoint, work / "saved")
    yield "the saved copy", source_logits(Case("saved"), work / "saved", texts)
    manifest = write_onnx(checkpoint, work / "onnx")
    with compress.load(work / "onnx", threads=1) as classifier:
        yield "the folder", classifier.logits(texts)
    if case.single_file:
        (work / "single").mkdir()
        single_file(work / "onnx", manifest, work / "single")
        finish_onnx_folder(work / "single", "single", replace(manifest, kind="single_file"))
        yield "the single file", np.log(ask(open_texts(work / "single" / "model.onnx"), texts)[2])


def disagreements(case: Case, folder: Path) -> Iterator[str]:
    """What the folder's files say otherwise than its graph does, or than one another."""
    manifest, found = read_manifest(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    about, limits = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("config.json", "tokenizer_config.json")
    )
    named = tuple(about["id2label"][str(number)] for number in range(len(about["id2label"])))
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    ids = found.get_vocab()
    normalizer: Any = found.normalizer
    said = (limits["do_lower_case"], limits["strip_accents"], limits["tokenize_chinese_chars"])
    agree = {
        "labels": manifest.labels == named == case.labels,
        "label2id": about["label2id"] == {label: number for number, label in enumerate(named)},
        "max_length": limits["model_max_length"] == manifest.max_length,
        "truncation_side": limits["truncation_side"] == side_of(found),
        "the card": ("the last" in (folder / "README.md").read_text(encoding="utf-8")) == (side_of(found) == "left"),
        "normalizer": said == (normalizer.lowercase, normalizer.strip_accents, normalizer.handle_chinese_chars),
        "vocab.txt": all(lines[number] == token or "\n" in token for token, number in ids.items()) and len(set(lines)) == len(lines) == max(ids.values()) + 1,
    }  # fmt: skip
    if case.single_file:
        card = (folder.with_name("single") / "README.md").read_text(encoding="utf-8")
        agree["the single file's card"] = ("the last" in card) == (side_of(found) == "left")
    yield from (f"{what} of the folder's files differ" for what, holds in agree.items() if not holds)


def outcome(case: Case, folder: Path, said: Callable[[], str] = str) -> str:  # noqa: ARG001 - all tables are asked alike
    """``right``, ``refused``, or what is wrong."""
    texts = PAIRS if case.pairs else TEXTS
    model = write_model(case, folder / "model")
    try:
        found = dict(answers(case, model, folder, texts))
    except CompressError as error:
        return refusal(error, case.refused)
    if case.refused:
        return "answered, not refused"
    wanted = source_logits(case, model, texts)
    wrong = [what for what, logits in found.items() if not _same(logits, wanted)]
    return "; ".join([*wrong, *disagreements(case, folder / "onnx")]) or "right"


def _same(one: Logits, other: Logits) -> bool:
    """Whether logits are equal, up to a number that a softmax does not see."""
    return bool(np.abs((one - one[:, :1]) - (other - other[:, :1])).max() < 1e-4)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_odd_model_answers_as_its_source_or_is_refused(case: Case, tmp_path: Path) -> None:
    assert outcome(case, tmp_path) in {"right", "refused"}


def test_each_kind_has_one_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES)

# ruff: noqa: E501 - a row of the table is a line
"""Odd but real checkpoints, a row for each: what is given, and what must come of it. Add a row for each new kind.

A case is right if the checkpoint has the facts that the row names and answers as the plain one does, or if it is refused
in one line with the row's words. The table can be imported: ``CASES`` and :func:`outcome`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    BertTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from compress.errors import CompressError
from compress.modeling.checkpoint import Checkpoint, load_classifier, load_for_finetuning, quiet_transformers
from compress.progress import show_held
from tests.odd import refusal

Make = Callable[[Path], object]
Weights = dict[str, torch.Tensor]
WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{c}" for c in "abcdefghi"),
]
SHAPE: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
VOCABULARY = {token: at for at, token in enumerate(WORDS)}
IDS = torch.tensor([[2, 5, 6, 7, 3]])
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
EVIL = "raise SystemExit('code of the folder was run')\n"
NEG_POS = ("neg", "pos")


@dataclass(frozen=True)
class Case:
    """One odd checkpoint.

    Attributes:
        name: the kind in a few words.
        make: changes the plain folder that it is given.
        refused: words that the error must have; none where the checkpoint must be loaded.
        labels: of the checkpoint.
        finetune: the labels to load it for, to be trained; none where it is loaded as a classifier.
        head: what is said of the head.
        says: words that must be said while it is loaded.
    """

    name: str
    make: Make
    refused: tuple[str, ...] = ()
    labels: tuple[str, ...] = NEG_POS
    finetune: tuple[str, ...] | None = None
    head: str = ""
    says: tuple[str, ...] = ()


@cache
def plain_model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    names = dict(enumerate(NEG_POS))
    config = BertConfig(**SHAPE, id2label=names, label2id={name: at for at, name in names.items()})
    model = BertForSequenceClassification(config)
    model.train(mode=False)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, 0.2)
    return model


@cache
def plain_files() -> dict[str, bytes]:
    """A tiny classifier as ``save_pretrained`` writes it, by file."""
    with TemporaryDirectory() as folder, quiet_transformers():
        plain_model().save_pretrained(folder)
        BertTokenizer(vocab=VOCABULARY, model_max_length=32).save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def plain(_: Path) -> None:
    """Nothing is changed."""


def every(*changes: Make) -> Make:
    def make(folder: Path) -> None:
        for change in changes:
            change(folder)

    return make


def settings(name: str = "config.json", **changed: Any) -> Make:
    """Other settings in a file of JSON."""

    def make(folder: Path) -> None:
        whole = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
        (folder / name).write_text(json.dumps(whole | changed))

    return make


def text(name: str, content: str) -> Make:
    return lambda folder: (folder / name).write_text(content)


def without(*names: str) -> Make:
    def make(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return make


def weights(change: Callable[[Weights], Weights]) -> Make:
    """Other weights in ``model.safetensors``."""

    def make(folder: Path) -> None:
        changed = change(load(plain_files()["model.safetensors"]))
        save_file(
            {name: weight.contiguous() for name, weight in changed.items()},
            folder / "model.safetensors",
            {"format": "pt"},
        )

    return make


def more(**added: torch.Tensor) -> Make:
    """Weights beside those of the network; ``__`` stands for a dot in their names."""
    return weights(lambda own: own | {name.replace("__", "."): weight for name, weight in added.items()})


def renamed(change: Callable[[str], str]) -> Make:
    return weights(lambda own: {change(name): weight for name, weight in own.items()})


def changed(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Make:
    return weights(lambda own: own | {name: change(own[name])})


def model_of(kind: Callable[[Any], Any], config: Any = BertConfig, **settings: Any) -> Make:
    """The weights and the config of another network."""

    def make(folder: Path) -> None:
        torch.manual_seed(0)
        kind(config(**SHAPE, **settings)).save_pretrained(folder)

    return make


def binary(folder: Path) -> None:
    torch.save(load(plain_files()["model.safetensors"]), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


class _Harm:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, (EVIL,))


def hostile_binary(folder: Path) -> None:
    torch.save({"a.weight": _Harm()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def shards(folder: Path) -> None:
    plain_model().save_pretrained(folder, max_shard_size="4KB")
    (folder / "model.safetensors").unlink(missing_ok=True)


def tokenizer_of(kind: Any) -> Make:
    """A tokenizer of another kind, with as many tokens."""

    def make(folder: Path) -> None:
        backend = Tokenizer(kind)
        backend.pre_tokenizer = pre_tokenizers.Whitespace()
        PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", model_max_length=32).save_pretrained(
            folder
        )

    return make


def no_unknown(folder: Path) -> None:
    whole = json.loads((folder / "tokenizer.json").read_text())
    whole["model"]["vocab"] = {"[U]" if word == "[UNK]" else word: at for word, at in VOCABULARY.items()}
    whole["added_tokens"] = [token for token in whole["added_tokens"] if token["content"] != "[UNK]"]
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[U]"}')


def tokenizer_with(*tokens: str) -> Make:
    def make(folder: Path) -> None:
        tokenizer = BertTokenizer(vocab=VOCABULARY, model_max_length=32)
        tokenizer.add_tokens(list(tokens))
        tokenizer.save_pretrained(folder)

    return make


def headless(own: Weights) -> Weights:
    return {name: weight for name, weight in own.items() if not name.startswith("classifier.")}


ZEROS = torch.zeros
TWO_LAYERS = weights(
    lambda own: (
        headless(own)
        | {"classifier.0.weight": ZEROS(8, 16), "classifier.0.bias": ZEROS(8), "classifier.3.weight": ZEROS(2, 8)}
    )
)
HALF_A_HEAD = weights(lambda own: {name: weight for name, weight in own.items() if name != "classifier.bias"})
NAMES = {"0": "neg", "1": "pos"}

FILES = [
    Case("a plain folder", plain),
    Case("weights as PyTorch pickles them", binary),
    Case("a pickle that would run code", hostile_binary, refused=("cannot be loaded",)),
    Case("weights in shards", shards),
    Case("a shard is missing", every(shards, lambda folder: next(folder.glob("model-00002-of-*")).unlink()), refused=("model-00002-of-", "missing")),
    *(
        Case(f"an index of shards that is {index[:24]}", every(without("model.safetensors"), text("model.safetensors.index.json", index)), refused=("has no table weight_map",))
        for index in ("{", "{}", "[]", '{"weight_map": {"a": 1, "b": "c"}}', '{"weight_map": {"a": []}}', '{"a":' * 100_000)
    ),
    Case("no weights", without("model.safetensors"), refused=("has no weights", "save_pretrained")),
    Case("weights of TensorFlow alone", every(without("model.safetensors"), text("tf_model.h5", "")), refused=("tf_model.h5 is not read",)),
    Case("a Git LFS pointer for the weights", text("model.safetensors", POINTER), refused=("model.safetensors", "git lfs pull")),
    Case("a Git LFS pointer for weights that are not read", text("pytorch_model.bin", POINTER)),
    Case("a Git LFS pointer for the config", text("config.json", POINTER), refused=("config.json", "git lfs pull")),
    Case("a Git LFS pointer for the tokenizer", text("tokenizer.json", POINTER), refused=("tokenizer.json", "git lfs pull")),
    Case("a Git LFS pointer for the vocabulary", every(without("tokenizer.json"), text("vocab.txt", POINTER)), refused=("vocab.txt", "git lfs pull")),
    Case("a Git LFS pointer for a vocabulary that is not read", text("vocab.txt", POINTER)),
    Case("an adapter alone", every(without("config.json", "model.safetensors"), text("adapter_config.json", "{}")), refused=("LoRA adapter", "merge_and_unload")),
    Case("an adapter beside its base model", text("adapter_config.json", "{}"), refused=("LoRA adapter", "merge_and_unload")),
    Case("a folder without a config", without("config.json"), refused=("not a model folder",)),
    Case("a config that is a list", text("config.json", "[]"), refused=("cannot be loaded",)),
]  # fmt: skip

CONFIG = [
    Case("code of its own for the model", every(settings(auto_map={"AutoModelForSequenceClassification": "evil.Model"}), text("evil.py", EVIL)), refused=("auto_map in config.json", "never runs")),
    Case("code of its own for a new type of model", every(settings(model_type="mine", auto_map={"AutoConfig": "evil.Config"}), text("evil.py", EVIL)), refused=("auto_map in config.json",)),
    Case("code of its own for the tokenizer", every(settings("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]}), text("evil.py", EVIL)), refused=("auto_map in tokenizer_config.json",)),
    Case("an unknown type of model", settings(model_type="mine"), refused=("mine",)),
    Case("relative positions", settings(position_embedding_type="relative_key"), refused=("position_embedding_type is relative_key",)),
    Case("absolute positions, named", settings(position_embedding_type="absolute")),
    Case("a decoder", settings(is_decoder=True), refused=("is_decoder", "give an encoder")),
    Case("a classifier of tokens", model_of(BertForTokenClassification, num_labels=3), refused=("another task", "BertForTokenClassification")),
    Case("a classifier of tokens that has a pooler", settings(architectures=["BertForTokenClassification"]), refused=("another task", "compress finetune")),
    Case("a model that finds answers in a text", settings(architectures=["BertForQuestionAnswering"]), refused=("another task",)),
    Case("architectures that nobody knows, of the same weights", settings(architectures=["BertForSentiment"])),
    Case("no architectures", settings(architectures=None)),
    Case("weights in 8 bits, as bitsandbytes says", settings(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}), refused=("quantized (bitsandbytes)", "fp32")),
    Case("weights in 8 bits, of which the config says nothing", changed("bert.encoder.layer.0.output.dense.weight", lambda w: w.to(torch.int8)), refused=("1 weights are stored as I8", "layer.0.output.dense.weight")),
    Case("weights in fp16", weights(lambda own: {name: weight.half() for name, weight in own.items()})),
    Case("a regression model", settings(problem_type="regression"), refused=("is a regression model",)),
    Case("outputs numbered from 1", settings(id2label={"1": "neg", "2": "pos"}), refused=("id2label", "1, 2", "0 to 1")),
    Case("outputs numbered with a gap", settings(id2label={"0": "neg", "2": "pos"}), refused=("id2label", "0, 2")),
    Case("two outputs of one name", settings(id2label={"0": "neg", "1": "neg"}), refused=("twice", "neg")),
    Case("two outputs of one name but for a tab", settings(id2label={"0": "so so", "1": "so\tso"}), refused=("twice", "so so")),
    Case("a line break in a label", settings(id2label={"0": "neg\native", "1": "pos"}, label2id={"neg\native": 0, "pos": 1}), labels=("neg ative", "pos")),
    Case("labels that nobody named", settings(id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id={}), labels=("0", "1")),
    Case("labels that nobody named, several a text", settings(problem_type="multi_label_classification", id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id={}), labels=("label_0", "label_1")),
    Case("label2id with transformers' placeholders", settings(label2id={"LABEL_0": 0, "LABEL_1": 1})),
    Case("label2id the wrong way round", settings(label2id={"0": "neg", "1": "pos"})),
    Case("label2id of numerals", settings(label2id={"0": 0, "1": 1})),
    Case("label2id in capitals", settings(label2id={"Neg": 0, "Pos": 1})),
    Case("label2id of other outputs", settings(label2id={"neg": 1, "pos": 0}), refused=("disagree", "'neg' is 1")),
    Case("truth values as labels", settings(id2label={"0": "False", "1": "True"}, label2id={"False": 0, "True": 1}), labels=("false", "true")),
    Case("an activation that no graph has", settings(hidden_act="silu"), refused=("activation is silu", "gelu")),
    Case("a config that wants tuples", settings(return_dict=False)),
    Case("a config that wants attention maps", settings(output_attentions=True)),
    Case("more labels than the head has outputs", settings(id2label=NAMES | {"2": "so"}, label2id={}), refused=("other shapes", "classifier", "not 3")),
    Case("a shorter table of positions than the config says", settings(max_position_embeddings=64), refused=("other shapes", "position_embeddings.weight is 32 x 16, not 64 x 16")),
]  # fmt: skip

WEIGHTS = [
    Case("positions that older versions saved", more(bert__embeddings__position_ids=torch.arange(32)[None])),
    Case("norms by TensorFlow's names", renamed(lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"))),
    Case("a pre-training head beside the classifier", more(cls__seq_relationship__weight=ZEROS(2, 16))),
    Case("a second layer that the config does not count", settings(num_hidden_layers=1), refused=("16 weights", "encoder.layer.1", "mend config.json")),
    Case("a third layer that the files do not have", settings(num_hidden_layers=3), refused=("weights are missing", "layer.2")),
    Case("layers that are stored once for all, as ALBERT's", weights(lambda own: {n: w for n, w in own.items() if "layer.1" not in n}), refused=("weights are missing", "layer.1")),
    Case("an extra dense layer", more(dense__weight=ZEROS(16, 16), dense__bias=ZEROS(16)), refused=("2 weights", "dense.weight", "otherwise")),
    Case("adapters in the layers", more(bert__encoder__layer__0__output__adapters__sst__down__weight=ZEROS(4, 16)), refused=("1 weights", "adapters")),
    Case("distances between tokens", more(bert__encoder__layer__0__attention__self__distance_embedding__weight=ZEROS(63, 8)), refused=("distance_embedding",)),
    Case("a head of two layers", TWO_LAYERS, refused=("classifier.0 (16 to 8), classifier.3 (8 to 2)", "bert.pooler.dense, tanh, classifier")),
    Case("a head of two layers, to be trained", TWO_LAYERS, finetune=NEG_POS, refused=("classifier.0 (16 to 8)", "model.bert.save_pretrained")),
    Case("half a pooler", weights(lambda own: {n: w for n, w in own.items() if n != "bert.pooler.dense.weight"}), refused=("weights are missing", "pooler.dense.weight")),
    Case("half a head", HALF_A_HEAD, refused=("weights are missing", "classifier.bias")),
    Case("half a head, to be trained for other labels", HALF_A_HEAD, finetune=("a", "b"), refused=("weights are missing", "classifier.bias")),
    Case("names that DataParallel left", renamed("module.{}".format), refused=('begin with "module."', "model.module.save_pretrained")),
    Case("names that torch.compile left", renamed("_orig_mod.{}".format), refused=('begin with "_orig_mod."', "model._orig_mod.save_pretrained")),
    Case("names that Lightning left", renamed("model.{}".format), refused=('begin with "model."', "model.model.save_pretrained")),
    Case("names that two wrappers left", renamed("module._orig_mod.{}".format), refused=('"module._orig_mod."',)),
    Case("names that a wrapper left on an encoder", renamed(lambda name: name.replace("bert.", "model.")), refused=('begin with "model."',)),
    Case("another family's weights under BERT's name", every(model_of(RobertaForSequenceClassification, RobertaConfig), settings(model_type="bert")), refused=("config.json says that it is BERT", "another network's")),
    Case("NaN in the head", changed("classifier.bias", lambda w: w * float("nan")), refused=("1 weights hold NaN or infinity (classifier.bias)",)),
    Case("infinity in two layers", weights(lambda own: own | {n: w / 0 for n, w in own.items() if n.endswith("output.LayerNorm.bias")}), refused=("4 weights hold NaN", "and 1 more")),
    Case("an encoder as a classifier", weights(headless), refused=("no classification head", "compress finetune")),
]  # fmt: skip

HEADS = [
    Case("an encoder", model_of(BertModel), finetune=("a", "b", "c"), labels=("a", "b", "c"), head="new, for 3 labels (the checkpoint had none)"),
    Case("a model for masked words", model_of(BertForMaskedLM), finetune=("a", "b"), labels=("a", "b"), head="new, for 2 labels (the checkpoint had none)"),
    Case("a pre-trained model", model_of(BertForPreTraining), finetune=("a", "b"), labels=("a", "b"), head="new, for 2 labels (the checkpoint had none)"),
    Case("a classifier of the same labels", plain, finetune=("pos", "neg"), head="kept, for 2 labels"),
    Case("a classifier of more labels", plain, finetune=("a", "b", "c"), labels=("a", "b", "c"), head="new, for 3 labels (the checkpoint's was for 2)"),
    Case("a classifier of as many other labels", plain, finetune=("a", "b"), labels=("a", "b"), head="new, for 2 labels (the checkpoint's was for 2 others)"),
]  # fmt: skip

TOKENIZERS = [
    Case("no tokenizer", without("tokenizer.json", "tokenizer_config.json"), refused=("no tokenizer files", "AutoTokenizer")),
    Case("no tokenizer but its settings", without("tokenizer.json"), refused=("no tokenizer files", "AutoTokenizer")),
    Case("a vocabulary alone", every(without("tokenizer.json"), text("vocab.txt", "".join(f"{word}\n" for word in WORDS)))),
    Case("half of a BPE tokenizer", every(without("tokenizer.json"), text("vocab.json", "{}")), refused=("vocab.json without merges.txt",)),
    Case("a vocabulary of another class", every(without("tokenizer.json"), text("vocab.txt", "a\n"), settings("tokenizer_config.json", tokenizer_class="XLMRobertaTokenizer")), refused=("knows 7 tokens", "40 rows")),
    Case("tokens beyond the table", tokenizer_with("<url>", "<user>"), refused=("2 tokens", "<url>, <user>", "40 rows")),
    Case("many tokens beyond the table are cut at five", tokenizer_with(*(f"<{n}>" for n in range(9))), refused=("9 tokens", "<4> and 4 more")),
    Case("a somewhat smaller tokenizer", every(without("tokenizer.json"), text("vocab.txt", "".join(f"{word}\n" for word in WORDS[:30]))), says=("knows 30 tokens", "40 rows")),
    Case("a BPE tokenizer", tokenizer_of(models.BPE(vocab=VOCABULARY, merges=[], unk_token="[UNK]"))),
    Case("a Unigram tokenizer", tokenizer_of(models.Unigram([(word, 0.0) for word in WORDS], unk_id=1))),
    Case("a Unigram tokenizer beyond the table", tokenizer_of(models.Unigram([(word, 0.0) for word in (*WORDS, "é")], unk_id=1)), refused=("1 tokens", "é")),
    Case("a WordPiece tokenizer that cannot say unknown", no_unknown, refused=("its tokenizer cannot be loaded", "[UNK]")),
    Case("a tokenizer written in Python", every(without("tokenizer.json"), text("vocab.txt", "".join(f"{word}\n" for word in WORDS)), settings("tokenizer_config.json", tokenizer_class="BertJapaneseTokenizer", word_tokenizer_type="basic", subword_tokenizer_type="character")), refused=("BertJapaneseTokenizer", "Python")),
    Case("an empty tokenizer.json", text("tokenizer.json", "{}"), refused=("its tokenizer cannot be loaded",)),
    Case("a tokenizer.json of an unknown kind", text("tokenizer.json", '{"added_tokens": [], "model": {"type": "Quantum"}}'), refused=("its tokenizer cannot be loaded",)),
    Case("a tokenizer.json of 9,000 brackets", text("tokenizer.json", "[" * 9000), refused=("its tokenizer cannot be loaded",)),
    Case("settings of the tokenizer that are no JSON", text("tokenizer_config.json", "{"), refused=("cannot be loaded",)),
    Case("settings of the tokenizer that are a list", text("tokenizer_config.json", "[]"), refused=("cannot be loaded",)),
]  # fmt: skip

CASES = [*FILES, *CONFIG, *WEIGHTS, *HEADS, *TOKENIZERS]


def read(case: Case, folder: Path) -> Checkpoint:
    """Make the case's folder and load it."""
    for name, content in plain_files().items():
        (folder / name).write_bytes(content)
    with quiet_transformers():
        case.make(folder)
    if case.finetune:
        checkpoint = load_for_finetuning(str(folder), "single_label", case.finetune, seed=0)
    else:
        checkpoint = load_classifier(str(folder))
    show_held()
    return checkpoint


TEXT = "a bb, Abc"


def differences(case: Case, checkpoint: Checkpoint, said: str) -> list[str]:
    """Where the checkpoint is not as the case has it."""
    wrong = [f"not said: {words}" for words in case.says if words not in said]
    if case.head and f"head: {case.head}" not in said:
        wrong.append(f"head: {checkpoint.head}")
    if checkpoint.labels != case.labels:
        wrong.append(f"labels: {checkpoint.labels}")
    if checkpoint.encoder([TEXT])[0].ids != AutoTokenizer.from_pretrained(checkpoint.source)(TEXT)["input_ids"]:
        wrong.append("tokens")
    if not case.head:
        with torch.inference_mode():
            answer, plain_answer = checkpoint.model(IDS).logits, plain_model()(IDS).logits
        if not torch.allclose(answer, plain_answer, atol=1e-2):  # fp16 among them
            wrong.append(f"logits: {answer.tolist()}")
    return wrong


def outcome(case: Case, folder: Path, said: Callable[[], str]) -> str:
    """``right``, ``refused``, or what is wrong; ``said`` gives what was printed meanwhile."""
    try:
        checkpoint = read(case, folder)
    except CompressError as error:
        return refusal(error, case.refused)
    wrong = ["loaded, not refused"] if case.refused else differences(case, checkpoint, said())
    return "; ".join(wrong) or "right"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_odd_checkpoint_is_loaded_whole_or_refused(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(case, tmp_path, lambda: capsys.readouterr().err) in {"right", "refused"}


def test_each_kind_has_one_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 45

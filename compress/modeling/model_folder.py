"""Checks of a model's files and config before transformers reads them: it guesses or drops what it does not know."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from compress.durable import parse_json
from compress.errors import CompressError
from compress.families import FAMILIES
from compress.folder import MANIFEST, model_of_search, refuse_outside
from compress.formatting import some
from compress.machine import is_installed

# In the order in which transformers looks for them.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_OTHER_WEIGHTS = ("tf_model.h5", "flax_model.msgpack", "rust_model.ot", "model.onnx")
_VOCABULARIES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")
_LFS = b"version https://git-lfs.github.com/spec/"
_OTHER_TASK = re.compile(r"For(TokenClassification|QuestionAnswering|MultipleChoice)$")
_GIVE_FULL_PRECISION = "give the model in fp32, fp16 or bf16, which 'compress quantize' makes small itself"
_FULL_PRECISION = {"F64", "F32", "F16", "BF16", "torch.float64", "torch.float32", "torch.float16", "torch.bfloat16"}


def check_place(folder: Path) -> None:
    """Refuse a folder that holds no model, or only an adapter for one."""
    if (folder / "adapter_config.json").is_file():
        raise CompressError(
            f"{folder}: holds a LoRA adapter (adapter_config.json); merge it into its base model "
            "with peft's merge_and_unload(), save that and the tokenizer to a folder of their own, and give that folder"
        )
    if not (folder / "config.json").is_file():
        raise CompressError(
            f"{folder}: not a model folder, it has neither {MANIFEST} nor config.json; "
            f"give {model_of_search(folder) or 'one that has'}"
        )
    _refuse_absent_content(folder / "config.json")


def check_files(folder: Path) -> None:
    """Refuse a folder whose weights or tokenizer are missing, or in a format that is not read."""
    weights = _weight_files(folder)
    if not weights:
        others = some([name for name in _OTHER_WEIGHTS if (folder / name).is_file()])
        raise CompressError(
            f"{folder}: has no weights, model.safetensors or pytorch_model.bin"
            f"{f'; {others} is not read' if others else ''}; save the model again with transformers' save_pretrained"
        )
    tokenizer = _tokenizer_files(folder)
    for path in (*weights, *tokenizer):
        _refuse_absent_content(path)
    if not tokenizer or (tokenizer == [folder / "vocab.json"] and not (folder / "merges.txt").is_file()):
        has = "vocab.json without merges.txt" if tokenizer else "no tokenizer files"
        raise CompressError(
            f"{folder}: has {has}; save the tokenizer that the model was trained with beside it: "
            "AutoTokenizer.from_pretrained(BASE_MODEL).save_pretrained(FOLDER)"
        )


def check_config(source: str, config: Mapping[str, Any], tokenizer_config: Mapping[str, Any]) -> None:
    """Refuse settings by which the model would compute something else than the network that is built from them.

    Args:
        source: the model's name in errors.
        config: the content of ``config.json``.
        tokenizer_config: the content of ``tokenizer_config.json``; empty where there is none.
    """
    for name, settings in {"config.json": config, "tokenizer_config.json": tokenizer_config}.items():
        if settings.get("auto_map"):
            raise CompressError(
                f"{source}: needs Python code of its own (auto_map in {name}), which compress never runs; give a model "
                "that transformers has a class for, or remove auto_map if the weights are those of such a class"
            )
    if quantization := config.get("quantization_config"):
        method = quantization.get("quant_method", "unknown")
        raise CompressError(f"{source}: its weights are quantized ({method}); {_GIVE_FULL_PRECISION}")
    if other := next((name for name in config.get("architectures") or () if _OTHER_TASK.search(name)), None):
        raise CompressError(
            f"{source}: is for another task ({other} in config.json); give a classifier of whole texts, or to "
            "'compress finetune' the encoder that this model was trained from"
        )
    family = FAMILIES.get(str(config.get("model_type")))
    has_table = family is None or family.embeddings.positions is not None
    if has_table and (kind := config.get("position_embedding_type") or "absolute") != "absolute":
        raise CompressError(
            f"{source}: position_embedding_type is {kind} in config.json, which transformers 5 no longer computes; "
            "give a model with absolute positions"
        )
    if setting := next((name for name in ("is_decoder", "add_cross_attention") if config.get(name)), None):
        raise CompressError(
            f"{source}: {setting} is true in config.json, so each token sees only part of the text; give an encoder"
        )


def stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every weight in the files of ``folder``, by name; the weights themselves are not read.

    Raises:
        CompressError: weights are stored in 8 or fewer bits, whose raw numbers transformers would take for floats.
    """
    stored = {name: about for path in _weight_files(folder) for name, about in _stored(path)}
    # Tables that no gradient changes, such as position_ids, hold integers in any model.
    small = [name for name, (kind, _) in stored.items() if name.endswith("weight") and kind not in _FULL_PRECISION]
    if small:
        raise CompressError(
            f"{folder}: {len(small)} weights are stored as {stored[small[0]][0].removeprefix('torch.')} "
            f"({some(small, most=3)}); {_GIVE_FULL_PRECISION}"
        )
    return {name: shape for name, (_, shape) in stored.items()}


def _stored(path: Path) -> Iterator[tuple[str, tuple[str, tuple[int, ...]]]]:
    """Name, type and shape of each weight in a file."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - the file is no mapping
                weight = file.get_slice(name)
                yield name, (weight.get_dtype(), tuple(weight.get_shape()))
    else:
        for name, weight in torch.load(path, map_location="meta", weights_only=True).items():
            yield name, (str(weight.dtype), tuple(weight.shape))


def _weight_files(folder: Path) -> list[Path]:
    first = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if first is None or first.suffix != ".json":
        return [first] if first else []
    _refuse_absent_content(first)
    shards = sorted(set(_shards_in(first)))
    for name in shards:
        refuse_outside(first, name)
    return [folder / name for name in shards]


def _shards_in(index: Path) -> list[str]:
    """The file of each weight in an index."""
    try:
        names = [*parse_json(index.read_bytes())["weight_map"].values()]
    except (ValueError, LookupError, TypeError, AttributeError):
        names = []
    if not names or not all(isinstance(name, str) for name in names):
        raise CompressError(f"{index}: has no table weight_map that names the file of each weight; get the model again")
    return names


def _tokenizer_files(folder: Path) -> list[Path]:
    """The file with the whole tokenizer, which is then the only one read, or else the files with vocabularies."""
    if (folder / "tokenizer.json").is_file():
        return [folder / "tokenizer.json"]
    files = [folder / name for name in _VOCABULARIES if (folder / name).is_file()]
    if files and all(file.suffix == ".model" for file in files) and not is_installed("sentencepiece"):
        raise CompressError(
            f"{files[0]}: is read with the package sentencepiece, which is not installed; "
            "pip install sentencepiece protobuf, or get the model with its tokenizer.json"
        )
    return files


def _refuse_absent_content(path: Path) -> None:
    if not path.is_file():
        raise CompressError(f"{path}: missing, though the index of the weights lists it; get the model again")
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise CompressError(f"{path}: is a Git LFS pointer and not the file itself; run 'git lfs pull' there")

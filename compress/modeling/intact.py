"""Checks that a checkpoint came whole into its network: transformers fills in what is missing and drops the rest."""

import re
from collections.abc import Mapping
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedModel

from compress.errors import CompressError
from compress.families import family_of
from compress.families.family import Family
from compress.formatting import some
from compress.progress import say_before_work

# Weights that pre-training leaves in an encoder's file and no classifier reads, and buffers that older versions saved.
_HARMLESS = re.compile(
    r"(\w+\.)?(cls|pooler|lm_head|discriminator_predictions|generator_predictions|generator_lm_head"
    r"|loss\w*|criterion|vocab_transform|vocab_layer_norm|vocab_projector|lm_predictions|mask_predictions)\..*"
    r"|(.*\.)?(position_ids|token_type_ids|class_weights?)"
)
# A character that hardly any tokenizer knows: a tokenizer without an unknown token fails on it now, and not in service.
_UNKNOWN = "a \U0001f9ff"


def check_weights(
    source: str, loading: Mapping[str, Any], model: PreTrainedModel, shapes: Mapping[str, tuple[int, ...]]
) -> bool:
    """Refuse weights that are missing, left over, of other shapes or not finite; only a whole head may be missing.

    Args:
        source: the model's name in errors.
        loading: transformers' report of what it loaded.
        model: the network.
        shapes: the shapes of the weights in the files, by name, where the files are at hand.

    Returns:
        Whether the file has the head that gives the logits.
    """
    family = family_of(model.config)
    missing = set(loading["missing_keys"])
    left_over = set(loading["unexpected_keys"]).difference(family.unread)
    unused = sorted(name for name in left_over if not _HARMLESS.fullmatch(name))
    last = family.head[-1].path
    has_head = not {f"{last}.weight", f"{last}.bias"} <= missing
    _refuse_other_network(source, missing, set(loading["unexpected_keys"]), model, family)
    _refuse_other_shapes(source, loading["mismatched_keys"])
    if not has_head:
        _refuse_other_head(source, unused, model, family, shapes)
    if unused:
        raise CompressError(
            f"{source}: {len(unused)} weights in its files are not in {family.classifier} as config.json describes it "
            f"({some(unused, most=3)}), so it would answer otherwise than it was trained to; "
            "mend config.json, or give a model without them"
        )
    may_lack = () if has_head else tuple(f"{path}." for path in _head_modules(family))
    if lacking := sorted(name for name in missing if not name.startswith(may_lack)):
        raise CompressError(f"{source}: {len(lacking)} weights are missing, {lacking[0]} for one; get the model again")
    if broken := [name for name, weight in model.state_dict().items() if not weight.isfinite().all()]:
        raise CompressError(
            f"{source}: {len(broken)} weights hold NaN or infinity ({some(broken, most=3)}); "
            "its training failed or the file is damaged: get the model again, or train it again"
        )
    return has_head


def check_tokenizer(source: str, tokenizer: Any, rows: int) -> None:
    """Refuse a tokenizer of any kind that the model cannot have been trained with; its embedding table has ``rows``."""
    if not getattr(tokenizer, "is_fast", False):
        raise CompressError(
            f"{source}: its tokenizer, {type(tokenizer).__name__}, is written in Python, so no app could read it; "
            "give a model whose tokenizer can be saved as tokenizer.json"
        )
    ids = tokenizer.get_vocab()
    if beyond := sorted((token for token, at in ids.items() if at >= rows), key=ids.__getitem__):
        raise CompressError(
            f"{source}: {len(beyond)} tokens of its tokenizer ({some(beyond)}) have ids beyond the {rows:,} rows of "
            "its embedding table; train it with model.resize_token_embeddings(len(tokenizer)), or take them out"
        )
    if 2 * len(ids) < rows:
        raise CompressError(
            f"{source}: its tokenizer knows {len(ids):,} tokens, but its embedding table has {rows:,} rows; "
            "save the tokenizer that the model was trained with beside it"
        )
    if len(ids) < 0.99 * rows:
        say_before_work(
            f"{source}: its tokenizer knows {len(ids):,} tokens and its embedding table has {rows:,} rows; "
            "make sure that it is the tokenizer that the model was trained with"
        )
    if max(tokenizer.backend_tokenizer.encode(_UNKNOWN).ids, default=0) >= rows:
        raise CompressError(
            f"{source}: its tokenizer adds special tokens with ids beyond the {rows:,} rows of its embedding table; "
            "save the tokenizer that the model was trained with beside it"
        )


def check_room(source: str, tokenizer: Any, max_length: int) -> None:
    """Refuse a model that reads at most ``max_length`` tokens where special tokens alone are as many."""
    if max_length <= tokenizer.num_special_tokens_to_add():
        raise CompressError(
            f"{source}: has room for {max(max_length, 0)} tokens, by its table of positions or the tokenizer's "
            "model_max_length, which special tokens fill alone; give the config.json that was saved with the weights"
        )


def _refuse_other_network(
    source: str, missing: set[str], unused: set[str], model: PreTrainedModel, family: Family
) -> None:
    """Refuse weights whose names begin with a wrapper's prefix, or of which the network takes none."""
    encoder = f"{model.base_model_prefix}."
    if not {name for name in model.state_dict() if name.startswith(encoder)} <= missing:
        return
    bare = (name.removeprefix(encoder) for name in sorted(missing) if name.startswith(encoder))
    ends = next(((name, end) for end in bare for name in sorted(unused) if name.endswith(f".{end}")), None)
    prefix = ends[0].removesuffix(ends[1]).removesuffix(encoder) if ends else ""
    if not prefix.endswith(".") or prefix.rstrip(".") in CONFIG_MAPPING:  # distilbert is no wrapped bert
        raise CompressError(
            f"{source}: config.json says that it is {family.name}, but its weights are another network's "
            f"({some(sorted(unused), most=3) or 'none fits'}); get the model again, config.json and weights together"
        )
    raise CompressError(
        f'{source}: the names of its weights begin with "{prefix}", which a wrapper left there; save the model inside '
        f"it: model.{prefix}save_pretrained(FOLDER)"
    )


def _refuse_other_head(
    source: str, unused: list[str], model: PreTrainedModel, family: Family, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    head = [name for name in unused if not name.startswith(f"{model.base_model_prefix}.")]
    if head:
        raise CompressError(
            f"{source}: its classification head is {_modules(head, shapes)}, where {family.classifier} has "
            f"{_head(family)}; it cannot be kept. To train a new one with 'compress finetune', save the encoder "
            f"alone: model.{model.base_model_prefix}.save_pretrained(FOLDER)"
        )


def _refuse_other_shapes(source: str, mismatched: Any) -> None:
    if mismatched:
        name, stored, wanted = min(mismatched)
        raise CompressError(
            f"{source}: {len(mismatched)} weights have other shapes than config.json asks for: {name} is "
            f"{' x '.join(map(str, stored))}, not {' x '.join(map(str, wanted))}; "
            "give the config.json that was saved with the weights"
        )


def _modules(weights: list[str], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The modules that ``weights`` belong to, the linear ones with their input and output widths."""
    modules = dict.fromkeys(name.rpartition(".")[0] or name for name in weights)
    widths = {name: shapes.get(f"{name}.weight", ()) for name in modules}
    return some([f"{name} ({size[1]} to {size[0]})" if len(size) == 2 else name for name, size in widths.items()])


def _head_modules(family: Family) -> list[str]:
    return [dense.path for dense in family.head] + ([family.head_norm] if family.head_norm else [])


def _head(family: Family) -> str:
    return ", ".join(name for dense in family.head for name in (dense.path, dense.activation) if name)

"""A smaller vocabulary: tokens that the data lack are removed, with their rows of the embedding table."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from compress.config import PruneConfig
from compress.data import Dataset
from compress.distillation.texts import encoded, read_unlabeled
from compress.errors import CompressError
from compress.families.tokenizers.smaller import KINDS, describe, ids_in, require_known_kind, with_tokens
from compress.families.view import EncoderView
from compress.modeling.checkpoint import Checkpoint
from compress.paths import local_path
from compress.progress import say
from compress.runtime.encoding import Text, TextEncoder
from compress.training.batches import Encodings

Counts = npt.NDArray[np.int64]

COMMON = 8_000
_TOKEN_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")


def cut_vocabulary(whole: Checkpoint, texts: Iterable[Text]) -> Checkpoint:
    """A copy without the tokens that ``texts`` lack and that are not among the common ones.

    Raises:
        CompressError: the tokenizer is of no known kind.
    """
    require_known_kind(whole.tokenizer, whole.source)
    counts = count_tokens(whole.encoder, texts)
    smaller = keep_tokens(whole, chosen_tokens(whole.tokenizer, counts, COMMON))
    before, after = (model.model.config.vocab_size for model in (whole, smaller))
    say(f"vocabulary: {before:,} tokens become {after:,}")
    return smaller


def texts_to_read(data: Dataset, config: PruneConfig, text_columns: Sequence[str]) -> Iterator[Text]:
    """The texts that say which tokens the model will read: the train texts, and those without labels.

    Raises:
        CompressError: the texts without labels are in no file, so the recovery could not read them again.
    """
    if config.unlabeled and not local_path(config.unlabeled).is_file():
        raise CompressError(
            f"--unlabeled {config.unlabeled}: is no file; --vocabulary reads it more than once, save it"
        )
    unlabeled = read_unlabeled(config.unlabeled, text_columns, data.pairs) if config.unlabeled else ()
    return chain(data.train.texts, unlabeled)


def count_tokens(encoder: TextEncoder, texts: Iterable[Text]) -> Counts:
    """How often each token is read in ``texts``, ``[highest id + 1]``."""
    counts = np.zeros(0, dtype=np.int64)
    for encodings in encoded(texts, encoder):
        total = np.bincount(encodings.ids, minlength=len(counts))
        total[: len(counts)] += counts
        counts = total
    return counts


def chosen_tokens(tokenizer: PreTrainedTokenizerFast, counts: Counts, common: int) -> set[str]:
    """The tokens that stay: those seen, the first ``common`` ones, and those that keep any word from becoming unknown.

    Vocabularies list common tokens first. A word whose token is removed is split into smaller ones, down to characters
    or bytes, which stay. Tokens that no text is ever split into, such as ``[unused0]``, are removed in any case.
    """
    description = describe(tokenizer)
    model, added = description["model"], {token["content"] for token in description["added_tokens"]}
    kind = KINDS[model["type"]]
    vocabulary = kind.vocabulary(model)
    in_order = sorted(vocabulary.keys() - added, key=vocabulary.__getitem__)
    words = [token for token in in_order if kind.is_read(token, tokenizer)]
    seen = {token for token, number in vocabulary.items() if number < len(counts) and counts[number]}
    return {*added, *words[:common], *seen, *kind.fallbacks(model).intersection(words)}


def keep_tokens(whole: Checkpoint, tokens: set[str]) -> Checkpoint:
    """A copy that knows only ``tokens`` and those they need; a text of these alone gets the same logits bit for bit."""
    tokenizer = with_tokens(whole.tokenizer, tokens)
    kept = ids_in(whole.tokenizer, tokenizer)
    model = copy.deepcopy(whole.model)
    view, config = EncoderView(model), model.config
    if view.family.counts_tokens and kept[view.pad_id : view.pad_id + 1].tolist() != [view.pad_id]:
        raise CompressError(
            f"{whole.source}: tokens before its padding's (id {view.pad_id}) would go, and its positions start after "
            "that id; leave --vocabulary out"
        )
    for name in _TOKEN_IDS:
        number = getattr(config, name, None)
        if number is not None:
            setattr(config, name, int(np.searchsorted(kept, number)))
    table = view.words.weight.detach()[torch.from_numpy(kept)]
    view.words = nn.Embedding.from_pretrained(table, freeze=False, padding_idx=config.pad_token_id)
    config.vocab_size = len(kept)
    return replace(whole, model=model, tokenizer=tokenizer)


def compare_reading(whole: Checkpoint, smaller: Checkpoint, texts: Sequence[Text]) -> dict[str, float]:
    """The shares of tokens and of ``texts`` that ``smaller`` splits differently from ``whole``.

    Special tokens are not counted. The logits of texts that are split as before are the same bit for bit.
    """
    kept = ids_in(whole.tokenizer, smaller.tokenizer)
    before, after = (Encodings.pack(model.encoder(texts)) for model in (whole, smaller))
    words = before.ids[~np.isin(before.ids, whole.tokenizer.all_special_ids)]
    changed = sum(kept[new.ids].tolist() != old.ids for old, new in zip(before, after, strict=True))
    return {
        "tokens_changed": float(1 - np.isin(words, kept).mean()) if len(words) else 0.0,
        "texts_changed": changed / max(1, len(texts)),
    }

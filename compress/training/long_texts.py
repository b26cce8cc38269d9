"""How much of a text a model in training reads: what the settings say, else what the model's folder says."""

from dataclasses import replace

from compress.config import LongTextsConfig
from compress.errors import CompressError
from compress.modeling.checkpoint import Checkpoint
from compress.runtime.long_texts import LongTexts
from compress.task import reads_pairs


def with_long_texts(model: Checkpoint, config: LongTextsConfig) -> Checkpoint:
    """``model`` with the max_length and the long texts of ``config``; what that leaves open stays as it is.

    Windows share a quarter of their tokens by default, as in "Hierarchical Transformers for Long Document
    Classification" (Pappagari et al. 2019).

    Raises:
        CompressError: the model reads fewer than ``max_length`` tokens; it reads pairs and ``long_texts`` is not head;
            a stride or a pooling is given without windows; or the stride is too long.
    """
    before, step, length = model.long_texts, config.command, config.max_length
    if length is not None and length > model.max_length:
        raise CompressError(
            f"{step}.max_length must be at most {model.max_length}, the most that every given model reads, got {length}"
        )
    stride_before = before.stride if length in (None, model.max_length) else None  # not for windows of another length
    model = replace(model, max_length=length or model.max_length)
    mode = config.long_texts or before.mode
    if mode != "windows":
        idle = "stride" if config.stride is not None else "pooling" if config.pooling is not None else None
        if idle:
            raise CompressError(
                f"{step}.{idle} is for long_texts windows, and long_texts is {mode}; take windows, or leave {idle} out"
            )
    if mode == "head":
        return replace(model, long_texts=LongTexts())
    if reads_pairs(model.task):
        raise CompressError(f"{step}.long_texts must be head for pairs of texts, got {mode}; leave it out")
    if mode == "head-tail":
        return replace(model, long_texts=LongTexts(mode))
    room = _room(model)
    stride = config.stride or stride_before or max(1, room // 4)
    if stride >= room:
        raise CompressError(
            f"{step}.stride must be below {room}, the tokens of a window of {model.max_length} without the special "
            f"ones, got {stride}; take a smaller stride or a larger max_length"
        )
    return replace(model, long_texts=LongTexts(mode, stride, config.pooling or before.pooling))


def no_longer_than(teacher: Checkpoint, model: Checkpoint) -> Checkpoint:
    """``model`` with at most the max_length of its ``teacher``.

    Raises:
        CompressError: windows of that length would have no room beside the tokens that they share.
    """
    model = replace(model, max_length=min(model.max_length, teacher.max_length))
    stride, room = model.long_texts.stride, _room(model)
    if model.long_texts.mode == "windows" and stride >= room:
        raise CompressError(
            f"{teacher.source}: reads {teacher.max_length} tokens, {room} without the special ones, but windows of "
            f"{model.source} share {stride}; give a teacher that reads more than the windows share"
        )
    return model


def _room(model: Checkpoint) -> int:
    """How many tokens of a text fit beside the special ones."""
    return model.max_length - model.tokenizer.num_special_tokens_to_add()

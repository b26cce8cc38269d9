"""Losses that compare a student with its teacher: pure functions of their tensors, float32.

Every loss is 0 for equal tensors. It is a mean over texts, and for each text a mean over its own real tokens, so a
text weighs the same in any batch. ``mask`` is bool ``[batch, length]``, true for real tokens.
"""

import math

import torch
from torch.nn import functional

# As a score it gives a probability of exactly 0 and a finite log-probability: 0 times infinity is not a number.
_NEVER = torch.finfo(torch.float32).min / 2


def soft_labels(student: torch.Tensor, teacher: torch.Tensor, temperature: float, *, multi_label: bool) -> torch.Tensor:
    """KL divergence from teacher to student at ``temperature``, times its square (Hinton et al. 2015).

    The square makes the gradients' size independent of the temperature. In a multi-label task each label has a
    divergence of its own, between two Bernoulli distributions; they are averaged over labels, like the hard labels'.

    Args:
        student: logits ``[batch, labels]``.
        teacher: logits ``[batch, labels]``.
        temperature: above 0; 1 compares the distributions as they are.
        multi_label: per-label sigmoid instead of a softmax over labels.
    """
    student, teacher = student / temperature, teacher / temperature
    if multi_label:
        yes = torch.sigmoid(teacher) * (functional.logsigmoid(teacher) - functional.logsigmoid(student))
        no = torch.sigmoid(-teacher) * (functional.logsigmoid(-teacher) - functional.logsigmoid(-student))
        return (yes + no).mean() * temperature**2
    log_student, log_teacher = functional.log_softmax(student, dim=-1), functional.log_softmax(teacher, dim=-1)
    return functional.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2


def token_mse(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared error of embeddings or hidden states, averaged over width (TinyBERT, Jiao et al. 2020).

    Args:
        student: ``[batch, length, hidden]``, mapped to the teacher's hidden size.
        teacher: ``[batch, length, hidden]``.
        mask: real tokens.
    """
    return _masked_mean((student - teacher).square().mean(dim=-1), mask)


def dot_products(left: torch.Tensor, right: torch.Tensor, heads: int) -> torch.Tensor:
    """Scaled dot products of all pairs of tokens for each head: the attention scores before the softmax.

    Args:
        left: ``[batch, length, heads * head size]``, such as queries.
        right: the same shape, such as keys, or ``left`` itself.
        heads: number of heads.

    Returns:
        ``[batch, heads, length, length]``, divided by the square root of the head size.
    """
    left, right = (states.unflatten(-1, (heads, -1)).transpose(1, 2) for states in (left, right))
    return left @ right.transpose(-1, -2) / math.sqrt(left.shape[-1])


def attention(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared error of attention scores, averaged over heads and token pairs (TinyBERT, Jiao et al. 2020).

    Heads are compared in their order. If the numbers of heads differ, no head has a counterpart; then the attention is
    averaged over heads, and the loss is the KL divergence from teacher to student.

    Args:
        student: scores before the softmax, ``[batch, heads, length, length]``.
        teacher: scores of the same shape but for the number of heads.
        mask: real tokens.
    """
    if student.shape[1] == teacher.shape[1]:
        pairs = mask[:, :, None] & mask[:, None, :]
        return _masked_mean((student - teacher).square().mean(dim=1), pairs)
    ours, theirs = (_mean_over_heads(_log_attention(scores, mask)) for scores in (student, teacher))
    return _divergence(ours, theirs, mask)


def relation(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """KL divergence from the teacher's token relations to the student's (MiniLMv2, Wang et al. 2021).

    A relation is the softmax of the dot products of one layer's queries (or keys, or values) with themselves. Both
    models' are split into the same number of relation heads, so their widths and heads may differ.

    Args:
        student: queries, keys or values ``[batch, length, width]``.
        teacher: the same kind, of any width.
        mask: real tokens; the loss is averaged over these and over relation heads.
    """
    heads = relation_heads(student.shape[-1], teacher.shape[-1])
    ours, theirs = (_log_attention(dot_products(states, states, heads), mask) for states in (student, teacher))
    return _divergence(ours, theirs, mask)


def relation_heads(student_width: int, teacher_width: int) -> int:
    """The most heads that divide both widths and leave the teacher's at least 16 wide.

    That is 48 for a teacher of 768 and 64 for one of 1024, as in MiniLMv2; 1 where no number divides both.
    """
    most = max(1, teacher_width // 16)
    return max(heads for heads in range(1, most + 1) if student_width % heads == teacher_width % heads == 0)


def _log_attention(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return functional.log_softmax(scores.masked_fill(~mask[:, None, None, :], _NEVER), dim=-1)


def _mean_over_heads(log_attention: torch.Tensor) -> torch.Tensor:
    return torch.logsumexp(log_attention, dim=1, keepdim=True) - math.log(log_attention.shape[1])


def _divergence(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """KL divergence over keys of two log-attentions ``[batch, heads, length, length]``, averaged over heads."""
    divergence = functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)
    return _masked_mean(divergence.mean(dim=1), mask)


def _masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean of each text's values ``[batch, ...]`` where ``mask`` is true, averaged over texts."""
    sums, counts = values.masked_fill(~mask, 0.0).flatten(1).sum(dim=1), mask.flatten(1).sum(dim=1)
    return (sums / counts).mean()

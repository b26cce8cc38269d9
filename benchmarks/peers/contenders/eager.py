"""The teacher as it is: PyTorch fp32, with the attention that transformers takes by default."""

from pathlib import Path

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """A copy of the teacher."""
    shared.teacher_model(teacher, "sdpa").save_pretrained(out)
    shared.keep_tokenizer(teacher, out)


def load(folder: Path, threads: int) -> shared.Answer:
    """Through transformers."""
    return shared.torch_answers(shared.teacher_model(folder, "sdpa"), folder, threads)

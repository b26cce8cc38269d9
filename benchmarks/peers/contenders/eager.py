"""The teacher as it is: PyTorch fp32, eager attention."""

from pathlib import Path

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """A copy of the teacher."""
    shared.teacher_model(teacher, "eager").save_pretrained(out)
    shared.keep_tokenizer(teacher, out)


def load(folder: Path, threads: int) -> shared.Answer:
    """Through transformers."""
    return shared.torch_answers(shared.teacher_model(folder, "eager"), folder, threads)

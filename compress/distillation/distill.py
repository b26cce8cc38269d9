"""distill: train a student to answer as its teacher does, and to have the same states if the settings say so."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from compress.config import DistillationConfig
from compress.data import Dataset
from compress.distillation.answers import Answers, Probabilities
from compress.distillation.corpus import Corpus
from compress.distillation.losses import soft_labels
from compress.distillation.objective import Distillation
from compress.distillation.soft_targets import AnswerOutputs, MeanOutputs
from compress.distillation.students import check_tokenizers, has_table_of, require_same_positions
from compress.distillation.teacher_cache.cache import teacher_digest
from compress.distillation.teacher_cache.outputs import teacher_outputs
from compress.errors import CompressError
from compress.evaluation.metrics import reported_metric
from compress.machine import processes
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.states import LOGITS
from compress.task import is_multi_label
from compress.training.batches import BatchSchedule, Encodings, Examples, Rows, TeacherOutputs
from compress.training.finetune import EncodedSplits, start_from_the_prior
from compress.training.loop import train
from compress.training.optimization import TEACHER_PREFIX
from compress.training.run_files import RunFiles
from compress.training.validator import Divergence, TrainingResult

_TEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class Teacher:
    """A teacher with its digest, by which the cache knows it, and its place among the student's teachers, from 0."""

    checkpoint: Checkpoint
    digest: str
    number: int


def distill(
    teachers: Sequence[Checkpoint],
    student: Checkpoint,
    data: Dataset,
    config: DistillationConfig,
    run_files: RunFiles,
    text_columns: Sequence[str] = (),
    encoded: EncodedSplits | None = None,
    answers: Answers | None = None,
) -> TrainingResult:
    """Train ``student`` in place on its teachers' states and the data's labels, weighted as ``config`` says.

    A teacher reads each text once for all epochs, students and runs. It has the student's labels, in any order; where
    states other than logits are compared, it has the student's tokenizer too, which may know more tokens. The mean of
    the teachers' answers is learned; the other states are the first teacher's. ``answers`` take the place of the
    teachers' logits. ``text_columns`` are those of ``config.unlabeled``; ``encoded`` is the data as the student reads
    it, if the caller has it.

    The weights that are kept are those with the least divergence from the teachers on the validation texts; or those
    with the best metric, if ``config`` names one, or there are no teachers' soft labels to learn. The metric is by
    default the one that ``student.history`` reports last.
    """
    chosen_by_divergence = config.metric is None and answers is None and config.soft_weight > 0
    first = teachers[0]
    config = _settled(config, first, student, answers)
    objective = Distillation(student.model, first.model, config, multi_label=is_multi_label(student.task))
    check_tokenizers(first, student, objective.teacher_wanted)
    encoded = encoded or EncodedSplits.of(student, data)
    start_from_the_prior(student, data.train.targets(student.labels, student.task))
    with TemporaryDirectory(dir=run_files.folder) as folder:  # a killed process leaves it in the step's folder
        corpus = Corpus(student, data, config, text_columns, answers, Path(folder))
        own = corpus.read_by_student(encoded.train.encodings)
        digested = [Teacher(teacher, teacher_digest(teacher), number) for number, teacher in enumerate(teachers)]
        # Validation texts first: after them a teacher leaves the GPU, where it must stay to answer train texts live.
        divergence = divergence_from(digested, corpus, encoded.validation) if chosen_by_divergence else None
        rows = BatchSchedule(own.lengths, config, processes()).rows
        outputs, digest = _outputs(digested, corpus, own, objective.teacher_wanted, rows)
        run_files = replace(run_files, inputs=digest)
        train_set = Examples(own, encoded.train.targets, outputs)
        result = train(student, train_set, encoded.validation, objective, config, run_files, divergence)
    result.trained_with["temperature"] = config.temperature
    first.model.cpu()  # it may have run on a GPU beside the student, and the caller may use it again
    return result


def _settled(
    config: DistillationConfig, teacher: Checkpoint, student: Checkpoint, answers: Answers | None
) -> DistillationConfig:
    """``config`` with what it leaves open: whether embeddings are frozen, temperature 1 for labels, the metric."""
    settled: dict[str, Any] = {}
    if config.freeze_embeddings is None:  # by default the teacher's own embeddings are not trained
        settled["freeze_embeddings"] = answers is None and has_table_of(teacher, student)
    if answers is not None and answers.are_labels:  # a temperature would bring out small probabilities; these are 0
        settled["temperature"] = 1.0
    if config.metric is None:
        settled["metric"] = reported_metric(student.history, student.task, len(student.labels))
    return config.model_copy(update=settled)


def divergence_from(teachers: Sequence[Teacher], corpus: Corpus, validation: Examples) -> Divergence:
    """The divergence of a student's answers from the teachers' on the validation texts: the loss of their soft labels.

    It changes with every answer, where a metric changes only when an answer becomes another label.
    """
    settings = corpus.config.model_copy(update={"unlabeled": None, "augment": 0})
    data = replace(corpus.data, train=corpus.data.validation)
    alone = replace(corpus, data=data, config=settings, name="validation texts")
    rows = Encodings.pack_rows(validation.encodings)
    outputs, _ = _outputs(teachers, alone, rows, frozenset({LOGITS}), np.arange(len(rows)))
    answered = Examples(rows, validation.targets[:0], outputs)
    groups = np.array_split(np.arange(len(rows)), -(-len(rows) // _TEXTS_AT_ONCE))
    answers = torch.cat([answered.batch(group)[TEACHER_PREFIX + LOGITS] for group in groups]).numpy()
    windows = [len(encoding.rows) for encoding in validation.encodings]
    teacher_logits = torch.from_numpy(corpus.student.long_texts.pool(answers, windows))
    temperature, multi_label = corpus.config.temperature, is_multi_label(corpus.student.task)
    return lambda logits: float(
        soft_labels(torch.from_numpy(logits), teacher_logits, temperature, multi_label=multi_label)
    )


def _outputs(
    teachers: Sequence[Teacher], corpus: Corpus, own: Encodings, wanted: frozenset[str], rows: Rows
) -> tuple[TeacherOutputs | None, str]:
    """The ``wanted`` states of the texts ``rows``, None if none are wanted, and a digest of what they come from.

    ``own`` is the corpus as the student reads it. The logits are those of all teachers, or answers made elsewhere; the
    other states are the first teacher's.
    """
    answers, multi_label = corpus.answers, is_multi_label(corpus.student.task)
    of_first = wanted - {LOGITS} if answers else wanted
    wanted_of_each = [of_first, *(of_first & {LOGITS} for _ in teachers[1:])]
    asked = [(teacher, names) for teacher, names in zip(teachers, wanted_of_each, strict=True) if names]
    digests = [teacher.digest for teacher, _ in asked]
    outputs_of_each = [_states_of(teacher, corpus, own, names, rows) for teacher, names in asked]
    outputs = MeanOutputs(outputs_of_each, multi_label) if len(asked) > 1 else next(iter(outputs_of_each), None)
    if answers and LOGITS in wanted:
        answered = _answered(answers, corpus, rows)
        outputs = AnswerOutputs(answered, multi_label, outputs)
        digests.append(hashlib.sha256(answered.tobytes()).hexdigest())
    return outputs, "+".join(digests)


def _states_of(teacher: Teacher, corpus: Corpus, own: Encodings, wanted: frozenset[str], rows: Rows) -> TeacherOutputs:
    """The ``wanted`` states of one teacher for the texts ``rows``."""
    checkpoint, student, config = teacher.checkpoint, corpus.student, corpus.config
    encodings = corpus.read_by(checkpoint, own, teacher.number)
    require_same_positions(checkpoint, encodings, student, own, wanted, config.command)
    return teacher_outputs(checkpoint, teacher.digest, encodings, student.labels, wanted, config, corpus.name, rows)


def _answered(answers: Answers, corpus: Corpus, rows: Rows) -> Probabilities:
    """The answers made elsewhere to all texts, ``[texts, labels]`` in the order of the student's labels."""
    config = corpus.config
    order = [corpus.data.labels.index(label) for label in corpus.student.labels]
    answered = answers.probabilities(corpus.texts())[:, order]
    if config.loss is not None and np.isnan(answered[rows]).any():
        raise CompressError(
            f"{config.command}.loss reads the teacher's logits of every text, but some texts have no answer in the "
            "teacher_answers; answer them all, or leave out the loss"
        )
    return answered

"""distill: train a student to answer as its teacher does, and to have the same states if the settings say so."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

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
from compress.distillation.teacher_cache.shard import LOGITS
from compress.errors import CompressError
from compress.evaluation.metrics import reported_metric
from compress.machine import processes
from compress.modeling.checkpoint import Checkpoint
from compress.task import is_multi_label
from compress.training.batches import BatchSchedule, Encodings, Examples, Rows, TeacherOutputs
from compress.training.finetune import EncodedSplits, start_from_the_prior
from compress.training.loop import train
from compress.training.optimization import TEACHER
from compress.training.run_files import RunFiles
from compress.training.validator import Distance, TrainingResult

Digested = tuple[Checkpoint, str]
"""A teacher and its digest."""

_TEXTS_AT_ONCE = 256


def distill(
    teacher: Checkpoint,
    student: Checkpoint,
    data: Dataset,
    config: DistillationConfig,
    run_files: RunFiles,
    text_columns: Sequence[str] = (),
    encoded: EncodedSplits | None = None,
    *,
    others: Sequence[Checkpoint] = (),
    answers: Answers | None = None,
) -> TrainingResult:
    """Train ``student`` in place on the teacher's states and the data's labels, weighted as ``config`` says.

    The teacher reads each text once for all epochs, students and runs. It has the student's labels, in any order; where
    states other than logits are compared, it has the student's tokenizer too, which may know more tokens.
    ``text_columns`` are those of ``config.unlabeled``; ``encoded`` is the data as the student reads it, if the caller
    has it. ``others`` are more teachers: the mean of all their answers is learned, the other states are the first
    one's. ``answers`` take the place of the teachers' logits.

    The weights that are kept are those with the least divergence from the teachers on the validation texts; or those
    with the best metric, if ``config`` names one, or there are no teachers' soft labels to learn. The metric is by
    default the one that ``student.history`` reports last.
    """
    if config.freeze_embeddings is None:  # by default the teacher's own embeddings are not trained
        config = config.model_copy(update={"freeze_embeddings": answers is None and has_table_of(teacher, student)})
    if answers is not None and answers.are_labels:  # they have no other probabilities for a temperature to bring out
        config = config.model_copy(update={"temperature": 1.0})
    objective = Distillation(student.model, teacher.model, config, multi_label=is_multi_label(student.task))
    check_tokenizers(teacher, student, objective.teacher_wanted)
    encoded = encoded or EncodedSplits.of(student, data)
    start_from_the_prior(student, data.train.targets(student.labels, student.task))
    with TemporaryDirectory(dir=run_files.folder) as folder:  # if the process is killed, it goes with the step's folder
        corpus = Corpus(student, data, config, text_columns, answers, Path(folder))
        own = corpus.read_by_student(encoded.train.encodings)
        by_teacher = config.metric is None and answers is None and "soft" in objective.weights
        if config.metric is None:
            metric = reported_metric(student.history, student.task, len(student.labels))
            config = config.model_copy(update={"metric": metric})
        teachers = [(each, teacher_digest(each)) for each in [teacher, *others]]
        # This asks first: once it has its answers the teacher leaves the GPU, where the student may need it.
        distance = divergence_from(teachers, corpus, encoded.validation) if by_teacher else None
        read = BatchSchedule(own.lengths, config, processes()).rows
        outputs, digest = _outputs(teachers, corpus, own, objective.teacher_wanted, read)
        run_files = replace(run_files, inputs=digest)
        train_set = Examples(own, encoded.train.targets, outputs)
        result = train(student, train_set, encoded.validation, objective, config, run_files, distance)
    result.trained_with["temperature"] = config.temperature
    teacher.model.cpu()  # it may have run on a GPU beside the student, and the caller may use it again
    return result


def divergence_from(teachers: Sequence[Digested], corpus: Corpus, validation: Examples) -> Distance:
    """The divergence of a student's answers from the teachers' on the validation texts: their soft labels' loss.

    It changes with every answer, where a metric moves only when one crosses the line to another label.
    """
    settings = corpus.config.model_copy(update={"unlabeled": None, "augment": 0})
    data = replace(corpus.data, train=corpus.data.validation)
    alone = replace(corpus, data=data, config=settings, name="validation texts")
    rows = Encodings.rows(validation.encodings)
    outputs, _ = _outputs(teachers, alone, rows, frozenset({LOGITS}), np.arange(len(rows)))
    answered = Examples(rows, validation.targets[:0], outputs)
    some = np.array_split(np.arange(len(rows)), -(-len(rows) // _TEXTS_AT_ONCE))
    answers = torch.cat([answered.batch(at)[TEACHER + LOGITS] for at in some]).numpy()
    windows = [len(encoding.rows) for encoding in validation.encodings]
    teacher = torch.from_numpy(corpus.student.long_texts.pool(answers, windows))
    temperature, multi_label = corpus.config.temperature, is_multi_label(corpus.student.task)
    return lambda logits: float(soft_labels(torch.from_numpy(logits), teacher, temperature, multi_label=multi_label))


def _outputs(
    teachers: Sequence[Digested], corpus: Corpus, own: Encodings, wanted: frozenset[str], rows: Rows
) -> tuple[TeacherOutputs | None, str]:
    """What teaches: the ``wanted`` states of the texts ``rows``, if any are, and a digest of who gives them.

    ``own`` is the corpus as the student reads it. The logits are those of all teachers, or answers made elsewhere; the
    other states are the first teacher's.
    """
    answers, multi_label = corpus.answers, is_multi_label(corpus.student.task)
    of_first = wanted - {LOGITS} if answers else wanted
    asked = [of_first, *(of_first & {LOGITS} for _ in teachers[1:])]
    digests = [digest for (_, digest), some in zip(teachers, asked, strict=True) if some]
    states = [_states_of(teachers, number, corpus, own, some, rows) for number, some in enumerate(asked) if some]
    outputs = MeanOutputs(states, multi_label) if len(states) > 1 else next(iter(states), None)
    if answers and LOGITS in wanted:
        answered = _answered(answers, corpus, rows)
        outputs = AnswerOutputs(answered, multi_label, outputs)
        digests.append(hashlib.sha256(answered.tobytes()).hexdigest())
    return outputs, "+".join(digests)


def _states_of(
    teachers: Sequence[Digested], number: int, corpus: Corpus, own: Encodings, asked: frozenset[str], rows: Rows
) -> TeacherOutputs:
    """Those that are ``asked`` of teacher ``number``."""
    (teacher, digest), student, config = teachers[number], corpus.student, corpus.config
    its = corpus.read_by(teacher, own, number)
    require_same_positions(teacher, its, student, own, asked, config.command)
    return teacher_outputs(teacher, digest, its, student.labels, asked, config, corpus.name, rows)


def _answered(answers: Answers, corpus: Corpus, rows: Rows) -> Probabilities:
    """The answers made elsewhere to all texts, in the order of the student's labels; the data have another."""
    config = corpus.config
    order = [corpus.data.labels.index(label) for label in corpus.student.labels]
    answered = answers.probabilities(corpus.texts())[:, order]
    if config.loss is not None and np.isnan(answered[rows]).any():
        raise CompressError(
            f"{config.command}.loss reads the teacher's logits of every text, but some texts have no answer in the "
            "teacher_answers; answer them all, or leave out the loss"
        )
    return answered

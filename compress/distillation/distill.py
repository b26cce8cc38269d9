"""distill: train a student to answer, and where it is told so to think, as the teacher does."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.config import DistillationConfig
from compress.data import Dataset
from compress.distillation.augment import augmented
from compress.distillation.corpus import build_corpus
from compress.distillation.objective import Distillation
from compress.distillation.students import check_tokenizers
from compress.distillation.teacher import answers
from compress.distillation.teacher_cache.cache import teacher_digest
from compress.distillation.unlabeled import read_unlabeled
from compress.distillation.vocabularies import has_table_of, require_same_positions, same_tokens
from compress.modeling.checkpoint import Checkpoint
from compress.runtime.encoding import Text, TextEncoder
from compress.task import is_multi_label
from compress.training.batches import Examples
from compress.training.checkpointing import RunFiles
from compress.training.encodings import Encodings
from compress.training.finetune import encode
from compress.training.loop import train
from compress.training.validator import TrainingResult


def distill(
    teacher: Checkpoint,
    student: Checkpoint,
    data: Dataset,
    config: DistillationConfig,
    run_files: RunFiles,
    text_columns: Sequence[str] = (),
) -> TrainingResult:
    """Train ``student``, in place, on the teacher's states and the data's labels, as ``config`` weighs them.

    The teacher reads each text once, whatever the number of epochs, students and runs.

    Args:
        teacher: a classifier with the student's labels, in any order, and its tokenizer, which may know more tokens.
        student: any BERT classifier.
        data: texts and labels.
        config: losses and their weights, more texts, and the training's settings.
        run_files: where the training keeps its diary and checkpoints.
        text_columns: of ``config.unlabeled``, where its names are not the usual ones.
    """
    check_tokenizers(teacher, student)
    config = _with_frozen_embeddings(config, teacher, student)
    objective = Distillation(student.model, teacher.model, config, multi_label=is_multi_label(student.task))
    labelled = encode(student, data.train)
    run_files = replace(run_files, inputs=teacher_digest(teacher))
    with TemporaryDirectory(dir=run_files.folder) as folder:  # there a killed process's is swept up

        def with_more(known: Encodings, encoder: TextEncoder, name: str) -> Encodings:
            return build_corpus(known, _more_texts(student, data, config, text_columns), encoder, Path(folder) / name)

        own = its = with_more(labelled.encodings, student.encoder, "student")
        if not same_tokens(teacher, student):
            encoder = TextEncoder(teacher.tokenizer.backend_tokenizer, student.max_length)
            its = with_more(Encodings.pack(encoder(data.train.texts)), encoder, "teacher")
            require_same_positions(teacher, its, student, own, objective.teacher_wanted, config.command)
        train_set = Examples(own, labelled.targets)
        if objective.teacher_wanted:
            train_set = train_set.with_answers(answers(teacher, its, student.labels, objective.teacher_wanted, config))
        training = train(student, train_set, encode(student, data.validation), objective, config, run_files)
    teacher.model.cpu()  # it may have run beside the student on a GPU; whoever gave it may go on with it
    return training


def _more_texts(
    student: Checkpoint, data: Dataset, config: DistillationConfig, text_columns: Sequence[str]
) -> Iterator[Text]:
    """Texts without labels, for the teacher to label."""
    mask = str(student.tokenizer.mask_token)
    altered = augmented(data.train.texts, config.augment, mask, config.seed) if config.augment else ()
    unlabeled = read_unlabeled(config.unlabeled, text_columns, data.pairs) if config.unlabeled else ()
    return chain(altered, unlabeled)


def _with_frozen_embeddings(config: DistillationConfig, teacher: Checkpoint, student: Checkpoint) -> DistillationConfig:
    """Where nothing is said, leave a table as it is that the teacher has trained already."""
    if config.freeze_embeddings is not None:
        return config
    return config.model_copy(update={"freeze_embeddings": has_table_of(teacher, student)})

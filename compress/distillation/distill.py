"""distill: train a student to answer as its teacher does, and to have the same states if the settings say so."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.config import DistillationConfig
from compress.data import Dataset
from compress.distillation.objective import Distillation
from compress.distillation.students import check_tokenizers, has_table_of, require_same_positions, same_tokens
from compress.distillation.teacher_cache.cache import Cache, teacher_digest
from compress.distillation.teacher_cache.outputs import (
    CachedOutputs,
    LiveOutputs,
    TeacherForward,
    precompute,
    widths_of,
)
from compress.distillation.teacher_cache.shard import LOGITS, size_bytes
from compress.distillation.texts import augmented, build_corpus, read_unlabeled
from compress.machine import cache_root
from compress.modeling.checkpoint import Checkpoint
from compress.progress import say
from compress.runtime.encoding import Text, TextEncoder
from compress.task import is_multi_label
from compress.training.batches import Encodings, Examples, TeacherOutputs
from compress.training.finetune import EncodedSplits
from compress.training.loop import train
from compress.training.run_files import RunFiles
from compress.training.validator import TrainingResult


def distill(
    teacher: Checkpoint,
    student: Checkpoint,
    data: Dataset,
    config: DistillationConfig,
    run_files: RunFiles,
    text_columns: Sequence[str] = (),
    encoded: EncodedSplits | None = None,
) -> TrainingResult:
    """Train ``student`` in place on the teacher's states and the data's labels, weighted as ``config`` says.

    The teacher reads each text once for all epochs, students and runs. It has the student's labels, in any order, and
    its tokenizer, which may know more tokens. ``text_columns`` are those of ``config.unlabeled``; ``encoded`` is the
    data as the student reads it, if the caller has it.
    """
    check_tokenizers(teacher, student)
    if config.freeze_embeddings is None:  # by default the teacher's own embeddings are not trained
        config = config.model_copy(update={"freeze_embeddings": has_table_of(teacher, student)})
    objective = Distillation(student.model, teacher.model, config, multi_label=is_multi_label(student.task))
    encoded, digest = encoded or EncodedSplits.of(student, data), teacher_digest(teacher)
    with TemporaryDirectory(dir=run_files.folder) as folder:  # if the process is killed, it goes with the step's folder

        def with_more_texts(known: Encodings, encoder: TextEncoder, name: str) -> Encodings:
            return build_corpus(known, _more_texts(student, data, config, text_columns), encoder, Path(folder) / name)

        own = its = with_more_texts(encoded.train.encodings, student.encoder, "student")
        if not same_tokens(teacher, student):
            encoder = replace(teacher, max_length=student.max_length).encoder
            its = with_more_texts(Encodings.pack(encoder(data.train.texts)), encoder, "teacher")
            require_same_positions(teacher, its, student, own, objective.teacher_wanted, config.command)
        wanted = objective.teacher_wanted
        outputs = teacher_outputs(teacher, digest, its, student.labels, wanted, config) if wanted else None
        train_set = Examples(own, encoded.train.targets, outputs)
        run_files = replace(run_files, inputs=digest)
        result = train(student, train_set, encoded.validation, objective, config, run_files)
    teacher.model.cpu()  # it may have run on a GPU beside the student, and the caller may use it again
    return result


def teacher_outputs(
    teacher: Checkpoint,
    digest: str,
    encodings: Encodings,
    labels: tuple[str, ...],
    wanted: frozenset[str],
    config: DistillationConfig,
) -> TeacherOutputs:
    """The teacher's logits and its ``wanted`` states for each text.

    States of up to ``config.cache_gb`` are computed once for each text, by the first run that needs them, and read from
    disk after that. If they take more, the teacher reads each batch during the training.

    ``digest`` is that of the teacher; ``encodings`` are the texts as the teacher's tokenizer reads them; ``labels`` are
    the student's, the same set as the teacher's, in the order of the logits' columns.

    Raises:
        CompressError: the teacher has no such state, its states are not finite, or the cache cannot be written.
    """
    forward = TeacherForward.of(teacher.model, config)
    order = [teacher.labels.index(label) for label in labels]
    widths = widths_of(teacher.model, {LOGITS, *wanted})
    hidden_gb = size_bytes(widths, 0, int(encodings.offsets[-1])) / 1e9
    if hidden_gb > config.cache_gb:
        say(
            f"teacher: answers each batch as it comes; its hidden states would take {hidden_gb:.2g} GB, "
            f"which is above --cache-gb {config.cache_gb:g}"
        )
        return LiveOutputs(forward.ready(), frozenset(widths), order, encodings)
    cache = Cache(cache_root(config.teacher_cache), digest, forward.precision)
    return CachedOutputs(precompute(forward, encodings, widths, cache), order)


def _more_texts(
    student: Checkpoint, data: Dataset, config: DistillationConfig, text_columns: Sequence[str]
) -> Iterator[Text]:
    """Texts without labels, for the teacher to label."""
    mask = str(student.tokenizer.mask_token)
    altered = augmented(data.train.texts, config.augment, mask, config.seed) if config.augment else ()
    unlabeled = read_unlabeled(config.unlabeled, text_columns, data.pairs) if config.unlabeled else ()
    return chain(altered, unlabeled)

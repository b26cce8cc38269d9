"""The texts that a student learns from, as the student and each of its teachers read them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from compress.config import DistillationConfig
from compress.data import Dataset
from compress.distillation.answers import Answers
from compress.distillation.students import same_tokens, split_alike
from compress.distillation.texts import augmented, build_corpus, read_unlabeled
from compress.errors import CompressError
from compress.families.tokenizers.smaller import ids_in
from compress.modeling.checkpoint import Checkpoint
from compress.paths import local_path
from compress.runtime.encoding import Text
from compress.training.batches import Encodings


@dataclass(frozen=True)
class Corpus:
    """The texts of the train split, and more without labels: unlabeled ones and altered copies.

    With ``answers``, only unlabeled texts that have an answer are taken. ``folder`` gets files that must stay as long
    as the encodings are read. ``name`` is what messages call the texts.
    """

    student: Checkpoint
    data: Dataset
    config: DistillationConfig
    text_columns: Sequence[str]
    answers: Answers | None
    folder: Path
    name: str = "texts"

    def texts(self) -> Iterator[Text]:
        """All texts, in the order of the encodings; a text in windows comes once for each window."""
        texts = chain(self.data.train.texts, self._more_again(self.student))
        if self.student.long_texts.mode != "windows":
            return texts
        encoder = self.student.training_encoder
        return chain.from_iterable([text] * len(encoder([text])[0].rows) for text in texts)

    def read_by_student(self, labelled: Encodings) -> Encodings:
        """The encodings of all texts; ``labelled`` are those of the train split."""
        return build_corpus(labelled, self._more(self.student), self.student.training_encoder, self.folder / "student")

    def read_by(self, teacher: Checkpoint, own: Encodings, number: int) -> Encodings:
        """The encodings of all texts by the teacher's tokenizer; ``own`` are the student's, whose windows it reads."""
        alike = split_alike(teacher, self.student)
        limit = min(teacher.max_length, self.student.max_length) if alike else teacher.max_length
        if alike and limit == self.student.max_length and same_tokens(teacher, self.student):
            return own
        if self.student.long_texts.mode == "windows":
            if not alike or limit < self.student.max_length:
                raise CompressError(
                    f"{teacher.source}: cannot read the windows of {self.student.source}, whose tokenizer or "
                    "max_length is another; take a teacher with the student's, or long_texts head"
                )
            return replace(own, ids=ids_in(teacher.tokenizer, self.student.tokenizer)[own.ids].astype(np.int32))
        encoder = replace(teacher, max_length=limit, long_texts=self.student.long_texts).encoder
        labelled = Encodings.pack(encoder(self.data.train.texts))
        return build_corpus(labelled, self._more_again(teacher), encoder, self.folder / f"teacher-{number}")

    def _more_again(self, reader: Checkpoint) -> Iterator[Text]:
        unlabeled = self.config.unlabeled
        if unlabeled and not local_path(unlabeled).is_file():
            raise CompressError(
                f"--unlabeled {unlabeled}: is no file; teacher_answers, and a teacher with another tokenizer or a "
                "smaller max_length, need its texts more than once, save it"
            )
        return self._more(reader)

    def _more(self, reader: Checkpoint) -> Iterator[Text]:
        config = self.config
        if config.augment:
            mask, reader_mask = _mask_token(self.student), _mask_token(reader)
            altered = augmented(self.data.train.texts, config.augment, mask, config.seed)
            yield from (_replaced(text, mask, reader_mask) for text in altered)
        for text in read_unlabeled(config.unlabeled, self.text_columns, self.data.pairs) if config.unlabeled else ():
            if self.answers is None or text in self.answers.by_text:
                yield text


def _mask_token(reader: Checkpoint) -> str:
    if reader.tokenizer.mask_token is None:
        raise CompressError(
            f"{reader.source}: its tokenizer has no mask token, which altered copies need; leave out --augment"
        )
    return str(reader.tokenizer.mask_token)


def _replaced(text: Text, old: str, new: str) -> Text:
    return text.replace(old, new) if isinstance(text, str) else (text[0].replace(old, new), text[1].replace(old, new))

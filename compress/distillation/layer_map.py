"""Which teacher layer each student layer imitates; layers are counted from 0."""

from compress.config import DistillationConfig
from compress.errors import CompressError


def layer_map(config: DistillationConfig, student_layers: int, teacher_layers: int) -> list[int]:
    """One teacher layer a student layer: those asked for, else evenly spaced ones, the last imitating the last.

    Raises:
        CompressError: another number of layers than the student has, or one that the teacher has not.
    """
    asked = config.layer_map
    if asked is None:  # a student deeper than its teacher has layers below the teacher's first share
        return [max(0, (layer + 1) * teacher_layers // student_layers - 1) for layer in range(student_layers)]
    if len(asked) != student_layers or max(asked) >= teacher_layers:
        raise CompressError(
            f"{config.command}.layer_map must name {student_layers} teacher layers, one for each student layer, "
            f"from 0 to {teacher_layers - 1}, got {','.join(map(str, asked))}"
        )
    return asked


def relation_layer(config: DistillationConfig, teacher_layers: int) -> int:
    """The teacher layer whose relations the student's last layer takes.

    Raises:
        CompressError: the teacher has no such layer.
    """
    asked = teacher_layers - 1 if config.relation_layer is None else config.relation_layer
    if asked >= teacher_layers:
        raise CompressError(
            f"{config.command}.relation_layer must be a teacher layer from 0 to {teacher_layers - 1}, got {asked}"
        )
    return asked

"""A table in 4 bits: two integers in a byte, and a scale for each column.

Most of a small model is its table of words, of which a text needs a few rows. A row's two halves share its bytes: the
byte is 16 times an integer of the second half plus one of the first. As integers go from -7 to 7, the nearest multiple
of 16 tells them apart, so stock operators on floats read them exactly; ONNX Runtime's own operator for such tables
(GatherBlockQuantized) took a quarter of a small model's time.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from compress.graph.writer import Constants

Floats = npt.NDArray[np.float32]

_LARGEST = 7
_IN_A_BYTE = 16
# Where to clip, besides the largest number: times the root mean square of a column, 2.5 being best for normal numbers.
_CLIPS = np.linspace(1, 5, 17)
_MOST_ROWS = 20_000  # to choose by


def quantize_to_int4(table: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """The packed integers and the scales of a table ``[rows, columns]`` in symmetric int4 by column.

    Integers are ``[rows, columns / 2]``, scales ``[columns]``. Each column is clipped where the squared error is
    smallest (as OCTAV, Sakr et al. 2022, does by iteration): a few large numbers would leave most others one integer.
    """
    scale = _best_scales(table[:: -(-len(table) // _MOST_ROWS)])
    first, second = np.split(_integers(table, scale).astype(np.int8), 2, axis=1)
    return _IN_A_BYTE * second + first, scale


def lookup_int4(node: onnx.NodeProto, table: Floats, constants: Constants) -> Iterator[onnx.NodeProto]:
    """The nodes that take the place of ``node``, a Gather of rows from ``table``; adds their constants."""
    (name, ids), (result,) = node.input, node.output
    integers, scale = quantize_to_int4(table)
    scale[: len(scale) // 2] *= _IN_A_BYTE  # the first half is read as a fraction of a byte's 16
    packed, part = f"{name}.int4", f"{name}.int4_part"
    constants |= {packed: integers, f"{name}.scale": scale, part: np.array(1 / _IN_A_BYTE, np.float32)}
    taken, floats, pair, second, first, halves = (
        f"{result}.{ending}" for ending in ("int4", "float", "pair", "second", "first", "halves")
    )
    yield helper.make_node("Gather", [packed, ids], [taken], name=taken)
    yield helper.make_node("Cast", [taken], [floats], name=floats, to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [floats, part], [pair], name=pair)
    yield helper.make_node("Round", [pair], [second], name=second)
    yield helper.make_node("Sub", [pair, second], [first], name=first)
    yield helper.make_node("Concat", [first, second], [halves], name=halves, axis=-1)
    yield helper.make_node("Mul", [halves, f"{name}.scale"], [result], name=result)


def _best_scales(table: Floats) -> Floats:
    peak, size = np.abs(table).max(axis=0), np.sqrt(np.square(table).mean(axis=0))
    best: Floats = np.ones_like(peak)
    least = np.full_like(peak, np.inf)
    for clip in (peak, *(times * size for times in _CLIPS)):
        scale = (np.where(peak == 0, 1, np.minimum(clip, peak)) / _LARGEST).astype(np.float32)
        error = np.square(_integers(table, scale) * scale - table).sum(axis=0)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best


def _integers(table: Floats, scale: Floats) -> Floats:
    integers: Floats = np.clip(np.rint(table / scale), -_LARGEST, _LARGEST)
    return integers

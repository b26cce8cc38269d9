"""A classifier in an ONNX file that another program wrote, with its tokenizer and config.json.

The layout is that of optimum and the Hub: the file lies beside the other two or in a folder ``onnx`` there.
"""

from collections import Counter
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from compress.durable import parse_json
from compress.errors import CompressError
from compress.families import FAMILIES
from compress.folder import MANIFEST
from compress.formatting import some
from compress.modeling.label_names import labels_of, task_of
from compress.runtime.encoding import Feeds, TextEncoder
from compress.runtime.graph_file import INPUTS, OUTPUT, activations_of
from compress.runtime.predictor import Logits, batch_tokens_of

_WEIGHTS = ("*.safetensors", "pytorch_model*")
_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
# Precisions by TensorProto.DataType.
_FLOATS = {1: "fp32", 10: "fp16", 16: "bf16"}
_INTEGERS = {2: "int8", 3: "int8", 21: "int4", 22: "int4"}
_NO_LIMIT = 10**6  # the model_max_length of a tokenizer without a limit is larger


def find_foreign(path: Path) -> Path | None:
    """The ONNX file that ``path`` is or holds; None for a folder of ours, and for one with PyTorch's weights.

    Raises:
        CompressError: the folder has several.
    """
    if path.suffix == ".onnx" and path.is_file():
        return path
    if (path / MANIFEST).is_file() or any(any(path.glob(pattern)) for pattern in _WEIGHTS):
        return None
    files = sorted([*path.glob("*.onnx"), *path.glob("onnx/*.onnx")])
    if len(files) > 1:
        raise CompressError(f"{path}: has several ONNX files; give one of them: {some(list(map(str, files)))}")
    return files[0] if files else None


class ForeignOnnx:
    """Runs the graph in onnxruntime; labels and maximum length come from the files beside it."""

    backend = "onnxruntime"

    def __init__(self, graph: Path, threads: int, provider: str) -> None:
        from compress.runtime.session import open_session

        self._graph = graph
        home = next((place for place in (graph.parent, graph.parent.parent) if (place / "config.json").is_file()), None)
        if home is None:
            raise CompressError(f"{graph}: has no config.json beside it or above, which names its labels; put it there")
        config = _read_json(home / "config.json")
        self.labels, self.task = _labels_and_task(config, str(home))
        about = read_foreign(graph)
        # With its weights inside, as its users load it. Some of onnxruntime's fusions need them there: it cannot load a
        # graph of quantize_dynamic's if a bias stays in the file.
        self._session = open_session(graph, threads, provider, mapped=False)
        self._types, self._output = self._check_signature()
        self.encoder = TextEncoder.from_file(home / "tokenizer.json", _max_length(home, config))
        self.precision = about.precision
        self.batch_tokens = batch_tokens_of(about.operators)
        self.parameters = about.numbers.total()
        self.size_bytes = sum(file.stat().st_size for file in (graph, *about.files_beside))
        self.provider: str | None = self._session.get_providers()[0]

    def run(self, feeds: Feeds) -> Logits:
        """Logits, float32 ``[batch, labels]``."""
        read = {name: feeds[name].astype(kind, copy=False) for name, kind in self._types.items()}
        logits: Logits = np.asarray(self._session.run([self._output], read)[0], dtype=np.float32)
        if logits.shape != (texts := len(feeds["input_ids"]), len(self.labels)):
            raise CompressError(
                f"{self._graph}: answers {texts} texts in the shape {list(logits.shape)}, but config.json names "
                f"{len(self.labels)} labels; give a classifier's graph with its own config.json"
            )
        return logits

    def _check_signature(self) -> tuple[dict[str, Any], str]:
        """The types of the inputs by name, and the name of the output."""
        reads = {value.name: value.type for value in self._session.get_inputs()}
        answers = [value.name for value in self._session.get_outputs()]
        unknown = sorted(name for name, kind in reads.items() if name not in INPUTS or kind not in _TYPES)
        if unknown or (OUTPUT not in answers and len(answers) != 1):
            raise CompressError(
                f"{self._graph}: reads {', '.join(sorted(reads))} and answers {', '.join(answers)}; a classifier reads "
                f"whole numbers named {', '.join(INPUTS)}, and answers {OUTPUT}"
            )
        types = {name: _TYPES[kind] for name, kind in reads.items()}
        return types, OUTPUT if OUTPUT in answers else answers[0]


class Foreign(NamedTuple):
    """Facts about another program's graph.

    Attributes:
        operators: their ONNX names.
        numbers: how many numbers its weights have, in other files too, by TensorProto.DataType.
        files_beside: the files that hold weights outside the graph itself.
    """

    operators: set[str]
    numbers: Counter[int]
    files_beside: list[Path]

    @property
    def precision(self) -> str:
        """The precision, from the operators and the types of the weights; ``unknown`` if weights are packed."""
        if activations_of(self.operators) is not None:
            return "int8"
        if integers := {_INTEGERS[kind] for kind in self.numbers if kind in _INTEGERS}:
            return integers.pop() if len(integers) == 1 and "DequantizeLinear" in self.operators else "unknown"
        most = max((kind for kind in self.numbers if kind in _FLOATS), key=self.numbers.__getitem__, default=None)
        return "unknown" if most is None else _FLOATS[most]


def read_foreign(path: Path) -> Foreign:
    """Facts about any program's ONNX file; CompressError if it is not a whole ONNX file."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except DecodeError:
        raise CompressError(f"{path}: not a whole ONNX file, truncated or a Git LFS pointer; get it again") from None
    numbers: Counter[int] = Counter()
    for weight in graph.initializer:
        numbers[weight.data_type] += prod(weight.dims)
    names = {entry.value for weight in graph.initializer for entry in weight.external_data if entry.key == "location"}
    return Foreign({node.op_type for node in graph.node}, numbers, [path.parent / name for name in sorted(names)])


def _labels_and_task(config: dict[str, Any], source: str) -> tuple[tuple[str, ...], str]:
    try:
        names = {int(index): name for index, name in config["id2label"].items()}
    except (KeyError, ValueError, AttributeError):
        raise CompressError(f"{source}: config.json has no id2label, which names the labels; add it") from None
    head = SimpleNamespace(id2label=names, label2id=config.get("label2id"), problem_type=config.get("problem_type"))
    return labels_of(head, source), task_of(head)


def _max_length(home: Path, config: dict[str, Any]) -> int:
    """The most tokens that the model takes: the lower of the tokenizer's limit and the network's positions."""
    about = home / "tokenizer_config.json"
    limit = _read_json(about).get("model_max_length") if about.is_file() else None
    positions = config.get("max_position_embeddings")
    family = FAMILIES.get(str(config.get("model_type")))
    if positions and family and family.counts_tokens:
        positions -= (config.get("pad_token_id") or 0) + 1
    known = [int(length) for length in (limit, positions) if length and length < _NO_LIMIT]
    if not known:
        raise CompressError(
            f"{home}: neither tokenizer_config.json (model_max_length) nor config.json (max_position_embeddings) says "
            "how many tokens the model takes; add one of them"
        )
    return min(known)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CompressError(f"{path}: cannot be read as JSON ({error}); get the model again") from None
    if not isinstance(content, dict):
        raise CompressError(f"{path}: holds no JSON object; get the model again")
    return content

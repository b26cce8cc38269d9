"""An ONNX folder of ours laid out for others to run: as a single file, or in the places where a server looks."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from compress.errors import CompressError
from compress.folder import Manifest
from compress.packaging.layout import copy_side_files
from compress.runtime.graph_file import FP32_GRAPH, INT8_GRAPH, OUTPUT, graph_inputs

_TRITON_INPUT = '  {{ name: "{name}" data_type: TYPE_INT64 dims: [ -1 ] }}'
# Triton's protobuf text format (model_config.proto). Without a name, which Triton takes from the folder, so that it may
# be renamed. The server batches requests of one shape only, so nothing is padded.
_TRITON_CONFIG = """# Token ids in, logits out; the tokenizer is beside this file, texts are cut at {max_length} tokens.
backend: "onnxruntime"
max_batch_size: 64
input [
{inputs}
]
output [
  {{ name: "{output}" data_type: TYPE_FP32 dims: [ {labels} ] label_filename: "labels.txt" }}
]
{batching}
# One thread an instance: set count to the number of cores.
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
parameters {{ key: "intra_op_thread_count" value: {{ string_value: "1" }} }}
parameters {{ key: "inter_op_thread_count" value: {{ string_value: "1" }} }}
"""
_BATCHING = "dynamic_batching { max_queue_delay_microseconds: 1000 }"
_ALONE = "# No dynamic_batching: in int8 a text's scores shift with what shares its batch."


def single_file(parent: Path, manifest: Manifest, folder: Path) -> Path:
    """One ONNX file, the tokenizer inside: see :mod:`compress.packaging.single_file`."""
    import onnx
    from tokenizers import Tokenizer

    from compress.packaging.single_file import with_tokenizer

    network = onnx.load(_graph(parent))
    tokenizer = Tokenizer.from_file(str(parent / "tokenizer.json"))
    graph = folder / "model.onnx"
    onnx.save(with_tokenizer(network, tokenizer, manifest), graph)
    return graph


def tei(parent: Path, manifest: Manifest, folder: Path) -> Path:
    """What Hugging Face's text-embeddings-inference opens with ``--model-id DIR``, in its builds for CPUs.

    It reads ``onnx/model.onnx`` whatever the precision, ``config.json`` for the labels, ``tokenizer.json``; and the
    length at which texts are cut from sentence-transformers' file, without which it would be the position table's.
    """
    graph = folder / FP32_GRAPH
    graph.parent.mkdir()
    shutil.copyfile(_graph(parent), graph)
    copy_side_files(parent, folder)
    limits = {"max_seq_length": manifest.max_length, "do_lower_case": False}  # the tokenizer lower-cases by itself
    (folder / "sentence_bert_config.json").write_text(json.dumps(limits, indent=2) + "\n", encoding="utf-8")
    return graph


def triton(parent: Path, manifest: Manifest, folder: Path) -> Path:
    """A model repository for NVIDIA's Triton, whose only model may be renamed or moved into another repository."""
    model, source = folder / "classifier", _graph(parent)
    graph = model / "1" / "model.onnx"
    graph.parent.mkdir(parents=True)
    shutil.copyfile(source, graph)
    copy_side_files(parent, model)
    (model / "labels.txt").write_text("".join(f"{label}\n" for label in manifest.labels), encoding="utf-8")
    config = _TRITON_CONFIG.format(
        max_length=manifest.max_length,
        inputs=",\n".join(_TRITON_INPUT.format(name=name) for name in graph_inputs(graph)),
        output=OUTPUT,
        labels=len(manifest.labels),
        batching=_ALONE if source == parent / INT8_GRAPH else _BATCHING,
    )
    (model / "config.pbtxt").write_text(config, encoding="utf-8")
    return graph


def _graph(parent: Path) -> Path:
    """The int8 graph of a folder that has one, else the fp32 one."""
    for graph in (parent / INT8_GRAPH, parent / FP32_GRAPH):
        if graph.is_file():
            return graph
    raise CompressError(f"{parent}: has no fp32 or int8 graph to lay out; give the fp32 ONNX folder, int8 or PyTorch")


# (ONNX folder of ours, its manifest, folder to write into) -> the graph that was written.
PACKAGES: Mapping[str, Callable[[Path, Manifest, Path], Path]] = {
    "single_file": single_file,
    "tei": tei,
    "triton": triton,
}

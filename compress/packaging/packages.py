"""An ONNX folder of ours laid out for others to run: as a single file, or where a server looks for things."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from compress.errors import CompressError
from compress.folder import Manifest
from compress.packaging.layout import FP32_GRAPH, INT8_GRAPH, SINGLE_FILE, copy_side_files
from compress.packaging.triton import LABELS, MODEL, model_config

# What each layout's function reports, for the manifest.
Metrics = dict[str, int]


def single_file(parent: Path, manifest: Manifest, folder: Path) -> Metrics:
    """One ONNX file, the tokenizer inside: see :mod:`compress.packaging.single_file`."""
    import onnx
    from tokenizers import Tokenizer

    from compress.packaging.single_file import with_tokenizer

    network = onnx.load(_graph(parent))
    tokenizer = Tokenizer.from_file(str(parent / "tokenizer.json"))
    onnx.save(with_tokenizer(network, tokenizer, manifest), folder / SINGLE_FILE)
    return {"bytes": (folder / SINGLE_FILE).stat().st_size}


def tei(parent: Path, manifest: Manifest, folder: Path) -> Metrics:
    """What Hugging Face's text-embeddings-inference opens with ``--model-id DIR``, in its builds for CPUs.

    It reads ``onnx/model.onnx`` whatever the precision, ``config.json`` for the labels, ``tokenizer.json``; and the
    length at which texts are cut from sentence-transformers' file, without which it would be the position table's.
    """
    (folder / FP32_GRAPH).parent.mkdir()
    shutil.copyfile(_graph(parent), folder / FP32_GRAPH)
    copy_side_files(parent, folder)
    limits = {"max_seq_length": manifest.max_length, "do_lower_case": False}  # the tokenizer lower-cases by itself
    (folder / "sentence_bert_config.json").write_text(json.dumps(limits, indent=2) + "\n", encoding="utf-8")
    return {"bytes": (folder / FP32_GRAPH).stat().st_size}


def triton(parent: Path, manifest: Manifest, folder: Path) -> Metrics:
    """A model repository for NVIDIA's Triton, whose only model may be renamed or moved into another repository."""
    model = folder / MODEL
    (model / "1").mkdir(parents=True)
    graph = _graph(parent)
    shutil.copyfile(graph, model / "1" / "model.onnx")
    copy_side_files(parent, model)
    (model / LABELS).write_text("".join(f"{label}\n" for label in manifest.labels), encoding="utf-8")
    config = model_config(manifest, int8=graph.name == Path(INT8_GRAPH).name)
    (model / "config.pbtxt").write_text(config, encoding="utf-8")
    return {"bytes": graph.stat().st_size}


def _graph(parent: Path) -> Path:
    """The int8 graph of a folder that has one, else the fp32 one."""
    graph = next((path for path in (parent / INT8_GRAPH, parent / FP32_GRAPH) if path.is_file()), None)
    if graph is None:
        raise CompressError(
            f"{parent}: has no fp32 or int8 graph to lay out; give the fp32 ONNX folder, int8 or PyTorch"
        )
    return graph


PACKAGES: Mapping[str, Callable[[Path, Manifest, Path], Metrics]] = {
    "single_file": single_file,
    "tei": tei,
    "triton": triton,
}

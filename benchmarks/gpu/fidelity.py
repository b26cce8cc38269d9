"""Parts that compare answers: half precision's logits with fp32's, and what onnxruntime makes of the graph."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.attentions import ATTENTIONS
from benchmarks.gpu.material import ragged_batch
from benchmarks.gpu.serving import Emit, fixed_load, reason_of, sst2_loads
from benchmarks.gpu.setting import Setting, sst2_lengths
from benchmarks.gpu.timing import median_ms
from benchmarks.gpu.ways import Padded, Unpadded, Way, load_model
from compress.runtime.encoding import Feeds

_TEXTS = 256


def logits(setting: Setting, emit: Emit, _: float) -> None:
    """Each precision and attention against fp32 eager on the same texts, for every model.

    ``off_by`` is the largest difference of a logit, ``spread`` the standard deviation of fp32's own over the texts: the
    weights are random, so the difference says something only beside it. The last row of a model is fp32 on the CPU.
    """
    ways: list[Way] = [Padded(precision) for precision in setting.precisions[1:]]
    # On a GPU FlexAttention's kernels take longer to compile than all else here takes to run.
    left_out = "flex" if setting.on_gpu else "flash"
    attentions = [name for name in ATTENTIONS if name != left_out]
    ways += [
        Unpadded("fp32", "grouped"),
        *(Unpadded(precision, name) for precision in setting.half for name in attentions),
    ]
    for name, shape in setting.shapes.items():
        model = load_model(setting.folder / name)
        texts = _TEXTS if setting.on_gpu else 8
        feeds = ragged_batch(sst2_lengths(texts, shape.positions), shape.vocabulary)
        exact = _answers(Padded("fp32"), model, setting.device, feeds)
        for way in ways:
            try:
                emit({"model": name, "way": way.name} | _compare(exact, _answers(way, model, setting.device, feeds)))
            except Exception as error:  # noqa: BLE001 - one way that fails must not take the others with it
                emit({"model": name, "way": way.name, "reason": reason_of(error)})
        emit({"model": name, "way": "eager fp32, CPU"} | _compare(exact, _answers(Padded("fp32"), model, "cpu", feeds)))


def _answers(way: Way, model: Any, device: str, feeds: Feeds) -> Any:
    with torch.inference_mode():
        return way.opened(model, device)(feeds)[1]()


def _compare(exact: Any, found: Any) -> dict[str, float]:
    return {
        "off_by": float(np.abs(found - exact).max()),
        "spread": float(exact.std(axis=0).max()),
        "same_answers": float((found.argmax(axis=1) == exact.argmax(axis=1)).mean()),
    }


def onnxruntime(setting: Setting, emit: Emit, _: float, model: str) -> None:
    """The exported graph in fp32 and fp16 on the CUDA provider, from ids to logits, where onnxruntime has it."""
    import onnxruntime as ort

    from compress.graph.build import graph_of
    from compress.graph.fp16 import to_fp16
    from compress.runtime.session import open_session

    provider = "CUDA" if setting.on_gpu else "CPU"
    emit({"available": ort.get_available_providers(), "version": ort.__version__})
    fp32 = graph_of(load_model(setting.folder / model))
    for precision, graph in {"fp32": fp32, "fp16": to_fp16(fp32)}.items():
        row = {"model": model, "way": f"onnxruntime {provider} {precision}"}
        path = Path(setting.folder, f"{model}-{precision}.onnx")
        path.write_bytes(graph.SerializeToString())
        try:
            session = open_session(path, 1, provider)  # refuses a provider that the session does not run on
        except Exception as error:  # noqa: BLE001 - most builds of onnxruntime lack the provider
            emit(row | {"reason": reason_of(error)})
            continue
        full = fixed_load(setting, model, setting.batches[-2], setting.lengths[-1])
        for load in (*sst2_loads(setting, model), full):
            calls = [partial(session.run, ["logits"], feeds) for feeds in load.feeds]
            ms = median_ms(calls, "cpu", setting.figure_s)  # run() returns when the GPU is done
            figures = {"tokens": load.tokens, "whole_ms": ms, "whole_texts_per_s": 1000 * load.batch / ms}
            emit(row | {"provider": session.get_providers()[0], "load": load.name, "batch": load.batch} | figures)

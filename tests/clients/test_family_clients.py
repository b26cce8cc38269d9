"""Every family's folder loads unchanged in other runtimes, with a tokenizer of its kind; see test_clients.py."""

from dataclasses import replace
from pathlib import Path

import pytest

from compress.families import FAMILIES
from compress.folder import read_manifest
from compress.runtime.encoding import Text
from compress.runtime.graph_file import FP32_GRAPH, INT8_GRAPH
from compress.task import reads_pairs
from tests.clients.test_clients import answers_of, ask, is_short, need, write_folder
from tests.families.models import ALIKE
from tests.families.test_parity import classifier, real_texts, tokenizer_of

# In its int8 form where the client answers it as ONNX Runtime does here.
CLIENTS = {"onnxruntime": INT8_GRAPH, "optimum": INT8_GRAPH, "transformers.js": INT8_GRAPH, "openvino": FP32_GRAPH}
READ_PAIRS = ("distilbert", "roberta", "camembert", "deberta-v2")  # the others read texts
EACH = [pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in FAMILIES]
TEXTS = 40
pytestmark = pytest.mark.clients


@pytest.fixture(scope="module", params=EACH)
def folder(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pruned model with random weights."""
    tokenizer = tokenizer_of(request.param, shared_data)
    checkpoint = classifier(FAMILIES[request.param], tokenizer, uneven=True)
    if request.param in READ_PAIRS:
        checkpoint = replace(checkpoint, task="pair_single_label")
    return write_folder(checkpoint, tmp_path_factory.mktemp(request.param) / "model")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_gives_our_scores(client: str, folder: Path, shared_data: Path) -> None:
    need(client)
    lines = [text for text in real_texts(shared_data) if len(text) < 150][: 2 * TEXTS]
    pairs = reads_pairs(read_manifest(folder).task)
    texts: list[Text] = list(zip(lines[::2], lines[1::2], strict=True)) if pairs else [*lines[:TEXTS]]
    texts = [text for text in texts if is_short(folder, text)]
    assert len(texts) > TEXTS // 4
    expected = answers_of(folder, CLIENTS[client], texts)
    for scores, answer in zip(ask(client, folder, CLIENTS[client], texts), expected, strict=True):
        assert scores == pytest.approx(answer.scores, abs=1e-3)

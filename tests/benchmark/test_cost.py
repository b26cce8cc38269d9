import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from compress.benchmark.cost import (
    ProductSizes,
    macs_per_text,
    peak_memory_bytes,
    product_sizes,
    sizes_of_graph,
    sizes_of_model,
)
from compress.benchmark.energy import Counter, EnergyMeter, cpu_counters, gpu_counters
from compress.benchmark.rows import Row, open_row
from compress.families import FAMILIES
from compress.graph.build import graph_of
from compress.quantization.dynamic import quantize_weights
from compress.runtime.graph_file import GRAPHS
from tests.families.models import make_model
from tests.tiny import HIDDEN, make_bert, make_feeds, parts

UNEVEN = {"heads": (4, 1, 0, 2), "neurons": (128, 64, 32, 0)}


@pytest.mark.parametrize("shape", [{}, UNEVEN], ids=["whole", "uneven"])
@pytest.mark.parametrize("tokens", [1, 7, 40])
def test_macs_are_half_the_operations_that_pytorch_counts(shape: dict[str, tuple[int, ...]], tokens: int) -> None:
    model = make_bert(**shape, labels=3)  # type: ignore[arg-type]
    model.config._attn_implementation = "eager"
    feeds = {name: torch.from_numpy(array) for name, array in make_feeds(1, tokens).items()}
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        parts(model)(**feeds)
    assert 2 * macs_per_text(sizes_of_model(model), tokens) == counter.get_total_flops()


@pytest.mark.parametrize("int8", [False, True])
def test_a_graph_has_its_models_widths_and_saves_the_last_layers_other_tokens(int8: bool) -> None:
    model = make_bert((4, 1, 2, 3), (128, 64, 32, 96), labels=3)
    graph = graph_of(model)
    graph = quantize_weights(graph) if int8 else graph
    found = sizes_of_graph({each.name: tuple(each.dims) for each in graph.graph.initializer})
    assert found == ProductSizes(HIDDEN, (64, 16, 32, 48), (128, 64, 32, 96), HIDDEN * HIDDEN + 3 * HIDDEN, True)
    whole = ProductSizes(found.hidden, found.attention, found.neurons, found.head, False)
    tokens = 10
    saved = (tokens - 1) * (2 * HIDDEN * 48 + 2 * tokens * 48 + 2 * HIDDEN * 96)
    assert macs_per_text(whole, tokens) - macs_per_text(found, tokens) == saved


def test_layers_without_heads_or_without_an_ffn_are_counted() -> None:
    model = make_bert((4, 1, 0, 3), (0, 64, 32, 0), labels=3)
    found = sizes_of_graph({each.name: tuple(each.dims) for each in graph_of(model).graph.initializer})
    assert found is not None
    assert (found.hidden, found.attention, found.neurons) == (HIDDEN, (64, 16, 0, 48), (0, 64, 32, 0))


@pytest.mark.parametrize("settings", [{}, {"share_att_key": False}, {"pos_att_type": "p2c"}], ids=str)
def test_products_with_distances_are_counted(settings: dict[str, Any]) -> None:
    model = make_model(FAMILIES["deberta-v2"], **settings)
    feeds = {name: torch.ones(1, 20, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    with FlopCounterMode(display=False) as counter, torch.no_grad():  # it fails on tables in inference mode
        parts(model)(**feeds)
    assert 2 * macs_per_text(sizes_of_model(model), 20) == counter.get_total_flops()


def test_a_graph_multiplies_with_the_distances_of_its_text_alone() -> None:
    graph = quantize_weights(graph_of(make_model(FAMILIES["deberta-v2"])))
    found = sizes_of_graph({each.name: tuple(each.dims) for each in graph.graph.initializer})
    assert found is not None
    assert found.projection == 24 * HIDDEN
    without = macs_per_text(replace(found, distances=0), 20)
    assert macs_per_text(found, 20) - without == 2 * HIDDEN * (3 * 20 * 40 + 20)


@pytest.mark.parametrize("fixture", ["shallow_torch", "tiny_onnx"])
def test_a_file_that_lies_beside_a_model_is_not_taken_for_it(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = request.getfixturevalue(fixture)
    found = product_sizes(open_row(Row(model), threads=1), model)
    with_more = tmp_path / "model"
    shutil.copytree(model, with_more)
    (with_more / "onnx").mkdir(exist_ok=True)
    stray = with_more / next(name for name in GRAPHS if not (model / name).exists())
    stray.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert found is not None
    assert product_sizes(open_row(Row(with_more), threads=1), with_more) == found


def test_weights_of_another_model_are_not_guessed_at() -> None:
    assert sizes_of_graph({"dense.weight": (3, 4)}) is None
    assert sizes_of_graph({}) is None


def test_peak_memory_is_of_this_process_alone_and_grows_with_it() -> None:
    code = """
from compress.benchmark.cost import peak_memory_bytes
before = peak_memory_bytes()
held = b"1" * 50_000_000
print(before, peak_memory_bytes())
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    before, after = map(int, printed.split())
    assert 45_000_000 < after - before < 80_000_000
    own = peak_memory_bytes()
    assert own is not None
    assert before < own  # which holds torch


def packages(folder: Path, *energies_uj: int) -> Path:
    for number, energy_uj in enumerate(energies_uj):
        package = folder / f"intel-rapl:{number}"
        (folder / f"intel-rapl:{number}:0").mkdir(parents=True, exist_ok=True)  # a part of the package
        package.mkdir(exist_ok=True)
        (package / "energy_uj").write_text(f"{energy_uj}\n")
        (package / "max_energy_range_uj").write_text("10000000\n")
    return folder


def test_energy_is_of_all_packages_and_survives_a_counter_that_wraps(tmp_path: Path) -> None:
    meter = EnergyMeter(cpu_counters(packages(tmp_path, 1_000_000, 9_000_000)))
    with meter:
        packages(tmp_path, 3_500_000, 500_000)
    packages(tmp_path, 9_000_000, 9_000_000)  # between two turns
    with meter:
        packages(tmp_path, 9_000_000, 9_100_000)
    assert meter.joules == pytest.approx(2.5 + 1.5 + 0.1)


def test_what_the_gpu_used_is_added_to_what_the_packages_used(tmp_path: Path) -> None:
    gpu_uj = iter([7_000_000, 9_500_000])
    meter = EnergyMeter([*cpu_counters(packages(tmp_path, 1_000_000)), Counter(lambda: next(gpu_uj))])
    with meter:
        packages(tmp_path, 2_000_000)
    assert meter.joules == pytest.approx(1 + 2.5)


def test_energy_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    def fail() -> int:
        raise OSError

    for counters in (cpu_counters(tmp_path), [Counter(lambda: 1), Counter(fail)]):
        meter = EnergyMeter(counters)
        with meter:
            pass
        assert meter.joules is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_no_counter_of_it() -> None:
    assert gpu_counters() == []

"""A checkpoint of any family that would be computed otherwise than it was trained is refused in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.errors import CompressError
from compress.families import FAMILIES
from compress.families.family import Family
from compress.modeling.checkpoint import load_classifier, quiet_transformers
from tests.families.models import make_model
from tests.families.test_families import each_family


def adapters(folder: Path, family: Family) -> None:
    own = load_file(folder / "model.safetensors")
    adapter = {f"{family.layers}.0.adapters.sst.down.weight": torch.zeros(4, 64)}
    save_file(own | adapter, folder / "model.safetensors")


def shared_layers(folder: Path, family: Family) -> None:
    """As ALBERT stores them: one for all."""
    own = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in own.items() if f"{family.layers}.1." not in name}
    save_file(kept, folder / "model.safetensors")


def another_familys_weights(folder: Path, family: Family) -> None:
    other = FAMILIES["distilbert" if family.model_type != "distilbert" else "electra"]
    make_model(other, num_labels=2).save_pretrained(folder / "other")
    (folder / "other" / "model.safetensors").replace(folder / "model.safetensors")


def no_room(folder: Path, family: Family) -> None:
    """Positions for special tokens alone, whose rows RoBERTa's kin count from after padding's."""
    for file in folder.iterdir():
        file.unlink()
    with quiet_transformers():
        make_model(family, max_position_embeddings=2 + (2 if family.counts_tokens else 0)).save_pretrained(folder)


CASES: dict[Callable[[Path, Family], None], str] = {
    adapters: "adapters.sst",
    shared_layers: "weights are missing",
    another_familys_weights: "its weights are another network's",
    no_room: "room for 2 tokens",
}


@each_family
@pytest.mark.parametrize("change", CASES, ids=lambda change: change.__name__)
def test_a_model_that_would_be_computed_otherwise_is_refused(
    change: Callable[[Path, Family], None], family: Family, tiny_encoder: Path, tmp_path: Path
) -> None:
    with quiet_transformers():
        make_model(family, num_labels=2).save_pretrained(tmp_path)
        change(tmp_path, family)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_encoder / name).read_bytes())
    with pytest.raises(CompressError, match=CASES[change]) as caught:
        load_classifier(str(tmp_path))
    assert "\n" not in str(caught.value)

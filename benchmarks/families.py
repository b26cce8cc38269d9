"""One BERT's weights in the forms of other families, through the whole pipeline.

    python -m benchmarks.families [--families FAMILY...] [--model demo:minilm] [--data DIR]
                                  [--out runs/families] [--epochs N] [--threads N]

The encoder is the same function in every form; only the heads differ, and they are trained. Each form is fine-tuned,
pruned to 1.5 times the speed and quantized, and ``OUT/report`` has them all beside the first form's. What is there is
left out. The goal for each form is to be within 0.5 points and 10% of the time of the
first one's model of the same step.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, PreTrainedModel

import compress
from benchmarks.kept import add_choice, markdown
from compress.demo_assets import MINILM, model_source
from compress.families import FAMILIES
from compress.families.family import Family
from compress.families.tokenizers.smaller import KINDS
from compress.families.view import EncoderView
from compress.modeling.checkpoint import quiet_transformers

_COLUMNS = ("family", "`model_type`", "tokenizer", "every step", "`prune --vocabulary`", "`export --single-file`")
_NORMALIZING = ("modernbert",)  # its tokenizer composes characters (NFC), which no operator for graphs does
FORMS = ("bert", "distilbert", "roberta", "electra")
SETTINGS = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("layer_norm_eps", "pad_token_id", "num_labels"),
)


@torch.no_grad()
def carried(bert: PreTrainedModel, family: Family) -> PreTrainedModel:
    """The weights of a ``bert`` classifier in the form of ``family``: the same hidden states where all is one segment.

    A family that reads no segments has the row of the first one in its positions; one that counts tokens has its first
    position after padding's. A head that is a tanh between two layers, as BERT's, is carried too, others are fresh.
    """
    its = EncoderView(bert)
    first = its.pad_id + 1 if family.counts_tokens else 0
    shape = {name: getattr(bert.config, name) for name in SETTINGS}
    shape |= {"max_position_embeddings": its.longest + first, "embedding_size": its.hidden_size}
    shape["type_vocab_size"] = its.tables[2].num_embeddings if "token_type_ids" in family.inputs else 1
    with quiet_transformers():
        config = getattr(transformers, family.config)(**family.renamed(shape))
        model: PreTrainedModel = getattr(transformers, family.classifier)(config)
    own = EncoderView(model)
    own.words.weight.copy_(its.words.weight)
    own.positions.weight[first:] = its.positions.weight
    for table in own.tables[2:]:
        table.weight.copy_(its.tables[2].weight[: len(table.weight)])
    if len(own.tables) == 2:
        own.positions.weight[first:] += its.tables[2].weight[0]
    own.norm.load_state_dict(its.norm.state_dict())
    for layer, other in zip(own.layers, its.layers, strict=True):
        pairs = zip((*layer.projections, layer.ffn_input), (*other.projections, other.ffn_input), strict=True)
        ends, its_ends = ((one.attention_output, one.ffn_output, *one.norms) for one in (layer, other))
        for one, source in [*pairs, *zip(ends, its_ends, strict=True)]:
            one.load_state_dict(source.state_dict())
    if family.head[0].activation == its.family.head[0].activation:
        for linear, source in zip(own.head, its.head, strict=True):
            linear.load_state_dict(source.state_dict())
    model.train(mode=False)
    return model


def table() -> str:
    """What works for which family, in Markdown, for the documents."""
    lines = [_COLUMNS]
    for family in FAMILIES.values():
        vocabulary = "yes" if family.tokenizer in KINDS else "no"
        single_file = "no" if family.tokenizer == "Unigram" or family.model_type in _NORMALIZING else "yes"
        lines.append((family.name, f"`{family.model_type}`", family.tokenizer, _steps(family), vocabulary, single_file))
    return markdown(lines, words=len(_COLUMNS))


def _steps(family: Family) -> str:
    """Whether every step takes the family, and without which settings."""
    without = "no `attention_weight`, `relation_weight`" if family.parts.fused else ""
    rows = "no `torch-varlen` rows" if family.builder != "post-norm" else ""
    return "; ".join(filter(None, ("yes", without, rows)))


def main() -> None:
    """Makes what is missing, and the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choice(parser, "--families", FORMS)
    parser.add_argument("--model", default=MINILM, help="a BERT encoder or classifier")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/banking77"))
    parser.add_argument("--out", type=Path, default=Path("runs/families"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    made = [make(FAMILIES[name], model_source(given.model), given) for name in given.families]
    folders = [folder / step for step in ("int8", "fast-int8") for folder in made]
    compress.bench(folders, given.data, given.out / "report", overwrite=True, threads=[1])


def make(family: Family, source: str, given: argparse.Namespace) -> Path:
    """The folder of one form's models."""
    folder: Path = given.out / family.model_type
    if not (folder / "encoder").exists():
        write_encoder(source, family, folder / "encoder")
    shared: dict[str, Any] = {"threads": given.threads}
    training = shared | {"epochs": given.epochs, "batch_size": 64, "learning_rate": 3e-4}
    data, teacher, fast = given.data, folder / "teacher", folder / "fast"
    if not teacher.exists():
        compress.finetune(folder / "encoder", data, teacher, **training)
    if not fast.exists():
        compress.prune(teacher, data, fast, speedup=1.5, **training)
    for model, out in {teacher: folder / "int8", fast: folder / "fast-int8"}.items():
        if not out.exists():
            compress.quantize(model, data, out, max_drop=5.0, **shared)
    return folder


def write_encoder(source: str, family: Family, folder: Path) -> None:
    """The carried encoder with its tokenizer, as a Hugging Face folder without a head."""
    with quiet_transformers():
        bert: Any = transformers.BertForSequenceClassification.from_pretrained(source)
        encoder: Any = carried(bert, family).base_model
        encoder.save_pretrained(folder)
        AutoTokenizer.from_pretrained(source).save_pretrained(folder)


if __name__ == "__main__":
    main()

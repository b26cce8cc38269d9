"""Reads config, tokenizer and network of a folder or hub id with transformers; a failure is one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import transformers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils.hub import cached_file

from compress.errors import CompressError
from compress.families import family_of
from compress.families.family import ACTIVATIONS
from compress.families.view import EncoderView
from compress.modeling.intact import check_weights
from compress.modeling.model_folder import check_config, check_files, check_place, stored_shapes


def read_config(source: str) -> Any:
    """Read the config; refuse one, or a folder, of a model that is not supported."""
    with one_line(source, "its config"):
        if local := Path(source).is_dir():
            check_place(Path(source))
        raw, _ = PretrainedConfig.get_config_dict(source)
        check_config(source, raw, get_tokenizer_config(source))
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        if config.problem_type == "regression":
            raise CompressError(f"{source}: is a regression model; compress works on classifiers")
        family = family_of(config, source)
        activation = family.read(config, "hidden_act")
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise CompressError(f"{source}: its activation is {activation}, which cannot be exported; {known} can")
        if (reason := family.refusal(config)) is not None:
            raise CompressError(f"{source}: {reason}")
        if local:
            check_files(Path(source))
    # These settings change what a call returns, or refuse some lengths, but change no answer.
    config.return_dict = True
    config.output_attentions = config.output_hidden_states = False
    config.chunk_size_feed_forward = 0
    return config


def read_tokenizer(source: str) -> Any:
    """Read the tokenizer, as transformers makes it."""
    with one_line(source, "its tokenizer"):
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)


def read_network(source: str, config: Any) -> tuple[PreTrainedModel, bool]:
    """Read the network with all its weights. Returns it, and whether it has the head that gives the logits."""
    with one_line(source, "its network"):
        local = Path(source).is_dir()
        shapes = stored_shapes(Path(source)) if local else {}
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            source,
            config=config,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # they are refused below, in one line
            output_loading_info=True,
            dtype=torch.float32,
        )
        if not local:  # from_pretrained has put its files into the hub's cache
            shapes = stored_shapes(Path(str(cached_file(source, "config.json"))).parent)
        has_head = check_weights(source, loading, model, shapes)
    _give_second_segment(EncoderView(model))
    return model, has_head


@contextmanager
def one_line(source: str, part: str) -> Iterator[None]:
    """Turn the many ways in which a checkpoint fails to load into one line."""
    try:
        yield
    except CompressError:
        raise
    except BaseException as error:  # other people's files raise anything, and tokenizers' Rust code panics
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if isinstance(error, UnpicklingError):  # PyTorch's own message advises to run what is in it
            reason = "a .bin file holds more than tensors, or is damaged; ask for safetensors"
        advice = "check the name, or get the model again"
        # So fails a library that has changed, too.
        if isinstance(error, AttributeError | TypeError | KeyError | ImportError):
            reason = f"{type(error).__name__} in transformers {transformers.__version__}: {reason}"
            advice += ", or try another transformers"
        raise CompressError(f"{source}: {part} cannot be loaded as a classifier's ({reason:.200}); {advice}") from None


def _give_second_segment(view: EncoderView) -> None:
    """Give a table of one segment a second row, equal to the first, so that segments make no difference in a pair."""
    path = view.paths.segments
    if path is None or "token_type_ids" not in view.family.inputs:
        return
    row: torch.Tensor = view.module.get_submodule(path).weight.detach()  # type: ignore[operator]
    if len(row) == 1:
        view.module.set_submodule(path, nn.Embedding.from_pretrained(row.repeat(2, 1), freeze=False))
        view.write(type_vocab_size=2)

"""The values that each entry of a manifest may have; others, which no step writes, are refused before any use."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from compress.task import TASKS

Kind = Literal["torch", "onnx", "single_file", "tei", "triton"]
LongTextMode = Literal["head", "head-tail", "windows"]
Pooling = Literal["mean", "max", "first"]
# Entries that a manifest has only where a step chose something.
OPTIONAL: Mapping[str, None] = {"decision": None, "long_texts": None}
NEVER = 2  # a threshold that no score reaches
_LEAST_SCORES = ("abstain_below", "hand_on_below")
# Bounds of max_length: fewer tokens leave no room beside the special ones, a larger number overflows in Rust.
_SHORTEST, _LONGEST = 4, 2**31 - 1


def check_entries(raw: Mapping[str, Any]) -> None:
    """Raise ValueError if an entry of a manifest has a value that no step writes, or KeyError if one is missing."""
    for name, (fits, wanted) in ENTRIES.items():
        if not fits(raw[name]):
            raise ValueError(f"{name} is {raw[name]!r:.80}, not {wanted}")
    if raw["decision"] and set(raw["decision"].get("thresholds", raw["labels"])) != set(raw["labels"]):
        raise ValueError("the thresholds are not of its labels")


def is_whole(value: object, least: int) -> bool:
    """Whether ``value`` is an integer of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _text(value: object) -> bool:
    """Whether ``value`` is a text that can be printed and written to a file."""
    return isinstance(value, str) and not any("\ud800" <= mark <= "\udfff" for mark in value)


def _labels(value: Any) -> bool:
    return _texts(value) and bool(value) and len(set(value)) == len(value)


def _max_length(value: object) -> bool:
    length = int(value) if isinstance(value, float) and value.is_integer() else value
    return isinstance(length, int) and is_whole(length, _SHORTEST) and length <= _LONGEST


def _file(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() >= {"name", "bytes", "sha256"}
        and _text(value["name"])
        and value["name"] != ""
        and "\0" not in value["name"]
        and is_whole(value["bytes"], 0)
        and _text(value["sha256"])
    )


def _decision(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or not value.keys() & {"thresholds", *_LEAST_SCORES}:
        return False
    thresholds, least = value.get("thresholds", {}), (value.get(name, 0) for name in _LEAST_SCORES)
    return isinstance(thresholds, dict) and all(map(_score, (*thresholds.values(), *least)))


def _long_texts(value: object) -> bool:
    if value is None or value == {"mode": "head-tail"}:
        return True
    return (
        isinstance(value, dict)
        and value.keys() == {"mode", "stride", "pooling"}
        and value["mode"] == "windows"
        and is_whole(value["stride"], 1)
        and value["pooling"] in get_args(Pooling)
    )


def _score(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= NEVER


def _list_of(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(fits, value))


_texts = _list_of(_text)
# For each entry of a manifest: the check of a value, and the allowed values in words.
ENTRIES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "kind": (get_args(Kind).__contains__, f"one of {', '.join(get_args(Kind))}"),
    "task": (TASKS.__contains__, f"one of {', '.join(TASKS)}"),
    "labels": (_labels, "a list of texts that differ"),
    "max_length": (_max_length, f"a whole number from {_SHORTEST} to {_LONGEST}"),
    "parameters": (lambda value: is_whole(value, 0), "a whole number"),
    "history": (_list_of(lambda entry: isinstance(entry, dict)), "a list of objects"),
    "files": (_list_of(_file), "a list of name, bytes and sha256"),
    "format_version": (lambda value: is_whole(value, 1), "a whole number of at least 1"),
    "decision": (_decision, f"thresholds by label or a score to abstain or hand on below, from 0 to {NEVER}"),
    "long_texts": (_long_texts, f"head-tail, or windows with a stride and a pooling of {', '.join(get_args(Pooling))}"),
}

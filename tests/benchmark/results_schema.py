"""The schema of results.json that ships with the package, and a stricter one that refuses what it does not name."""

import json
from importlib.resources import files
from typing import Any

import jsonschema

SCHEMA = json.loads((files("compress.benchmark.report") / "results.schema.json").read_text(encoding="utf-8"))


def check_results(results: Any) -> None:
    """Results of this version are as the schema says, and the schema names every key of theirs."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(results, _closed(SCHEMA))


def _closed(schema: Any) -> Any:
    if isinstance(schema, dict):
        extra = {"additionalProperties": False} if "properties" in schema else {}
        return {key: _closed(value) for key, value in schema.items()} | extra
    return [_closed(part) for part in schema] if isinstance(schema, list) else schema

"""A handler in the shape of AWS Lambda's: the model is loaded once, outside of it; an event in, a response out.

The model's folder is ``$MODEL``, by default ``model`` beside this file. An event's ``body`` is JSON:
``{"texts": [...]}``.
"""

import json
import os
from pathlib import Path
from typing import Any

import compress
from compress.errors import CompressError

CLASSIFIER = compress.load(os.environ.get("MODEL", Path(__file__).parent / "model"))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Labels and scores of the texts in the event's body; status 400 and the reason where they cannot be read."""
    try:
        texts = json.loads(event["body"])["texts"]
        if not isinstance(texts, list):
            raise TypeError("texts must be a list")
        answers = CLASSIFIER(texts)
    except (CompressError, KeyError, TypeError, ValueError) as error:
        return _response(400, {"error": f"give a JSON body with a list of texts: {error}"})
    return _response(200, {"answers": [{"label": answer.label, "score": answer.score} for answer in answers]})


def _response(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(content)}

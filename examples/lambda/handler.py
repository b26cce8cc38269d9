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

ANSWER = ("label", "score", "abstained")
CLASSIFIER = compress.load(os.environ.get("MODEL", Path(__file__).parent / "model"))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The answers to the texts in the event's body; status 400 where they cannot be read, 500 where the model fails."""
    try:
        texts = json.loads(event["body"])["texts"]
        if not isinstance(texts, list):
            raise TypeError("texts must be a list")
        answers = CLASSIFIER(texts)
    except (KeyError, TypeError, ValueError) as error:  # what is no text is a TypeError or a ValueError too
        return _response(400, {"error": f"give a JSON body with a list of texts: {error}"})
    except CompressError as error:
        print(error)  # to the log
        return _response(500, {"error": "the model cannot answer; the log says why"})
    return _response(200, {"answers": [{name: getattr(answer, name) for name in ANSWER} for answer in answers]})


def _response(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(content)}

"""The Lambda-shaped handler answers with the base install alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import compress
from tests.test_app import WITHOUT_EXTRAS

HANDLER = Path(__file__).parents[2] / "examples" / "lambda" / "handler.py"


def test_an_event_gets_its_answers_and_a_bad_one_the_reason(tiny_int8: Path) -> None:
    events = [{"body": json.dumps({"texts": ["good", "a dull film"]})}]
    events += [{"body": '{"texts": [1]}'}, {"body": "no JSON"}, {}, {"body": '{"texts": "good"}'}]
    program = WITHOUT_EXTRAS + (
        "import json, runpy; handler = runpy.run_path(sys.argv[1])['handler']\n"
        "told = [handler(event, None) for event in json.loads(sys.argv[2])]\n"
        "handler.__globals__['CLASSIFIER'].close()\n"  # a model that fails
        "sys.stdout, out = sys.stderr, sys.stdout\n"
        "print(json.dumps([*told, handler({'body': '{\"texts\": [\"good\"]}'}, None)]), file=out)"
    )
    command = [sys.executable, "-c", program, str(HANDLER), json.dumps(events)]

    told = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"MODEL": str(tiny_int8)}
    )
    answered, *refused = json.loads(told.stdout)
    found = [(answer["label"], answer["abstained"]) for answer in json.loads(answered["body"])["answers"]]
    assert found == [(answer.label, False) for answer in compress.load(tiny_int8)(["good", "a dull film"])]
    assert [response["statusCode"] for response in refused] == [400] * 4 + [500]

# OpenVINO: FOLDER GRAPH, JSON texts or pairs on stdin, JSON scores by label on stdout.
import json
import sys

import numpy as np
import openvino
from tokenizers import Tokenizer

folder, graph = sys.argv[1:]
labels = json.load(open(f"{folder}/config.json"))["id2label"]
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
tokenizer.enable_truncation(json.load(open(f"{folder}/tokenizer_config.json"))["model_max_length"])
# Its default on CPUs with bf16 is bf16; the graph's own precision is asked for.
model = openvino.compile_model(f"{folder}/{graph}", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
names = [each.any_name for each in model.inputs]  # not all families read token_type_ids
for text in json.load(sys.stdin):
    found = tokenizer.encode(*([text] if isinstance(text, str) else text))
    inputs = {"input_ids": found.ids, "attention_mask": found.attention_mask, "token_type_ids": found.type_ids}
    read = {name: np.array([inputs[name]]) for name in names}
    (logits,) = model(read)["logits"]
    scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    print(json.dumps({labels[str(index)]: float(score) for index, score in enumerate(scores)}))

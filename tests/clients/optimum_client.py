# optimum's ORTModel in a transformers pipeline: FOLDER GRAPH, JSON texts on stdin, JSON scores by label on stdout.
import json
import sys
from pathlib import Path
from typing import Any

from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer, pipeline

folder, graph = sys.argv[1:]
model = ORTModelForSequenceClassification.from_pretrained(folder, subfolder="onnx", file_name=Path(graph).name)
classify: Any = pipeline("text-classification", model, tokenizer=AutoTokenizer.from_pretrained(folder), top_k=None)
for text in json.load(sys.stdin):
    print(json.dumps({found["label"]: found["score"] for found in classify([text], truncation=True)[0]}))

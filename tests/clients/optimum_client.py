# optimum's ORTModel in a transformers pipeline: FOLDER GRAPH, JSON texts or pairs on stdin, JSON scores by label out.
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
    asked = text if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}
    print(json.dumps({found["label"]: found["score"] for found in classify([asked], truncation=True)[0]}))

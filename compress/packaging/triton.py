"""The configuration that NVIDIA's Triton wants beside a model, in its protobuf text format (model_config.proto)."""

from compress.folder import Manifest
from compress.graph.build import INPUTS

MODEL = "classifier"
LABELS = "labels.txt"
_MAX_BATCH = 64

_INPUT = '  {{ name: "{name}" data_type: TYPE_INT64 dims: [ -1 ] }}'
# The server batches requests of one shape only, so nothing is padded.
_CONFIG = """# Token ids in, logits out; the tokenizer is beside this file, and texts are cut at {max_length} tokens.
backend: "onnxruntime"
max_batch_size: {max_batch}
input [
{inputs}
]
output [
  {{ name: "logits" data_type: TYPE_FP32 dims: [ {labels} ] label_filename: "{label_file}" }}
]
{batching}
# One thread an instance: set count to the number of cores.
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
parameters {{ key: "intra_op_thread_count" value: {{ string_value: "1" }} }}
parameters {{ key: "inter_op_thread_count" value: {{ string_value: "1" }} }}
"""
_BATCHING = "dynamic_batching { max_queue_delay_microseconds: 1000 }"
_ALONE = "# No dynamic_batching: in int8 what shares a batch shifts a text's scores."


def model_config(manifest: Manifest, *, int8: bool) -> str:
    """``config.pbtxt``; without a name, which Triton takes from the folder's, so that it may be renamed."""
    return _CONFIG.format(
        max_length=manifest.max_length,
        max_batch=_MAX_BATCH,
        inputs=",\n".join(_INPUT.format(name=name) for name in INPUTS),
        labels=len(manifest.labels),
        label_file=LABELS,
        batching=_ALONE if int8 else _BATCHING,
    )

"""The files of an ONNX folder, and the inputs and the output of a graph: the one place that names them."""

FP32_GRAPH = "onnx/model.onnx"
FP16_GRAPH = "onnx/model_fp16.onnx"
INT8_GRAPH = "onnx/model_quantized.onnx"
# In order of preference: int8 is what the folder was made for.
GRAPHS = {INT8_GRAPH: "int8", FP32_GRAPH: "fp32", FP16_GRAPH: "fp16"}

# What a tokenizer gives, int64 [batch, sequence]. Every graph reads the first two, and the third where its family does.
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
REQUIRED_INPUTS = INPUTS[:2]
OUTPUT = "logits"  # float32 [batch, labels]

"""From a classifier's weights to an fp32 or fp16 ONNX graph, and the checks of it."""

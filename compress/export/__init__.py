"""From a PyTorch classifier to ONNX: the weights, the graph, the int8 rewrite, and the checks between them."""

"""Loading and running an exported model in an app; needs numpy, onnxruntime and tokenizers, nothing else."""

"""What an app needs to load and serve an exported model: numpy, onnxruntime and tokenizers, nothing else."""

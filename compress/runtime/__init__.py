"""What an app needs to load and serve an exported model: numpy, onnxruntime and tokenizers, nothing else."""

import os

# From 1.29 on onnxruntime tells its maker of the models that a process opens, and keeps an identifier of the device in
# the home folder. It decides that as it is imported, and only modules of this package import it. A user's value stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

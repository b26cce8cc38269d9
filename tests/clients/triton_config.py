# Triton's configuration by its own protobuf schema: CONFIG, JSON on stdout; an unknown field is an error.
import sys

from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

with open(sys.argv[1], encoding="utf-8") as file:
    config = text_format.Parse(file.read(), ModelConfig())
print(json_format.MessageToJson(config, preserving_proto_field_name=True))

"""Run the real model.py files of the repository under a fake `triton_python_backend_utils`."""

import functools
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from tritone import pulse

ONE_RESPONSE = {
    *("audio_decoder", "image_decoder", "clip_image_processor", "clip_image_encoder", "clip_tokenizer", "catalog"),
    *("clip_text_encoder", "forced_aligner", "sd_text_encoder", "sd_unet", "sd_vae_decoder", "sd_vae_encoder"),
}
REPOSITORY = Path(__file__).parents[2] / "model_repository"


def read_config(directory, variant="cpu"):
    file = directory / "configs" / f"{variant}.pbtxt"
    file = file if file.exists() else directory / "config.pbtxt"
    config = text_format.Parse(file.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    return json_format.MessageToDict(config, preserving_proto_field_name=True)


def arguments(config):
    """What Triton gives to `initialize`."""
    return {
        "model_config": json.dumps(config),
        "model_name": config["name"],
        "model_instance_kind": "CPU",
        "model_instance_device_id": "0",
        "model_instance_name": f"{config['name']}_0",
        "model_version": "1",
    }


class Served:
    """A model.py that is initialized, and its config."""

    def __init__(self, name, parameters):
        self.config = read_config(REPOSITORY / name)
        for key, value in parameters:
            self.config["parameters"][key] = {"string_value": value}
        file = REPOSITORY / name / "1" / "model.py"
        spec = importlib.util.spec_from_file_location(f"{name}_model", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.model = module.TritonPythonModel()
        self.model.initialize(arguments(self.config))
        self.outputs = [tensor["name"] for tensor in self.config["output"]]

    def request(self, _outputs=None, _parameters=None, _id="", **rows):
        """A request whose keyword arguments are lists: one value per row."""
        types = {tensor["name"]: tensor["data_type"] for tensor in self.config["input"]}
        tensors = [pb_utils.Tensor(name, column(types[name], values)) for name, values in rows.items()]
        inside = {"token": pulse.token(pulse.folder())}  # networks answer only the models of their own server
        return pb_utils.InferenceRequest("", _outputs or self.outputs, tensors, _id, inside | (_parameters or {}))

    def execute(self, *requests, wait_s=60):
        """The responses of each request: a list for models that stream or are faces, one for all others."""
        for request, response in zip(requests, self.model.execute(list(requests)) or (), strict=False):
            if response is not None:
                request.sender.send(response, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        for request in requests:
            assert request.sender.final.wait(wait_s), "a request was never answered"
        answers = [request.sender.responses for request in requests]
        return [response for [response] in answers] if self.config["name"] in ONE_RESPONSE else answers


def column(data_type, values):
    """Rows stacked as Triton stacks them: (rows, ...)."""
    kind = pb_utils.triton_string_to_numpy(data_type)
    rows = []
    for value in values:
        value = value if isinstance(value, (list, np.ndarray)) else [value]
        value = [item.encode() if isinstance(item, str) else item for item in value] if kind is np.object_ else value
        rows.append(np.asarray(value, kind))
    return np.stack(rows)


@functools.cache
def load(name, parameters):
    """Models keep nothing between requests, so the tests share them."""
    return Served(name, parameters)


@pytest.fixture
def serve():
    """serve(name, **parameters): a model of the repository on the CPU, some of its parameters changed."""
    pb_utils.Logger.lines.clear()
    pb_utils.MODELS.clear()
    return lambda name, **parameters: load(name, tuple(parameters.items()))

"""Small models that a test writes into a folder, so that a server with them starts in a second."""

import psutil
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

ECHO = """
import json, os, sys, time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        {initialize}

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        text = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
        canary = "canary" in json.loads(request.parameters() or "{{}}")
        if not canary and text[0, 0] == b"hang":
            time.sleep(3600)
        if text[0, 0] == b"environment":
            seen = {{"encoding": sys.stdout.encoding, "numpy": np.__version__, "variables": dict(os.environ)}}
            text = np.array([[json.dumps(seen).encode()]], np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("text_output", text)])
"""

DECOUPLED = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            text = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
            sender = request.get_response_sender()
            for _ in range(2):
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("text_output", text)]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""

TENSORS = """
max_batch_size: 8
input { name: "text" data_type: TYPE_STRING dims: [1] }
output { name: "text_output" data_type: TYPE_STRING dims: [1] }
"""


def write_model(repository, name, initialize="pass", code=ECHO, **config):
    """A Python model that answers `text_output` = `text`; `config` holds further fields as text format."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(code.format(initialize=initialize) if code is ECHO else code)
    write_config(folder, 'backend: "python" instance_group { kind: KIND_CPU }', **config)


def write_ensemble(repository, name, *steps):
    """An ensemble of echoing models, one after another."""
    (repository / name / "1").mkdir(parents=True)
    tensors = ["text", *(f"text_{number}" for number in range(1, len(steps))), "text_output"]
    wiring = " ".join(
        f'step {{ model_name: "{step}" model_version: -1 input_map {{ key: "text" value: "{tensors[number]}" }} '
        f'output_map {{ key: "text_output" value: "{tensors[number + 1]}" }} }}'
        for number, step in enumerate(steps)
    )
    write_config(repository / name, 'platform: "ensemble"', ensemble_scheduling=f"{{ {wiring} }}")


def write_config(folder, kind, **config):
    fields = " ".join(f"{name} {value}" for name, value in config.items())
    (folder / "config.pbtxt").write_text(f"{kind} {TENSORS} {fields}")
    text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def parameter(key, value):
    return f'{{ key: "{key}" value {{ string_value: "{value}" }} }}'


def stubs(process, model):
    """The living stub processes of a model under `tritone serve`."""
    return [child for child in psutil.Process(process.pid).children(recursive=True) if is_stub(child, model)]


def is_stub(process, model):
    """Whether a process is a living stub of the model; one that ends meanwhile (auto-complete's) is not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and any(f"/{model}/1/" in part for part in process.cmdline())
    except psutil.NoSuchProcess:
        return False

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
        if not canary and text[0, 0] == b"slow":
            time.sleep(3)
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

# Writes a pulse, and does what its text says: "work 5", "hang", "ill", "later 2" (answers when `execute` has returned).
PULSING = """
import json, os, threading, time
import numpy as np
import triton_python_backend_utils as pb_utils
from tritone.pulse import DRAINING, Heart

class TritonPythonModel:
    def initialize(self, args):
        self.heart = Heart(args["model_name"])
        self.late = 0

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            text = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
            word, _, seconds = text[0, 0].decode().partition(" ")
            if "canary" in json.loads(request.parameters() or "{}"):
                sender.send(pb_utils.InferenceResponse([]), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            elif word == "later":
                self.count(1)
                threading.Thread(target=self.later, args=(sender, float(seconds))).start()
            else:
                with self.heart.executing():
                    getattr(self, word)(float(seconds or 0))
                self.answer(sender)

    def work(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.1)
            self.heart.progressed()

    def hang(self, _):
        time.sleep(3600)

    def ill(self, _):
        self.heart.fail("a thread has died")

    def later(self, sender, seconds):
        time.sleep(seconds)
        self.answer(sender)
        self.count(-1)

    def count(self, change):
        self.late += change
        self.heart.set("in_flight", self.late)

    def answer(self, sender):
        draining = os.path.exists(os.path.join(os.environ["TRITONE_PULSE"], DRAINING))
        text = pb_utils.Tensor("text_output", np.array([[b"draining" if draining else b"well"]], np.object_))
        self.heart.succeeded()
        sender.send(pb_utils.InferenceResponse([text]), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""

# Stands on `tritone.serving` and answers once there is a file of the name that its text says.
WAITER = """
import asyncio, os
from tritone import serving

class TritonPythonModel:
    def initialize(self, args):
        self.triton = serving.Model(args)
        self.triton.open_door(self.triton.settings(serving.DoorSettings))

    def execute(self, requests):
        return self.triton.answer_later(requests, self.answer)

    async def answer(self, text):
        while not os.path.exists(text):
            await asyncio.sleep(0.02)
            self.triton.heart.progressed()  # it is busy and not hung
        return {"text_output": text}
"""

TENSORS = """
max_batch_size: 8
input { name: "text" data_type: TYPE_STRING dims: [1] }
output { name: "text_output" data_type: TYPE_STRING dims: [1] }
"""


def write_model(repository, name, initialize="pass", code=ECHO, count=1, **config):
    """A Python model that answers `text_output` = `text`; `config` holds further fields as text format."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(code.format(initialize=initialize) if code is ECHO else code)
    write_config(folder, f'backend: "python" instance_group {{ kind: KIND_CPU count: {count} }}', **config)


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

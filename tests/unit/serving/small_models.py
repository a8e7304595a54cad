"""Small models in the place of real ones, requests for them, and Triton's part in answering."""

import asyncio
import fcntl
import json
import time

import numpy as np
import triton_python_backend_utils as pb_utils

from tritone import pulse, serving
from tritone.errors import InvalidInput

INVALID, INTERNAL = pb_utils.TritonError.INVALID_ARG, pb_utils.TritonError.INTERNAL


def wait_until(condition):
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < 10
        time.sleep(0.005)


def make_model(parameters=None, name="m", **config):
    config = {
        "input": [
            {"name": "text", "data_type": "TYPE_STRING", "dims": [1]},
            {"name": "number", "data_type": "TYPE_INT32", "dims": ["1"], "optional": True},
            {"name": "image_bytes", "data_type": "TYPE_STRING", "dims": [-1], "optional": True},
        ],
        "output": [
            {"name": "text", "data_type": "TYPE_STRING", "dims": [1]},
            {"name": "values", "data_type": "TYPE_FP32", "dims": [-1]},
        ],
        "parameters": {key: {"string_value": value} for key, value in (parameters or {}).items()},
        **config,
    }
    args = {
        "model_config": json.dumps(config),
        "model_name": name,
        "model_instance_name": f"{name}_0_0",
        "model_instance_kind": "CPU",
        "model_instance_device_id": "0",
    }
    return serving.Model(args)


def make_streaming():
    return make_model(model_transaction_policy={"decoupled": True})


def request(*texts, outputs=("text", "values"), parameters=None, number=None, request_id="", pictures=None):
    tensors = [
        pb_utils.Tensor("text", np.array([[t if isinstance(t, bytes) else t.encode()] for t in texts], np.object_))
    ]
    if number is not None:
        tensors.append(pb_utils.Tensor("number", np.array([[number]] * len(texts), np.int32)))
    if pictures is not None:
        tensors.append(pb_utils.Tensor("image_bytes", np.array([pictures], np.object_)))
    return pb_utils.InferenceRequest("m", outputs, tensors, request_id, parameters)


def texts(response):
    assert not response.has_error(), response.error().message()
    return [row[0].decode() for row in response.output_tensors()[0].as_numpy()]


def upper(text, number=0, image_bytes=()):
    if text == "bad":
        raise InvalidInput("text is 'bad', must be good")
    if text == "crash":
        raise RuntimeError(f"about {text}: {number}")
    return {"text": text.upper(), "values": [float(number), float(len(image_bytes))]}


def finish(*requests):
    for one in requests:
        assert one.sender.final.wait(5), "never answered"
    return [one.sender.responses for one in requests]


def later(model, requests, infer):
    """What Triton does with a model that answers later: it sends what `execute` returns."""
    for one, response in zip(requests, model.answer_later(requests, infer), strict=True):
        if response is not None:
            one.sender.send(response, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def endless(stopped):
    async def generate(text):
        try:
            while True:
                yield {"text": text}
                await asyncio.sleep(0.005)
        finally:
            stopped.set()

    return generate


def inside(**more):
    """The parameters by which processes of one server know each other."""
    return {"token": pulse.token(pulse.folder()), **more}


def code_of(response):
    return response.error().code() if response.has_error() else None


def kill(heart):
    """What the kernel does with a process that is killed: it takes its lock away."""
    fcntl.flock(heart._file, fcntl.LOCK_UN)

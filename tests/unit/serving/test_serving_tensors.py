"""serving.py's way for torch tensors: whole batches in, whole batches out, on the GPU where there is one.

The fake backend has no GPU: a tensor that comes by DLPack only claims to lie on one, and must never be asked for numpy.
"""

import asyncio
import json

import numpy as np
import pytest
import torch
import triton_python_backend_utils as pb_utils

from tritone import pulse, serving
from tritone.errors import InvalidInput
from tritone.serving import bls

INVALID, INTERNAL = pb_utils.TritonError.INVALID_ARG, pb_utils.TritonError.INTERNAL


@pytest.fixture
def model():
    tensor = {"data_type": "TYPE_FP32", "dims": [-1]}
    config = {"input": [{"name": "x", **tensor}], "output": [{"name": "y", **tensor}, {"name": "z", **tensor}]}
    args = {"model_config": json.dumps(config), "model_name": "m", "model_instance_kind": "CPU"}
    return serving.Model({**args, "model_instance_device_id": "0", "model_instance_name": "m_0_0"})


def request(*rows, outputs=("y",), parameters=None, on_gpu=False):
    array = np.array(rows, np.float32)
    tensor = pb_utils.Tensor("x", array)
    if on_gpu:
        tensor = pb_utils.Tensor.from_dlpack("x", torch.from_numpy(array).__dlpack__())
    return pb_utils.InferenceRequest("m", outputs, [tensor], "", parameters)


def double(x):
    if (x == 13).any():
        raise InvalidInput("x is 13, must be another number")
    if (x == 99).any():
        raise RuntimeError("99")
    return {"y": 2 * x, "z": x}


def y(response):
    assert not response.has_error(), response.error().message()
    [tensor] = response.output_tensors()
    return tensor.as_numpy().tolist()


def test_rows_of_all_requests_are_one_call_and_come_back_to_their_callers(model):
    calls = []

    def infer(x):
        calls.append(len(x))
        return double(x)

    responses = model.run_tensors([request([1, 2], [3, 4]), request([5, 6])], infer)
    assert [y(response) for response in responses] == [[[2, 4], [6, 8]], [[10, 12]]]
    assert calls == [3]


def test_a_request_at_fault_fails_alone(model):
    good, bad, broken = model.run_tensors([request([1]), request([13]), request([99])], double)
    assert y(good) == [[2]]
    assert (bad.error().code(), bad.error().message()) == (INVALID, "x is 13, must be another number")
    assert broken.error().code() == INTERNAL
    assert "99" not in broken.error().message()


def test_only_requested_outputs_are_sent_and_a_canary_is_answered_without_the_model(model):
    one, canary = model.run_tensors(
        [
            request([1], outputs=("z",)),
            request([13], parameters={"canary": "canary", "token": pulse.token(pulse.folder())}),
        ],
        double,
    )
    assert [tensor.name() for tensor in one.output_tensors()] == ["z"]
    assert not canary.has_error()


def test_what_lies_on_the_gpu_is_never_asked_for_numpy(model):
    on_gpu = request([1, 2], on_gpu=True)
    with pytest.raises(AssertionError, match="cannot be converted"):
        on_gpu.inputs()[0].as_numpy()
    assert y(model.run_tensors([on_gpu], double)[0]) == [[2, 4]]


def test_a_call_with_several_rows_of_tensors_and_texts():
    def child(request):
        texts, x = (tensor.as_numpy() for tensor in request.inputs())
        assert [row[0].decode() for row in texts] == ["a", "圆"]
        assert request.preferred_memory.kind == pb_utils.TRITONSERVER_MEMORY_CPU
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", x + 1)])]

    pb_utils.MODELS["child"] = child
    inputs = {"text": ["a", "圆"], "x": torch.tensor([[1.0], [2.0]])}
    out = asyncio.run(bls.call_rows("child", inputs, ["y"]))
    assert out["y"].tolist() == [[2.0], [3.0]]


def test_a_call_from_a_gpu_asks_for_its_answer_there(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: tensor)  # there is no GPU to move it to

    def child(request):
        assert [tensor.name() for tensor in request.inputs()] == ["x"]
        assert (request.preferred_memory.kind, request.preferred_memory.device) == (
            pb_utils.TRITONSERVER_MEMORY_GPU,
            1,
        )
        return [pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("y", torch.tensor([[7.0]]).__dlpack__())])]

    pb_utils.MODELS["child"] = child
    out = asyncio.run(bls.call_rows("child", {"x": torch.tensor([[1.0]])}, ["y"], "cuda:1"))
    assert out["y"].tolist() == [[7.0]]


def test_a_call_that_fails_keeps_its_sentence_and_code():
    error = pb_utils.TritonError("INVALID_ARG: x is 13", pb_utils.TritonError.INTERNAL)
    pb_utils.MODELS["child"] = lambda request: [pb_utils.InferenceResponse(error=error)]
    with pytest.raises(bls.CallFailed, match=r"^x is 13$") as failure:
        asyncio.run(bls.call_rows("child", {"x": torch.zeros(1, 1)}, ["y"]))
    assert failure.value.code == INVALID


def test_a_row_without_anything_that_was_asked_for_is_not_sent(model):
    async def generate(x):
        yield {"z": x}
        yield {"y": x, "z": x}

    asked = request([1])
    model.stream([asked], generate)
    assert asked.sender.final.wait(10)
    assert [y(response) for response in asked.sender.responses] == [[[1]]]

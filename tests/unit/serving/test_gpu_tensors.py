"""What crosses between models on a GPU: nothing is read before it is written, and nobody assumes that it is GPU 0."""

import asyncio
import json
import threading
import weakref

import pytest
import torch
import triton_python_backend_utils as pb_utils
from fake_cuda import fake_cuda

from tritone import device, serving
from tritone.precision import torch_dtype
from tritone.serving import bls
from tritone.serving.in_flight import InFlight, Work
from tritone.serving.tensors import from_torch
from tritone.serving.threads import WaitingThreads, in_thread
from tritone.serving.urgency import Worker


@pytest.fixture
def card():
    with fake_cuda() as card:
        yield card
    device.choose("cpu")


def model(kind, number="0", count=1, **parameters):
    tensor = {"data_type": "TYPE_FP32", "dims": [-1]}
    config = {"input": [{"name": "x", **tensor}], "output": [{"name": "y", **tensor}]}
    config["instance_group"] = [{"kind": f"KIND_{kind}", "count": count}]
    config["parameters"] = {key: {"string_value": value} for key, value in parameters.items()}
    args = {"model_config": json.dumps(config), "model_name": "m", "model_instance_kind": kind}
    return serving.Model({**args, "model_instance_device_id": number, "model_instance_name": f"m_0_{number}"})


# ---- tensors


def test_a_fellows_tensor_is_copied_before_its_memory_goes_back(card):
    latents = torch.zeros(1, 4, device="cuda:1")

    def child(request):
        assert (request.preferred_memory.kind, request.preferred_memory.device) == (
            pb_utils.TRITONSERVER_MEMORY_GPU,
            1,
        )
        response = pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("y", latents)])
        weakref.finalize(response, lambda: card.calls.append(("memory goes back", 1)))
        return [response]

    pb_utils.MODELS["child"] = child
    out = asyncio.run(bls.call_rows("child", {"x": latents}, ["y"], "cuda:1"))
    assert out["y"].device == torch.device("cuda:1")
    assert card.calls == [("stream.synchronize", 1), ("memory goes back", 1)]


def test_on_a_processor_nobody_asks_for_a_stream(card):
    pb_utils.MODELS["child"] = lambda request: [pb_utils.InferenceResponse([request.inputs()[0]])]
    with torch.utils._python_dispatch._disable_current_modes():
        asyncio.run(bls.call_rows("child", {"x": torch.zeros(1, 4)}, ["x"]))
    assert card.calls == []


def test_what_is_handed_over_is_written_by_then(card):
    assert from_torch("y", torch.zeros(1, 4, device="cuda:1")).waited_for


# ---- devices


def test_an_instance_on_gpu_1_makes_it_its_own_in_every_thread_that_works(card):
    triton = model("GPU", "1")
    current, seen = torch.cuda.current_device, []
    assert (triton.device, current()) == ("cuda:1", 1)

    async def look():
        seen.append(current())
        seen.append(await in_thread(current))
        seen.append(await WaitingThreads("calls", 1).run(current))
        seen.append(await Worker(lambda items: [current() for _ in items])(None))
        done.set()

    async def fail(error):
        raise error

    done = threading.Event()
    InFlight().start("key", Work(look, fail, lambda: False, lambda: None))
    assert done.wait(10)
    assert seen == [1, 1, 1, 1]


def test_a_thread_starts_on_a_device_that_is_lost(card, monkeypatch):
    model("GPU", "1")

    def lost(_):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "set_device", lost)
    assert asyncio.run(WaitingThreads("responses", 1).run(lambda: "answered")) == "answered"
    with pytest.raises(RuntimeError, match="CUDA error"):
        model("GPU", "1")


def test_a_network_that_is_spread_over_gpus_computes_as_on_one(card):
    triton = model("MODEL", device_map="auto")
    assert triton.device == "cuda"
    assert torch_dtype("auto", triton.device) == torch.float16
    assert not [call for call in card.calls if call[0] == "set_device"]


def test_without_a_gpu_it_computes_on_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert model("MODEL", device_map="auto").device == "cpu"


@pytest.mark.parametrize("kind", ["GPU", "CPU"])
@pytest.mark.parametrize(("name", "spread"), [("device_map", "balanced"), ("tensor_parallel_size", "2")])
def test_one_network_on_several_gpus_is_not_made_once_for_each(card, kind, name, spread):
    with pytest.raises(ValueError, match=f"^{name} of model 'm' is '{spread}'.* is KIND_{kind}: write KIND_MODEL"):
        model(kind, **{name: spread})
    assert model(kind, device_map="none", tensor_parallel_size="1").device == {"GPU": "cuda:0", "CPU": "cpu"}[kind]


@pytest.mark.parametrize(("name", "spread"), [("device_map", "balanced"), ("tensor_parallel_size", "2")])
def test_one_network_on_all_gpus_is_not_made_twice(card, name, spread):
    with pytest.raises(ValueError, match=f"^{name} of model 'm' spreads .* asks for 2 of them: write count: 1"):
        model("MODEL", count=2, **{name: spread})


@pytest.mark.parametrize("kind", ["GPU", "MODEL"])
def test_two_that_would_each_take_all_memory_of_a_gpu_are_refused(card, kind):
    with pytest.raises(ValueError, match=r"^slots of model 'm' is 0, .* 2 processes on one GPU.*: say how many"):
        model(kind, count=2, slots="0")
    assert model(kind, count=2, slots="4").device == {"GPU": "cuda:0", "MODEL": "cuda"}[kind]
    assert model(kind, count=1, slots="0").device == {"GPU": "cuda:0", "MODEL": "cuda"}[kind]

"""What vLLM is told as it is loaded, and LLaVA over it; vLLM is a fake here: `make vllm` runs the real one."""

import asyncio
import json
import os

import numpy as np
import pytest
import torch
from asking_an_engine import ask, idle
from fake_vllm import AsyncLLM, installed
from safetensors.torch import save_file

from tritone import checkpoints
from tritone.errors import InvalidInput, NotServed
from tritone.language.checkpoint import Checkpoint
from tritone.language.llava import Capacity, Limits, Llava, Loading
from tritone.language.vllm import loading
from tritone.media.image import encode_png

EOS = 2
LIMITS = Limits(max_characters=2000, max_pictures=2, max_image_bytes=2**20, max_pixels=10**6, max_tokens=96)
CAPACITY = Capacity(slots=4, max_queue=2)
VLLM = Loading(engine="vllm")


@pytest.fixture
def load(vllm):
    loaded = []

    def load(loading=VLLM, capacity=CAPACITY, device="cpu", **options):
        loaded.append(Llava.load(checkpoints.path("llava"), device, LIMITS, loading, capacity, **options))
        return loaded[-1]

    yield load
    for llava in loaded:
        llava.close()


def arguments(loading_=VLLM, capacity=CAPACITY, device="cpu"):
    return loading.arguments(Checkpoint.read(checkpoints.path("llava")), device, 3, loading_, capacity)


def test_without_the_package_the_load_says_how_to_get_it():
    with pytest.raises(NotServed, match=r"the package vllm is not installed: .*`make vllm`.* engine to 'torch'"):
        Llava.load(checkpoints.path("llava"), "cpu", LIMITS, VLLM)


def test_a_vllm_that_does_not_know_us_is_refused(monkeypatch):
    with installed(monkeypatch, knows_tritone=False), pytest.raises(NotServed, match="vLLM does not know tritone"):
        Llava.load(checkpoints.path("llava"), "cpu", LIMITS, VLLM, CAPACITY)


@pytest.mark.parametrize(
    ("wish", "capacity", "sentence"),
    [
        ({"engine": "onnx"}, CAPACITY, "engine is 'onnx', must be torch or vllm"),
        (
            {"engine": "torch", "tensor_parallel_size": 2},
            CAPACITY,
            "tensor_parallel_size is 2, which takes engine vllm",
        ),
        ({"quantization": "nf4"}, CAPACITY, "quantization is 'nf4', of engine vllm it must be none or fp8"),
        ({"device_map": "auto"}, CAPACITY, "device_map is 'auto': engine vllm has tensor_parallel_size"),
        ({}, Capacity(slots=0), "slots is 0, as many as fit, which can be told of a GPU only"),
        ({}, Capacity(slots=1, max_length=2000), "max_length is 2000, the checkpoint's context is 1024 tokens"),
    ],
)
def test_settings_that_an_engine_does_not_have_are_refused(load, wish, capacity, sentence):
    with pytest.raises(NotServed, match=sentence):
        load(Loading(**{"engine": "vllm", **wish}), capacity)


def test_our_settings_are_vllms_arguments():
    given = arguments(capacity=Capacity(slots=8, max_length=512, prefill_chunk=100, enable_prefix_caching=True))
    assert given["model"] == str(checkpoints.path("llava"))
    assert (given["max_num_seqs"], given["max_model_len"], given["max_num_batched_tokens"]) == (8, 512, 108)
    assert (given["dtype"], given["quantization"], given["enable_prefix_caching"]) == ("float32", None, True)
    assert (given["limit_mm_per_prompt"], given["enforce_eager"]) == ({"image": 3}, True)
    # Eight answers of 512 tokens and a block of 128, in 4 layers of 4 heads of 64 float32 numbers, keys and values.
    assert given["kv_cache_memory_bytes"] == (8 * 512 + 128) * 4 * 4 * 64 * 4 * 2


def test_on_gpus_the_cache_is_what_fits_and_each_has_its_share():
    given = arguments(Loading(engine="vllm", quantization="fp8"), Capacity(slots=0, memory_reserve=0.25), "cuda:1")
    assert (given["device_ids"], given["dtype"], given["quantization"]) == ([1], "float16", "fp8")
    assert (given["gpu_memory_utilization"], given["enforce_eager"]) == (0.75, False)
    assert "kv_cache_memory_bytes" not in given
    shared = arguments(Loading(engine="vllm", tensor_parallel_size=2), Capacity(slots=8), "cuda")
    alone = arguments(capacity=Capacity(slots=8), device="cuda")
    assert shared["kv_cache_memory_bytes"] * 2 == alone["kv_cache_memory_bytes"]
    assert (shared["tensor_parallel_size"], "device_ids" in shared) == (2, False)


def test_llava_says_vllms_tokens_in_its_own_pieces(load, vllm):
    llava = load()
    tokens = llava.processor.tokenizer.encode("A red circle.", add_special_tokens=False)
    vllm[0].script = [(token,) for token in (*tokens, EOS)]

    async def run(**options):
        return [piece async for piece in llava.stream(llava.prepare("What is it?", **options))]

    pieces = asyncio.run(run())
    assert "".join(piece.text for piece in pieces) == "A red circle."
    assert (pieces[-1].finish_reason, pieces[-1].completion_tokens) == ("stop", len(tokens) + 1)
    stopped = asyncio.run(run(stop=["circle"]))
    assert "".join(piece.text for piece in stopped) == "A red "
    assert stopped[-1].finish_reason == "stop"
    assert idle(llava.engine)
    assert llava.engine.statistics.cancelled == 0


def test_llava_hands_vllm_its_own_pixels(load, vllm):
    llava = load()
    chat = llava.prepare("What is it?", [encode_png(np.full((9, 9, 3), 200, np.uint8))])
    ask(llava.engine, chat.prompt)
    given = vllm[0].asked[-1][0]
    assert torch.equal(given["mm_kwargs"]["image"][0], chat.prompt.pixel_values[0])
    assert given["mm_placeholders"]["image"][0].length == chat.prompt.picture_tokens


def test_nothing_is_told_to_vllms_makers_and_its_processes_know_whose_they_are(load, vllm):
    load()
    assert (os.environ["VLLM_NO_USAGE_STATS"], os.environ["HF_HUB_OFFLINE"]) == ("1", "1")
    assert os.environ["TRITONE_VLLM_OWNER"] == str(os.getpid())


# ---- adapters


@pytest.fixture
def adapters(tmp_path):
    """Two LoRA folders of rank 4 and 9, without sense; the second changes how pictures are seen."""
    for name, rank, part in (("flowers", 4, "language_model"), ("x-rays", 9, "vision_tower")):
        folder = tmp_path / name
        folder.mkdir()
        config = {"peft_type": "LORA", "r": rank, "target_modules": ["q_proj"]}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        save_file(
            {f"base_model.model.model.{part}.q_proj.lora_A.weight": torch.zeros(1)},
            folder / "adapter_model.safetensors",
        )
    return tmp_path


def test_adapters_are_in_vllm_before_anybody_asks_for_one(load, vllm, adapters):
    llava = load(adapters=adapters)
    assert vllm[0].adapters == ["flowers", "x-rays"]
    given = vllm[0].args
    assert (given.enable_lora, given.max_lora_rank) == (True, 16)
    assert (given.max_loras, given.max_cpu_loras) == (3, 3)  # one place stays empty
    assert given.enable_tower_connector_lora
    ask(llava.engine, llava.prepare("x", adapter="x-rays").prompt, llava.prepare("x").prompt)
    assert [request and request.lora_name for *_, request in vllm[0].asked[-2:]] == ["x-rays", None]


def test_an_unknown_adapter_is_refused_and_the_known_ones_are_listed(load, adapters):
    with pytest.raises(InvalidInput, match="'nobody', the adapters of this server are: flowers, x-rays"):
        load(adapters=adapters).prepare("x", adapter="nobody")


def test_an_adapter_that_vllm_refuses_stops_the_start_by_name(load, vllm, adapters, monkeypatch):
    monkeypatch.setattr(AsyncLLM, "add_lora", lambda self, request: _refuse())
    with pytest.raises(ValueError, match=r"adapter 'flowers' .* cannot be served: no such module"):
        load(adapters=adapters)
    assert vllm[0].was_shut_down


async def _refuse():
    raise RuntimeError("no such module")


def test_a_folder_that_is_no_adapter_is_refused_before_vllm_is_started(load, vllm, adapters):
    (adapters / "flowers" / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"adapter 'flowers' .* no adapter_model.safetensors"):
        load(adapters=adapters)
    assert vllm == []

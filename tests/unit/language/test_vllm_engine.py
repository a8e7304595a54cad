"""The engine over vLLM's AsyncLLM, which is a fake here: `make vllm` runs the real one."""

import asyncio
import json
import os
import time

import numpy as np
import pytest
import torch
from fake_vllm import AsyncLLM, RequestOutputKind, installed, output
from safetensors.torch import save_file

from tritone import checkpoints
from tritone.errors import InvalidInput, NotServed, Unavailable
from tritone.language.llava import Capacity, Checkpoint, Limits, Llava, Loading
from tritone.language.sampling import Sampling
from tritone.language.token_stream import Prompt
from tritone.language.vllm import loading
from tritone.language.vllm.engine import VllmEngine
from tritone.language.vllm.requests import Requests
from tritone.media.image import encode_png

EOS = 2
PICTURE = 3  # the token
ENDLESS = [(7,)] * 10**5
LIMITS = Limits(max_characters=2000, max_pictures=2, max_image_bytes=2**20, max_pixels=10**6, max_tokens=96)
CAPACITY = Capacity(slots=4, max_queue=2)
VLLM = Loading(engine="vllm")


@pytest.fixture
def vllm(monkeypatch):
    """vLLM is there; the AsyncLLMs that were made."""
    with installed(monkeypatch) as llms:
        yield llms


@pytest.fixture
def make(vllm):
    """An engine over an AsyncLLM, closed after the test."""
    made = []

    def make(*script, slots=2, max_queue=1, adapters=None):
        async def start():
            return AsyncLLM(script=script or ((7,), (8,), (EOS,)))

        made.append(VllmEngine(start, Requests(PICTURE, [EOS], adapters or {}).ask, slots, 100, max_queue))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def prompt(max_tokens=10, pictures=None, ids=(1, 5, 6), adapter="", **sampling):
    return Prompt(torch.tensor(ids), pictures, 0, max_tokens, Sampling(**sampling), adapter)


async def read(answer):
    with answer:
        return [tokens async for tokens in answer]


def ask(engine, *prompts):
    """The answers to all at once, as lists of Tokens; what went wrong in place of one."""

    async def run():
        answers = [engine.submit(each) for each in prompts]
        return await asyncio.wait_for(asyncio.gather(*map(read, answers), return_exceptions=True), 20)

    return asyncio.run(run())


def joined(pieces):
    return [token for tokens in pieces for token in tokens.ids], pieces[-1].reason


def idle(engine, within_s=5.0):
    deadline = time.monotonic() + within_s
    while engine._count:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


# ---- tokens


def test_an_answer_is_vllms_tokens_and_its_reason(make):
    assert joined(ask(make((7, 8), (9,), (10, EOS)), prompt())[0]) == ([7, 8, 9, 10, EOS], "stop")
    assert joined(ask(make((7,), (8,)), prompt())[0]) == ([7, 8], "length")


def test_answers_in_a_crowd_are_counted_as_by_our_own_engine(make):
    engine = make(slots=2, max_queue=3)
    assert [joined(pieces) for pieces in ask(engine, *[prompt()] * 5)] == [([7, 8, EOS], "stop")] * 5
    assert idle(engine)
    counted = engine.statistics
    assert (counted.finished, counted.cancelled, counted.failed, counted.active, counted.queued) == (5, 0, 0, 0, 0)
    assert (counted.prompt_tokens, counted.tokens, counted.first_tokens) == (15, 15, 5)
    assert counted.batched_tokens / counted.steps > 2  # those of one step are handed over together
    assert counted.first_token_s > 0


def test_an_answer_that_ends_without_a_reason_is_told(make):
    [lost] = ask(make(output([7]), output([8])), prompt())
    assert isinstance(lost, Unavailable)
    [aborted] = ask(make(output([7]), output([], "abort")), prompt())
    assert isinstance(aborted, Unavailable)
    assert "vLLM ended an answer (abort)" in str(aborted)


# ---- leaving, refusing, failing


def test_a_caller_who_leaves_aborts_his_request_at_once(make):
    """Also one who has not had a token yet."""
    engine = make(*ENDLESS, slots=2)
    llm = engine._llm

    async def run():
        with engine.submit(prompt(max_tokens=50)) as answer:
            await anext(aiter(answer))
            llm.gate.clear()
            with engine.submit(prompt()):
                while len(llm.asked) < 2:
                    await asyncio.sleep(0.001)

    asyncio.run(run())
    assert idle(engine)  # and vLLM has not said another token
    assert len(llm.aborted) == 2
    assert engine.statistics.cancelled == 2


def test_callers_who_leave_as_soon_as_they_asked_hold_no_slot(make):
    """Their tasks are cancelled before they begin."""
    engine = make(*ENDLESS, slots=2, max_queue=20)

    async def run():
        for answer in [engine.submit(prompt()) for _ in range(20)]:
            with answer:
                pass

    asyncio.run(run())
    assert idle(engine)
    assert (engine.statistics.cancelled, engine.statistics.failed) == (20, 0)
    assert (engine.statistics.active, engine.statistics.queued) == (0, 0)


def test_an_answer_that_was_enough_is_finished_and_not_cancelled(make):
    engine = make(*ENDLESS)

    async def run():
        with engine.submit(prompt()) as answer:
            await anext(aiter(answer))
            answer.finish()

    asyncio.run(run())
    assert idle(engine)
    assert (engine.statistics.finished, engine.statistics.cancelled) == (1, 0)


def test_a_full_house_queues_and_then_refuses_at_once(make):
    engine = make(slots=2, max_queue=1)
    engine._llm.gate.clear()

    async def run():
        answers = [engine.submit(prompt()) for _ in range(3)]
        while engine.statistics.queued != 1:
            await asyncio.sleep(0.001)
        assert engine.statistics.active == 2
        with pytest.raises(Unavailable, match=r"2 slots are taken and 1 requests wait for one, the limit is 1"):
            engine.submit(prompt())
        engine._loop.call_soon_threadsafe(engine._llm.gate.set)
        return await asyncio.gather(*map(read, answers))

    assert [joined(pieces) for pieces in asyncio.run(run())] == [([7, 8, EOS], "stop")] * 3


def test_a_request_that_vllm_refuses_fails_alone(make):
    engine = make()
    bad, generate = prompt(ids=(1, 10**6)), engine._llm.generate

    def refusing(asked, *args, **options):
        if 10**6 in asked["prompt_token_ids"]:
            raise ValueError("out of vocabulary")
        return generate(asked, *args, **options)

    engine._llm.generate = refusing
    failed, answered = ask(engine, bad, prompt())
    assert isinstance(failed, ValueError)
    assert joined(answered) == ([7, 8, EOS], "stop")
    assert engine.fault() == ""
    assert idle(engine)
    assert engine.statistics.failed == 1


def test_when_vllm_dies_everybody_is_answered_and_the_engine_says_that_it_is_ill(make):
    engine = make((7,), RuntimeError("EngineCore encountered an issue"), slots=2, max_queue=2)
    llm = engine._llm
    llm.gate.clear()

    async def run():
        answers = [engine.submit(prompt()) for _ in range(4)]
        llm.errored = True
        engine._loop.call_soon_threadsafe(llm.gate.set)
        gone = await asyncio.wait_for(asyncio.gather(*map(read, answers), return_exceptions=True), 20)
        with pytest.raises(Unavailable, match="vLLM's engine has died"):
            engine.submit(prompt())
        return gone

    assert engine.fault() == ""
    assert [type(error) for error in asyncio.run(run())] == [Unavailable] * 4
    assert engine.fault() == "vLLM's engine has died"


def test_a_closed_engine_answers_everybody_and_ends_vllm(make):
    engine = make()
    llm = engine._llm
    llm.gate.clear()

    async def run():
        answers = [asyncio.create_task(read(engine.submit(prompt()))) for _ in range(3)]
        await asyncio.sleep(0.01)
        await asyncio.to_thread(engine.close)
        with pytest.raises(Unavailable, match="closed"):
            engine.submit(prompt())
        return await asyncio.gather(*answers, return_exceptions=True)

    assert [type(error) for error in asyncio.run(run())] == [Unavailable] * 3
    assert llm.was_shut_down
    assert engine.fault() == ""
    assert not engine._thread.is_alive()


def test_a_caller_whose_loop_was_closed_holds_no_slot(make):
    engine = make(*ENDLESS)
    engine._llm.gate.clear()

    async def ask_and_vanish():
        engine.submit(prompt(max_tokens=50))

    asyncio.run(ask_and_vanish())
    engine._loop.call_soon_threadsafe(engine._llm.gate.set)
    assert idle(engine)
    assert len(engine._llm.aborted) == 1


# ---- a prompt in vLLM's words


def asked(make, asked_prompt, **options):
    engine = make(**options)
    ask(engine, asked_prompt)
    return engine._llm.asked[0]


def test_greedy_has_no_seed_and_a_callers_options_arrive_whole(make):
    _, params, adapter = asked(make, prompt(max_tokens=9))
    assert (params.temperature, params.seed, params.top_p, params.top_k) == (0.0, None, 1.0, 0)
    assert (params.max_tokens, adapter) == (9, None)
    wished = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.2, "seed": 2**63 - 1}
    _, params, _ = asked(make, prompt(**wished))
    assert {name: getattr(params, name) for name in wished} == wished


def test_our_end_of_text_ends_an_answer_and_our_detokenizer_makes_its_text(make):
    _, params, _ = asked(make, prompt())
    assert (params.ignore_eos, params.stop_token_ids) == (True, [EOS])
    assert (params.detokenize, params.output_kind) == (False, RequestOutputKind.DELTA)


def test_a_prompt_without_pictures_is_its_tokens(make):
    assert asked(make, prompt(ids=(1, 5, 6)))[0] == {"type": "token", "prompt_token_ids": [1, 5, 6]}


def test_pictures_stand_where_their_tokens_are_even_side_by_side_and_are_known_again(make):
    red, blue = torch.zeros(3, 4, 4), torch.ones(3, 4, 4)
    pictures = torch.stack([red, blue, red])
    given, _, _ = asked(make, prompt(pictures=pictures, ids=(1, 3, 3, 3, 3, 9, 3, 3, 8)))
    assert given["prompt_token_ids"] == [1, 3, 3, 3, 3, 9, 3, 3, 8]
    assert [(place.offset, place.length) for place in given["mm_placeholders"]["image"]] == [(1, 2), (3, 2), (6, 2)]
    assert all(map(torch.equal, given["mm_kwargs"]["image"], pictures))
    first, second, third = given["mm_hashes"]["image"]
    assert first == third != second


def test_an_adapter_is_vllms_lora_request_of_that_name(make):
    assert asked(make, prompt(adapter="flowers"), adapters={"flowers": "its request"})[2] == "its request"


# ---- loading


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

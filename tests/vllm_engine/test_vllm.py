"""The real vLLM, on a processor, against our own engine: the same checkpoint in both (`make vllm`)."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from random import Random

import numpy as np
import psutil
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlavaForConditionalGeneration

from lessons.shape_questions import ask
from tritone import checkpoints
from tritone.errors import Unavailable
from tritone.language.llava import Capacity, Limits, Llava, Loading
from tritone.media.image import encode_png
from tritone.vision.shapes import draw_scene, render

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]  # vLLM is three processes, each of which imports torch

VLLM = Loading(engine="vllm")
CAPACITY = Capacity(slots=8, max_queue=64, prefill_chunk=160, enable_prefix_caching=True)
LIMITS = Limits(max_characters=4000, max_pictures=4, max_image_bytes=2**20, max_pixels=10**6, max_tokens=400)
# Found by search for our own engine: with this seed the tiny model repeats itself and never stops.
REPEATING = {"text_input": "Tell me a story.", "temperature": 2.0, "repetition_penalty": 0.4}


def load(loading=VLLM, **options):
    return Llava.load(checkpoints.path("llava"), "cpu", LIMITS, loading, CAPACITY, **options)


@pytest.fixture(scope="module")
def vllm():
    llava = load()
    yield llava
    llava.close()


@pytest.fixture(scope="module")
def ours():
    llava = load(Loading())
    yield llava
    llava.close()


@pytest.fixture(scope="module")
def pictures():
    random = Random(0)
    return [encode_png(np.asarray(render(draw_scene(random), 128))) for _ in range(24)]


@pytest.fixture(scope="module")
def requests():
    """Random questions about random pictures, English and Chinese."""
    random = Random(0)
    found = []
    for number in range(24):
        scene = draw_scene(random)
        question = ask(random, scene, ("en", "zh")[number % 2]).question
        found.append({"text_input": question, "image_bytes": [encode_png(np.asarray(render(scene, 128)))]})
    return found


async def answer(llava, request):
    """The whole text, the reason, how many tokens were read and said."""
    pieces = [piece async for piece in llava.stream(llava.prepare(**request))]
    last = pieces[-1]
    return "".join(piece.text for piece in pieces), last.finish_reason, last.prompt_tokens, last.completion_tokens


def alone(llava, requests):
    return [asyncio.run(answer(llava, request)) for request in requests]


def together(llava, requests):
    async def run():
        return await asyncio.gather(*(answer(llava, request) for request in requests))

    return asyncio.run(run())


def idle(llava, within_s=20.0):
    """Whether nobody holds a slot any more, in our books and in vLLM's."""
    deadline = time.monotonic() + within_s
    while llava.engine._count or llava.engine._llm.output_processor.has_unfinished_requests():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# ---- the same answers


def test_greedy_answers_are_those_of_our_own_engine_alone_and_in_a_crowd(vllm, ours, requests):
    expected = together(ours, requests)
    assert len({text for text, *_ in expected}) > 12
    assert alone(vllm, requests[:8]) == expected[:8]
    assert together(vllm, requests) == expected
    assert idle(vllm)


def test_questions_without_a_picture_and_about_several_are_answered_as_by_ours(vllm, ours, pictures):
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}
    history = json.dumps([turn, {"role": "assistant", "content": "A shape."}])
    asked = [
        *({"text_input": words} for words in ("Hello!", "你好。", "What can you do?", "x " * 200)),
        {"text_input": "What color is it?", "image_bytes": pictures[:1], "messages": history},
        {"text_input": "Which is red?", "image_bytes": pictures[1:3]},
        {"text_input": "Which is red?", "image_bytes": [pictures[3]] * 2},
        {"text_input": "What is it?", "image_bytes": pictures[4:7], "messages": history},
    ]
    assert together(vllm, asked) == together(ours, asked)


def test_a_penalty_a_stop_string_and_a_limit_do_what_they_do_in_ours(vllm, ours, requests):
    whole = alone(ours, requests[:1])[0][0]
    asked = [
        *({**request, "repetition_penalty": 1.3, "max_tokens": 30} for request in requests[:4]),
        *({**request, "max_tokens": 3} for request in requests[:4]),
        {**requests[0], "stop": [whole[2:6]]},
        {**requests[0], "stop": ["never said"], "stream_unit": "clause"},
    ]
    expected = alone(ours, asked)
    assert {reason for _, reason, *_ in expected} == {"stop", "length"}
    assert together(vllm, asked) == expected


# ---- drawing


def test_a_seed_draws_the_same_alone_and_in_a_crowd_and_another_seed_something_else(vllm):
    asked = [{"text_input": "Tell me a story.", "temperature": 2.0, "seed": n, "max_tokens": 20} for n in range(8)]
    expected = alone(vllm, asked)
    assert together(vllm, asked) == expected
    assert len({text for text, *_ in expected}) > 1


# ---- leaving, refusing


def endless(vllm):
    """Requests that repeat themselves to the limit of 400 tokens."""
    found = []
    for seed in range(64):
        request = {**REPEATING, "seed": seed}
        if asyncio.run(answer(vllm, request))[1] == "length":
            found.append(request)
        if len(found) == 2:
            return found
    raise AssertionError("no seed repeats itself")


def test_callers_who_leave_free_their_slots_at_once(vllm):
    asked = endless(vllm)
    before = vllm.engine.statistics.cancelled, vllm.engine.statistics.tokens

    async def run():
        answers = [vllm.engine.submit(vllm.prepare(**asked[n % 2]).prompt) for n in range(16)]
        await anext(aiter(answers[0]))
        for each in answers:
            with each:
                pass
        return await answer(vllm, {"text_input": "Hello!"})

    assert asyncio.run(run())[1] == "stop"
    assert idle(vllm)
    assert vllm.engine.statistics.cancelled == before[0] + 16
    assert vllm.engine.statistics.tokens - before[1] < 16 * 100  # of 400 each


def test_a_full_house_queues_and_then_refuses_at_once(vllm, monkeypatch):
    monkeypatch.setattr(vllm.engine, "max_queue", 2)
    prompt = vllm.prepare(**endless(vllm)[0]).prompt

    async def run():
        answers = [vllm.engine.submit(prompt) for _ in range(10)]
        with pytest.raises(Unavailable, match=r"8 slots are taken and 2 requests wait for one, the limit is 2"):
            vllm.engine.submit(prompt)
        for each in answers:
            with each:
                pass

    asyncio.run(run())
    assert idle(vllm)


# ---- adapters


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Random LoRA folders; `eyes` changes how pictures are seen, too."""
    root = tmp_path_factory.mktemp("adapters")
    targets = {
        "flowers": ["q_proj", "v_proj", "down_proj"],
        "eyes": r".*vision_tower.*(q_proj|fc1)|.*multi_modal_projector\.linear_2|.*language_model.*up_proj",
    }
    for number, (name, target) in enumerate(targets.items()):
        torch.manual_seed(number)
        base = LlavaForConditionalGeneration.from_pretrained(checkpoints.path("llava"), dtype=torch.float32)
        model = get_peft_model(base, LoraConfig(r=4, lora_alpha=64, target_modules=target, init_lora_weights=False))
        model.save_pretrained(root / name)
    return root


def test_adapters_change_the_answers_as_in_ours_each_row_its_own(adapters, requests):
    names = ("flowers", "", "eyes")
    asked = [{**request, "adapter": names[n % 3], "max_tokens": 12} for n, request in enumerate(requests[:12])]
    said = []
    for loading in (Loading(), VLLM):
        llava = load(loading, adapters=adapters)
        said.append(together(llava, asked))
        plain = together(llava, [{**request, "adapter": ""} for request in asked])
        llava.close()
        assert [one == other for one, other in zip(said[-1], plain, strict=True)] == [False, True, False] * 4
    assert said[0] == said[1]


# ---- when things go wrong


def test_when_vllms_process_is_killed_everybody_is_answered_and_the_engine_says_that_it_is_ill():
    llava = load()
    prompt = llava.prepare(**REPEATING, seed=4).prompt

    async def read(each):
        with each:
            return [tokens async for tokens in each]

    async def run():
        answers = [asyncio.create_task(read(llava.engine.submit(prompt))) for _ in range(12)]
        await asyncio.sleep(0.1)
        for process in children(os.getpid()):
            process.kill()
        return await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 60)

    assert {type(error) for error in asyncio.run(run())} <= {Unavailable, list}
    assert llava.engine.fault() == "vLLM's engine has died"
    llava.close()


def children(pid):
    """vLLM's processes of a process, nearest first."""
    return [each for each in psutil.Process(pid).children(recursive=True) if "python" in each.name() or each.cmdline()]


OWNER = """
import sys
from tritone import checkpoints
from tritone.language.llava import Capacity, Limits, Llava, Loading

if __name__ == "__main__":
    limits = Limits(4000, 4, 2**20, 10**6, 400)
    Llava.load(checkpoints.path("llava"), "cpu", limits, Loading(engine="vllm"), Capacity(slots=2))
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_vllm_ends_with_a_model_that_is_killed(tmp_path):
    file = tmp_path / "owner.py"
    file.write_text(OWNER)
    owner = subprocess.Popen([sys.executable, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while owner.stdout.readline().strip() != "ready":
        assert owner.poll() is None
    theirs = children(owner.pid)
    assert theirs
    owner.send_signal(signal.SIGKILL)
    owner.wait(10)
    _, alive = psutil.wait_procs(theirs, timeout=15)
    for process in alive:
        process.kill()
    assert alive == []

"""Continuous batching against transformers' `generate`: alone, in a crowd, and when things go wrong."""

import asyncio
import json
import threading
import time
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from fakes.asking_an_engine import tiny_llava
from transformers import LlavaForConditionalGeneration

from lessons.shape_questions import ask
from tritone import checkpoints, device
from tritone.errors import Unavailable
from tritone.language.choosing.logprobs import TokenLogprob
from tritone.language.choosing.sampling import Sampling
from tritone.language.engine import Engine
from tritone.language.llava import Capacity, Limits, Llava
from tritone.language.token_stream import Answer, Event, Prompt, Tokens
from tritone.media.image import encode_png
from tritone.vision.shapes import draw_scene, render

LIMITS = Limits(max_characters=4000, max_pictures=4, max_image_bytes=2**20, max_pixels=10**6, max_tokens=400)
# Found by search: with this seed the tiny model repeats itself and never stops.
ENDLESS = {"text_input": "Tell me a story.", "temperature": 2.0, "repetition_penalty": 0.4, "seed": 4}


CAPACITY = Capacity(8, 0, 4, prefill_chunk=160)


@pytest.fixture(scope="module")
def model():
    return LlavaForConditionalGeneration.from_pretrained(checkpoints.path("llava"), dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def plain():
    with tiny_llava(LIMITS, capacity=CAPACITY) as llava:
        yield llava


@pytest.fixture(scope="module")
def graphed():
    """Its steps are graphs, by a stand-in for CUDA's: of 1, 2, 4 or 8 rows, looking at 256 columns and more."""
    with tiny_llava(LIMITS, graphed=True, capacity=CAPACITY) as llava:
        assert "CUDA graphs: 16" in llava.describe()
        yield llava


@pytest.fixture(params=["plain", "graphed"])
def llava(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def questions():
    """50 random questions about random pictures, English and Chinese."""
    random = Random(0)
    found = []
    for number in range(50):
        scene = draw_scene(random)
        question = ask(random, scene, ("en", "zh")[number % 2]).question
        found.append((question, encode_png(np.asarray(render(scene, 128)))))
    return found


@pytest.fixture(scope="module")
def expected(plain, model, questions):
    """Token ids of `generate`, each question alone."""
    return [generate(model, plain.prepare(question, [picture]).prompt) for question, picture in questions]


def generate(model, prompt, **options):
    pixels = {} if prompt.pixel_values is None else {"pixel_values": prompt.pixel_values}
    ids = prompt.input_ids[None]
    options = {"max_new_tokens": prompt.max_tokens, "do_sample": False, **options}
    tokens = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **pixels, **options)
    return tokens[0, ids.shape[1] :].tolist()


async def collect(engine, prompt, delay=0.0):
    await asyncio.sleep(delay)
    return await read(engine.submit(prompt))


async def read(answer):
    ids = []
    with answer:
        async for tokens in answer:
            ids += tokens.ids
    return ids


def together(engine, prompts, at_once, random):
    """All answers, `at_once` in flight, each joining at a random time."""

    async def run():
        places = asyncio.Semaphore(at_once)

        async def one(prompt):
            async with places:
                return await collect(engine, prompt, random.random() * 0.05)

        return await asyncio.gather(*map(one, prompts))

    return asyncio.run(run())


def idle(engine, within_s=5.0):
    """Whether every slot gets free: those who left are gone at the next step."""
    deadline = time.monotonic() + within_s
    while engine.statistics.active or engine.statistics.queued:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def test_greedy_answers_alone_are_those_of_generate(llava, questions, expected):
    for (question, picture), tokens in zip(questions, expected, strict=True):
        assert asyncio.run(collect(llava.engine, llava.prepare(question, [picture]).prompt)) == tokens


def test_greedy_answers_in_a_crowd_are_those_of_generate(llava, questions, expected):
    before = llava.engine.statistics.steps, llava.engine.statistics.batched_tokens
    prompts = [llava.prepare(question, [picture]).prompt for question, picture in questions]
    assert together(llava.engine, prompts, 8, Random(1)) == expected
    steps = llava.engine.statistics.steps - before[0]
    assert (llava.engine.statistics.batched_tokens - before[1]) / steps > 2  # they did share passes
    assert idle(llava.engine)


def test_sampled_answers_are_the_same_alone_and_in_a_crowd(llava, questions):
    options = [
        {"temperature": 1.5, "seed": n, "top_p": (1.0, 0.9)[n % 2], "top_k": (0, 40)[n // 2 % 2], "max_tokens": 40}
        for n in range(24)
    ]
    prompts = [
        llava.prepare(question, [picture], **some).prompt
        for (question, picture), some in zip(questions, options, strict=False)
    ]
    alone = [asyncio.run(collect(llava.engine, prompt)) for prompt in prompts]
    assert together(llava.engine, prompts, 8, Random(2)) == alone
    assert len({tuple(tokens) for tokens in alone}) > 20


def test_a_repetition_penalty_is_that_of_generate(llava, model, questions):
    prompts = [llava.prepare(q, [p], repetition_penalty=1.3, max_tokens=30).prompt for q, p in questions[:8]]
    expected = [generate(model, prompt, repetition_penalty=1.3) for prompt in prompts]
    assert together(llava.engine, prompts, 8, Random(3)) == expected


def test_prompts_longer_than_a_stretch_and_of_many_turns_are_read_as_by_generate(llava, model, questions):
    """Up to three stretches of 160 tokens, two pictures in earlier turns, short questions in between."""
    turn = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    history = [{"role": "user", "content": turn}, {"role": "assistant", "content": "A shape."}] * 2
    history += [{"role": "user", "content": "hello " * 60}, {"role": "assistant", "content": "Hello."}]
    pictures = [picture for _, picture in questions[:3]]
    long = [llava.prepare(q, pictures, json.dumps(history), max_tokens=60).prompt for q, _ in questions[:4]]
    short = [llava.prepare(q, [p], max_tokens=60).prompt for q, p in questions[4:12]]
    assert len(long[0].input_ids) > 320
    mixed = [prompt for pair in zip(long, short, strict=False) for prompt in pair] + short[4:]
    expected = [generate(model, prompt) for prompt in mixed]
    assert together(llava.engine, mixed, 8, Random(4)) == expected


def test_what_is_read_of_a_long_prompt_stays_its_own_while_answers_in_front_of_it_end(llava, model, questions):
    """It is read in three stretches, and after each an answer ends and gives its slot up."""
    short = [llava.prepare(q, max_tokens=most).prompt for most, (q, _) in enumerate(questions[:5], start=1)]
    long = [llava.prepare(f"{'hello ' * 130}{q}", max_tokens=20).prompt for q, _ in questions[5:7]]
    assert all(320 < len(prompt.input_ids) < 480 for prompt in long)
    expected = [generate(model, prompt) for prompt in [*short, *long]]

    async def run():
        return await asyncio.gather(*(collect(llava.engine, prompt) for prompt in [*short, *long]))

    assert asyncio.run(run()) == expected


def test_a_long_prompt_does_not_freeze_the_others(llava, questions):
    """While it is read, stretch by stretch, answers in progress get a token after every stretch."""
    engine, arrived = llava.engine, []
    reader = llava.prepare("x " * 450, max_tokens=1).prompt
    assert len(reader.input_ids) > 5 * 160

    async def run():
        with engine.submit(llava.prepare(**ENDLESS, max_tokens=100).prompt) as answer:
            tokens = aiter(answer)
            await anext(tokens)
            long = asyncio.create_task(collect(engine, reader))
            await asyncio.sleep(0)
            while not long.done():
                arrived.extend((await anext(tokens)).ids)

    asyncio.run(run())
    assert len(arrived) >= 5
    assert idle(engine)


def test_a_caller_who_leaves_frees_the_slot_and_nobody_notices(llava, questions, expected):
    engine = llava.engine
    before = engine.statistics.cancelled

    async def run():
        for question, picture in questions[:4]:
            with engine.submit(llava.prepare(question, [picture]).prompt) as answer:
                async for _ in answer:
                    break
        prompts = [llava.prepare(question, [picture]).prompt for question, picture in questions[:6]]
        return await asyncio.gather(*(collect(engine, prompt) for prompt in prompts))

    assert asyncio.run(run()) == expected[:6]
    assert idle(engine)
    assert engine.statistics.cancelled == before + 4


def test_a_full_house_queues_and_then_refuses_at_once(llava):
    prompt = llava.prepare(**ENDLESS, max_tokens=300).prompt
    quick = llava.prepare("Hello.", max_tokens=2).prompt

    async def run():
        engine = llava.engine
        answers = [engine.submit(prompt) for _ in range(8)]
        while engine.statistics.active < 8:
            await asyncio.sleep(0.001)
        queued = [asyncio.create_task(read(engine.submit(quick))) for _ in range(4)]
        with pytest.raises(Unavailable, match=r"8 slots are taken and 4 requests wait for one, the limit is 4"):
            engine.submit(quick)
        for answer in answers:
            answer.left = True
        return await asyncio.gather(*queued)

    assert [len(tokens) for tokens in asyncio.run(run())] == [2] * 4
    assert idle(llava.engine)


def test_an_answer_that_is_not_finite_fails_alone_and_leaves_no_trace(llava, questions, expected):
    good = [llava.prepare(question, [picture]).prompt for question, picture in questions[:5]]
    broken = Prompt(good[0].input_ids, torch.full_like(good[0].pixel_values, torch.nan), 64, 50, Sampling())

    async def run(prompts):
        return await asyncio.gather(*(collect(llava.engine, prompt) for prompt in prompts), return_exceptions=True)

    results = asyncio.run(run([*good[:2], broken, *good[2:], broken]))
    assert [results[place] for place in (0, 1, 3, 4, 5)] == expected[:5]
    assert isinstance(results[2], ArithmeticError)
    assert isinstance(results[6], ArithmeticError)
    assert asyncio.run(run(good)) == expected[:5]  # through slots that held NaN


def test_prompts_that_are_not_finite_and_leave_while_they_are_read_harm_nobody(llava, questions, expected):
    """What they leave in slots that others get, or that are moved into, is never looked at."""
    engine = llava.engine
    good = [llava.prepare(question, [picture]).prompt for question, picture in questions]
    long = llava.prepare("x " * 450, [questions[0][1]], max_tokens=1).prompt
    broken = replace(long, pixel_values=torch.full_like(long.pixel_values, torch.nan))
    random = Random(5)

    async def leave():
        with engine.submit(broken):
            while not any(layer.isnan().any() for layer in engine.decoder.cache._layers):
                await asyncio.sleep(0.001)
            await asyncio.sleep(random.random() * 0.05)

    async def run():
        await asyncio.gather(*(leave() for _ in range(8)))  # every slot
        while engine.statistics.active:
            await asyncio.sleep(0.001)
        places = asyncio.Semaphore(4)

        async def one(number):
            async with places:
                if number % 5 == 0:
                    await leave()
                return await collect(engine, good[number])

        return await asyncio.gather(*map(one, range(len(good))))

    assert asyncio.run(run()) == expected
    assert idle(engine)


def test_a_prompt_that_breaks_the_network_fails_alone(llava, questions, expected):
    good = llava.prepare(questions[0][0], [questions[0][1]]).prompt
    broken = Prompt(torch.tensor([10**6]), None, 0, 5, Sampling())

    async def run():
        return await asyncio.gather(collect(llava.engine, broken), collect(llava.engine, good), return_exceptions=True)

    failure, answer = asyncio.run(run())
    assert isinstance(failure, IndexError)
    assert answer == expected[0]
    assert idle(llava.engine)


def test_a_closed_engine_answers_everybody():
    llava = Llava.load(checkpoints.path("llava"), "cpu", LIMITS, capacity=Capacity(slots=1))
    prompt = llava.prepare(**ENDLESS, max_tokens=400).prompt

    async def run():
        answers = [asyncio.create_task(collect(llava.engine, prompt)) for _ in range(2)]
        await asyncio.sleep(0.05)
        await asyncio.to_thread(llava.close)
        return await asyncio.gather(*answers, return_exceptions=True)

    assert [type(result) for result in asyncio.run(run())] == [Unavailable, Unavailable]


def test_tokens_within_an_interval_come_together_the_first_and_the_last_at_once():
    async def read():
        answer = Answer(Prompt(torch.tensor([1]), None, 0, 4, Sampling()), interval_s=3600)
        given = aiter(answer)
        answer.put(Event(answer, 1))
        first = await anext(given)
        for token, reason in ((2, ""), (3, ""), (4, "length")):
            answer.put(Event(answer, token, reason, logprob=TokenLogprob(token, -1.0, ())))
        return [first, await anext(given)]

    logprobs = [TokenLogprob(token, -1.0, ()) for token in (2, 3, 4)]
    assert asyncio.run(read()) == [Tokens([1], ""), Tokens([2, 3, 4], "length", logprobs)]


def test_on_a_device_that_is_lost_everybody_is_answered_and_the_engine_says_that_it_is_ill(monkeypatch):
    """A CUDA context that has failed fails every further call, the freeing of slots too."""
    own = Llava.load(checkpoints.path("llava"), "cpu", LIMITS, capacity=Capacity(2, 0, 4))
    hook, threading.excepthook = threading.excepthook, lambda _: None

    def lost(*_):
        raise RuntimeError("CUDA error: device-side assert triggered")

    async def run():
        prompts = [own.prepare(f"What is {number}?").prompt for number in range(4)]  # two of them wait for a slot
        monkeypatch.setattr(own.engine.decoder, "decode", lost)
        monkeypatch.setattr(own.engine.decoder.cache, "clear", lost)
        answers = await asyncio.wait_for(
            asyncio.gather(*(collect(own.engine, prompt) for prompt in prompts), return_exceptions=True), 20
        )
        assert all("CUDA error" in str(error) or isinstance(error, Unavailable) for error in answers), answers
        with pytest.raises(Unavailable):
            own.engine.submit(prompts[0])

    try:
        asyncio.run(run())
        own.engine._thread.join(10)
    finally:
        threading.excepthook = hook
    assert own.engine.fault() == "its engine's thread has ended (RuntimeError)"


def test_the_engines_thread_computes_on_the_device_that_its_process_chose(llava, monkeypatch):
    """CUDA has a current device for each thread, and number 0 in a new one."""
    threads = []
    monkeypatch.setattr(device, "take_up", lambda: threads.append(threading.current_thread().name))
    Engine(llava.engine.decoder, [0]).close()
    assert threads == ["engine"]

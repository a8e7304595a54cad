"""Pictures that are looked at beside the engine's thread."""

import asyncio
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tritone import checkpoints
from tritone.language.adapters import Adapters
from tritone.language.choosing.sampling import Sampling
from tritone.language.eyes import Eyes
from tritone.language.llava import Capacity, Limits, Llava
from tritone.language.token_stream import Prompt
from tritone.media.image import encode_png
from tritone.torch_threads import WORTH, Threads

LIMITS = Limits(max_characters=400, max_pictures=2, max_image_bytes=2**20, max_pixels=10**6, max_tokens=400)
PICTURE = encode_png(np.zeros((64, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def llava():
    llava = Llava.load(checkpoints.path("llava"), "cpu", LIMITS, capacity=Capacity(slots=2, max_queue=4))
    yield llava
    llava.close()


@pytest.fixture
def gate(llava, monkeypatch):
    """While it is closed, no picture is seen; it says how many were begun."""
    gate, embed = SimpleNamespace(begun=0, opened=threading.Event()), llava.engine._eyes._embed

    def wait(input_ids, pixel_values, adapter):
        gate.begun += 1
        assert gate.opened.wait(10)
        return embed(input_ids, pixel_values, adapter)

    monkeypatch.setattr(llava.engine._eyes, "_embed", wait)
    yield gate
    gate.opened.set()


@pytest.fixture
def threads():
    """torch's, which a test may change."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


async def read(answer):
    with answer:
        return [token async for tokens in answer for token in tokens.ids]


def test_answers_in_progress_go_on_while_a_picture_is_looked_at(llava, gate):
    words = llava.prepare("Hello.", max_tokens=8).prompt
    shown = llava.prepare("What color is the circle?", [PICTURE], max_tokens=3).prompt

    async def run():
        looking = asyncio.create_task(read(llava.engine.submit(shown)))
        said = [await read(llava.engine.submit(words)) for _ in range(3)]
        assert gate.begun == 1
        assert not looking.done()
        gate.opened.set()
        return said, await looking

    said, seen = asyncio.run(run())
    assert said[0] == said[1] == said[2]
    assert len(said[0]) > 1
    assert seen == asyncio.run(read_alone(llava, shown))


async def read_alone(llava, prompt):
    return await read(llava.engine.submit(prompt))


def test_while_all_slots_wait_for_pictures_the_engine_sleeps(llava, gate):
    """And those behind them are answered afterwards."""
    shown = llava.prepare("What color is the circle?", [PICTURE], max_tokens=3).prompt
    alive = llava.engine._has_work
    looks = []
    llava.engine._has_work = lambda: looks.append(0) or alive()

    async def run():
        answers = [asyncio.create_task(read(llava.engine.submit(shown))) for _ in range(5)]
        while llava.engine.statistics.active < 2:
            await asyncio.sleep(0.001)
        looks.clear()
        await asyncio.sleep(0.1)
        seen = len(looks)
        gate.opened.set()
        return seen, await asyncio.gather(*answers)

    try:
        seen, answers = asyncio.run(run())
    finally:
        del llava.engine._has_work
    assert seen <= 10  # a thread that spins looks a thousand times
    assert answers == 5 * [answers[0]]


def test_of_a_caller_who_has_left_no_picture_is_looked_at(llava, gate):
    shown = llava.prepare("What color is the circle?", [PICTURE], max_tokens=3).prompt

    async def run():
        first = asyncio.create_task(read(llava.engine.submit(shown)))
        while not gate.begun:
            await asyncio.sleep(0.001)
        with llava.engine.submit(shown):
            while llava.engine.statistics.active < 2:
                await asyncio.sleep(0.001)
        words = await read(llava.engine.submit(llava.prepare("Hello.", max_tokens=2).prompt))  # steps go by
        gate.opened.set()
        return words, await first

    words, seen = asyncio.run(run())
    assert (len(words), gate.begun) == (2, 1)
    assert seen == asyncio.run(read_alone(llava, shown))


def test_a_picture_that_cannot_be_embedded_fails_alone(llava):
    shown = llava.prepare("What color is the circle?", [PICTURE], max_tokens=3).prompt
    broken = replace(shown, pixel_values=torch.zeros(1, 3, 5, 5))

    async def run():
        return await asyncio.gather(*map(read, map(llava.engine.submit, (broken, shown))), return_exceptions=True)

    error, seen = asyncio.run(run())
    assert isinstance(error, (ValueError, RuntimeError))
    assert seen == asyncio.run(read_alone(llava, shown))


def test_a_lone_picture_has_all_threads_of_a_processor_and_one_among_others_half(threads):
    torch.set_num_threads(4)
    seen = []
    eyes = Eyes(lambda *_: seen.append(torch.get_num_threads()) or torch.zeros(1), lambda: None)
    prompt = Prompt(torch.zeros(1, dtype=torch.int64), None, 0, 1, Sampling())
    for alone in (True, False):
        eyes.look(prompt, alone=alone).result()
    eyes.close()
    assert seen == [4, 2]


def test_on_a_card_a_picture_is_done_before_the_next_is_begun(monkeypatch):
    """Or a crowd's pictures would lie before the next token of those in progress."""
    events = []
    stream = SimpleNamespace(synchronize=lambda: events.append("waited"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: events.append(device) or stream)
    eyes = Eyes(lambda *_: events.append("embedded") or SimpleNamespace(is_cuda=True, device="cuda:1"), lambda: None)
    prompt = Prompt(torch.zeros(1, dtype=torch.int64), None, 0, 1, Sampling())
    for look in [eyes.look(prompt, alone=True) for _ in range(2)]:
        look.result()
    eyes.close()
    assert events == 2 * ["embedded", "cuda:1", "waited"]


def test_each_thread_has_the_adapters_of_its_own_pass():
    adapters = Adapters(["flowers", "x-rays"])
    inside, outside = threading.Event(), threading.Event()
    seen = []

    def name_rows():
        return adapters._name_rows(nn.Identity(), (torch.zeros(2, 1),), {})[1]["adapter_names"]

    def other():
        with adapters.rows(["x-rays", ""]):
            inside.set()
            assert outside.wait(5)
            seen.append(name_rows())

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(5)
    assert name_rows() == ["__base__", "__base__"]
    with adapters.rows(["", "flowers"]):
        assert name_rows() == ["__base__", "flowers"]
        outside.set()
        thread.join()
    assert seen == [["x-rays", "__base__"]]


def test_small_products_are_computed_by_one_thread_and_large_ones_by_all(threads):
    torch.set_num_threads(2)
    mine = Threads(nn.Sequential(nn.Linear(64, 256), nn.Linear(64, 256), nn.LayerNorm(64)))
    for tokens, expected in ((1, 1), (WORTH // 2**14, 1), (WORTH // 2**14 + 1, 2), (8, 1)):
        mine.take(tokens)
        assert torch.get_num_threads() == expected

"""What tests do with an engine of LLaVA's: ask, and see whether nobody is left in it."""

import asyncio
import time
from contextlib import contextmanager

import pytest
from fakes.fake_graph import FakeCapture

from tritone import checkpoints
from tritone.language.llava import Llava


@contextmanager
def tiny_llava(limits, graphed=False, **options):
    """The tiny checkpoint on the CPU; its steps may be graphs, by a stand-in for CUDA's."""
    with pytest.MonkeyPatch.context() as patch:
        if graphed:
            patch.setattr("tritone.language.llava.capture_on", lambda *_: FakeCapture())
        llava = Llava.load(checkpoints.path("llava"), "cpu", limits, **options)
    yield llava
    llava.close()


async def read(answer):
    with answer:
        return [tokens async for tokens in answer]


def ask(engine, *prompts):
    """The answers to all at once, as lists of Tokens; what went wrong in place of one."""

    async def run():
        answers = [engine.submit(each) for each in prompts]
        return await asyncio.wait_for(asyncio.gather(*map(read, answers), return_exceptions=True), 20)

    return asyncio.run(run())


def idle(engine, within_s=5.0):
    deadline = time.monotonic() + within_s
    while engine._count:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True

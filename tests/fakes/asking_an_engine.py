"""What tests do with an engine of LLaVA's: ask, and see whether nobody is left in it."""

import asyncio
import time


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

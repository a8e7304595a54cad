"""Stages that overlap: while one item is being worked on, the next arrives. It knows nothing of models or Triton."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_order(
    items: AsyncGenerator[Item, None], work: Callable[[Item], Awaitable[Result]], ahead: int
) -> AsyncGenerator[Result, None]:
    """`await work(item)` for each item as soon as it arrives; yield the results in the order of the items.

    At most `ahead` items are taken whose results nobody has collected yet. An error of `items` or `work` is raised
    where its result would have come. Leaving the iterator cancels what is under way and closes `items`.
    """
    started: asyncio.Queue[asyncio.Task[Result] | None] = asyncio.Queue()
    room = asyncio.Semaphore(ahead)
    tasks: set[asyncio.Task[Result]] = set()

    async def feed() -> None:
        try:
            await room.acquire()
            async for item in items:
                task = asyncio.ensure_future(work(item))
                tasks.add(task)
                started.put_nowait(task)
                await room.acquire()
        finally:
            started.put_nowait(None)

    feeder = asyncio.create_task(feed())
    try:
        while (task := await started.get()) is not None:
            result = await task
            tasks.discard(task)
            yield result
            room.release()
        await feeder
    finally:
        feeder.cancel()
        for unfinished in tasks:
            unfinished.cancel()
        await asyncio.gather(feeder, *tasks, return_exceptions=True)
        await items.aclose()

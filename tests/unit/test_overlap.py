"""Stages overlap, keep their order, stay within their bound, and stop together."""

import asyncio
from contextlib import aclosing

from tritone.overlap import in_order


async def items(count: int, closed: list[str] | None = None):
    try:
        for item in range(count):
            yield item
    finally:
        if closed is not None:
            closed.append("items")


async def collect(source, work, ahead: int) -> list:
    return [result async for result in in_order(source, work, ahead)]


def test_results_come_in_order_though_later_ones_are_ready_first() -> None:
    async def work(item: int) -> int:
        await asyncio.sleep(0.02 * (3 - item))
        return item

    assert asyncio.run(collect(items(3), work, ahead=3)) == [0, 1, 2]


def test_the_next_is_worked_on_while_the_first_is_taken_but_never_too_many() -> None:
    running, most, started = 0, 0, []

    async def work(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        started.append(item)
        await asyncio.sleep(0.01)
        running -= 1
        return item

    async def slow_listener() -> list[int]:
        seen = []
        async for result in in_order(items(6), work, 2):
            await asyncio.sleep(0.05)
            seen.append(len(started) - result)  # taken, and started ahead of it
        return seen

    ahead = asyncio.run(slow_listener())
    assert most == 2
    assert max(ahead) <= 2


def until_it_fails(source, work) -> tuple[list, str]:
    """The results before the error, and its words."""

    async def run() -> tuple[list, str]:
        got: list = []
        try:
            async for result in in_order(source, work, 3):
                got.append(result)  # noqa: PERF401 (what came before the error counts)
        except (ValueError, RuntimeError) as error:
            return got, str(error)
        return got, ""

    return asyncio.run(run())


def test_an_error_comes_where_its_result_would_have_come() -> None:
    async def work(item: int) -> int:
        if item == 1:
            raise ValueError("one")
        return item

    assert until_it_fails(items(3), work) == ([0], "one")


def test_an_error_of_the_source_is_raised_after_what_came_before() -> None:
    async def broken():
        yield 0
        raise RuntimeError("source")

    async def work(item: int) -> int:
        return item

    assert until_it_fails(broken(), work) == ([0], "source")


def test_leaving_stops_the_work_and_the_source() -> None:
    cancelled: list[object] = []

    async def work(item: int) -> int:
        try:
            await asyncio.sleep(0 if item == 0 else 60)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    async def run() -> None:
        async with aclosing(in_order(items(5, cancelled), work, 2)) as results:
            async for _ in results:
                await asyncio.sleep(0.01)
                break

    asyncio.run(run())
    assert sorted(map(str, cancelled)) == ["1", "items"]

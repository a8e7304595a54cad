"""The most urgent is done first, who has left is left out, and a failure stays with its item."""

import asyncio
import threading

import pytest

from tritone.serving.urgency import Worker


class Bench:
    """Work that waits until it is let go, and notes what it did."""

    def __init__(self) -> None:
        self.free, self.busy, self.done = threading.Event(), threading.Event(), []

    def __call__(self, items):
        self.busy.set()
        assert self.free.wait(10)
        self.done.append(list(items))
        if "bad" in items:
            raise ValueError("bad")
        return [item.upper() for item in items]


async def queue(worker: Worker, bench: Bench, wishes: list[tuple[str, float]]) -> list[asyncio.Task]:
    """Tasks for the wishes, all waiting behind a first one that is being worked on."""
    first = asyncio.ensure_future(worker("first"))
    await asyncio.to_thread(bench.busy.wait, 10)
    tasks = [asyncio.ensure_future(worker(item, patience)) for item, patience in wishes]
    await asyncio.sleep(0.01)
    return [first, *tasks]


def test_the_earliest_deadline_comes_first_and_equal_ones_in_order() -> None:
    async def run() -> list[str]:
        bench = Bench()
        worker = Worker(bench)
        tasks = await queue(worker, bench, [("later", 9.0), ("a", 0.0), ("b", 0.0)])
        bench.free.set()
        assert await asyncio.gather(*tasks) == ["FIRST", "LATER", "A", "B"]
        return [item for items in bench.done for item in items]

    assert asyncio.run(run()) == ["first", "a", "b", "later"]


def test_who_leaves_before_his_turn_is_left_out() -> None:
    async def run() -> list[list[str]]:
        bench = Bench()
        worker = Worker(bench)
        first, gone, stays = await queue(worker, bench, [("gone", 0.0), ("stays", 0.0)])
        gone.cancel()
        await asyncio.sleep(0.01)
        bench.free.set()
        await asyncio.gather(first, stays)
        return bench.done

    assert asyncio.run(run()) == [["first"], ["stays"]]


def test_several_are_done_at_a_time_and_a_bad_one_fails_alone() -> None:
    async def run() -> tuple[list, list]:
        bench = Bench()
        worker = Worker(bench, at_a_time=3)
        tasks = await queue(worker, bench, [("a", 0.0), ("bad", 0.0), ("b", 0.0), ("c", 0.0)])
        bench.free.set()
        return await asyncio.gather(*tasks, return_exceptions=True), bench.done

    results, done = asyncio.run(run())
    assert done == [["first"], ["a", "bad", "b"], ["a"], ["bad"], ["b"], ["c"]]
    assert [results[0], results[1], *results[3:]] == ["FIRST", "A", "B", "C"]
    with pytest.raises(ValueError, match="bad"):
        raise results[2]

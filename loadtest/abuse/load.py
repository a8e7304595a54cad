"""Load on one model from a process of its own: closed loops to find the peak, an open one to go beyond it.

Requests were serialised before and answers are kept as bytes, as the generator shares the processors with the server;
what they say is looked at afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import grpc
import grpc.aio

from abuse.wire import CHANNEL_OPTIONS, OK, UNARY

T = TypeVar("T")
CHANNELS = 4
FIRST = -10  # niceness of the generator


@dataclass
class Answer:
    """One request of the load; times in seconds from its beginning."""

    sample: int  # which of the messages was sent
    started: float
    ended: float = 0.0
    code: str = OK
    body: bytes = b""
    detail: str = ""

    @property
    def seconds(self) -> float:
        """How long the caller waited."""
        return self.ended - self.started


@dataclass
class Run:
    """A load that is over."""

    seconds: float  # the time during which requests were sent
    answers: list[Answer] = field(default_factory=list)
    late: list[float] = field(default_factory=list)  # by how many seconds the generator itself missed each arrival


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _go_first) as pool:
        return pool.submit(function, *arguments).result()


def _go_first() -> None:
    """The generator stands for other machines: where it may, it does not wait for the processes of the server."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)


def peak(address: str, messages: Sequence[bytes], users: Sequence[int], seconds: float) -> float:
    """The best throughput, right answers or not, per second, of closed loops of so many users."""
    best = 0.0
    for count in users:
        run = asyncio.run(_closed(address, messages, count, seconds))
        done = [answer.ended for answer in run.answers if answer.code == OK]
        # The last answers came after the time was up: they count with the time that they took.
        best = max(best, len(done) / max([seconds, *done]))
    return best


def overload(address: str, messages: Sequence[bytes], rate: float, seconds: float, deadline_s: float) -> Run:
    """Poisson arrivals, `rate` a second, whether or not earlier requests were answered."""
    return asyncio.run(_open(address, messages, rate, seconds, deadline_s))


async def _closed(address: str, messages: Sequence[bytes], users: int, seconds: float) -> Run:
    run, calls, began = Run(seconds), _Calls(address, 60.0), time.perf_counter()

    async def user(number: int) -> None:
        turn = number
        while time.perf_counter() - began < seconds:
            run.answers.append(await calls.ask(turn, messages, began))
            turn += 1

    await asyncio.gather(*(user(number) for number in range(users)))
    await calls.close()
    return run


async def _open(address: str, messages: Sequence[bytes], rate: float, seconds: float, deadline_s: float) -> Run:
    run, calls, random = Run(seconds), _Calls(address, deadline_s), Random(0)
    at, tasks = random.expovariate(rate), list[asyncio.Task[Answer]]()
    gc.disable()  # there is no garbage in circles here, and the many objects would be gone through again and again
    began = time.perf_counter()
    while at < seconds:
        now = time.perf_counter() - began
        await asyncio.sleep(max(at - now, 0))
        run.late.append(max(time.perf_counter() - began - at, 0))
        tasks.append(asyncio.create_task(calls.ask(len(tasks), messages, began)))
        at += random.expovariate(rate)
    run.answers = list(await asyncio.gather(*tasks))
    await calls.close()
    return run


class _Calls:
    """A few channels that all requests share."""

    def __init__(self, address: str, deadline_s: float) -> None:
        self._channels = [grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) for _ in range(CHANNELS)]
        self._infer = [channel.unary_unary(UNARY) for channel in self._channels]  # bytes in, bytes out
        self._deadline_s = deadline_s
        self._bodies: dict[bytes, bytes] = {}  # equal answers are kept once

    async def ask(self, number: int, messages: Sequence[bytes], began: float) -> Answer:
        """Send a request, and note what came."""
        answer = Answer(number % len(messages), time.perf_counter() - began)
        try:
            body = await self._infer[number % CHANNELS](messages[answer.sample], timeout=self._deadline_s)
            answer.body = self._bodies.setdefault(body, body)
        except grpc.aio.AioRpcError as error:
            answer.code, answer.detail = error.code().name, error.details() or ""
        answer.ended = time.perf_counter() - began
        return answer

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()

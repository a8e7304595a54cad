"""Calls of one network by the pictures in flight: joined where they can be, and in turn where they can't.

Images in flight are coroutines of one event loop. Each asks for a noise prediction and waits; when the UNet is free,
all that wait go together in one call, and when it answers, all of them compute their next latents and wait again
before the next call starts. So users who came at different moments fall into step with each other, a newcomer waits
for one call at most, and a lone user waits for nobody. Left to themselves (each its own request, joined by whatever
queue stands before the UNet) they would stay in the groups in which they happened to arrive, which take turns.

Only rows of one shape go together; each shape has its own lane, and the lane that has had the least of the network's
time is next: a small picture never waits for more than one call of large ones, however many of those there are. (The
order is that of start-time fair queueing: Goyal, Vin and Cheng 1996.) This module knows tensors and nothing of Triton.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import torch

Rows = dict[str, torch.Tensor]  # by tensor name, each (n, ...)
Network = Callable[[Rows], Awaitable[Rows]]

# Rounds of the event loop that those who were just served need to come back with their next step: one to take up
# their result, one more where a generator stands between.
COMING_BACK = 3


@dataclass
class _Waiting:
    inputs: Rows
    answer: asyncio.Future[Rows]

    @property
    def rows(self) -> int:
        return _count(self.inputs)


@dataclass
class _Lane:
    """Those who wait with rows of one shape."""

    spent: float  # seconds of the network that the lane has had, counted from when others' lanes had as many
    waiting: deque[_Waiting] = field(default_factory=deque)

    def take(self, most: int) -> list[_Waiting]:
        """The first who still wait, with at most so many rows together."""
        group: list[_Waiting] = []
        while self.waiting and sum(each.rows for each in group) + self.waiting[0].rows <= most:
            if not (first := self.waiting.popleft()).answer.done():
                group.append(first)
        return group

    def is_wanted(self) -> bool:
        return any(not each.answer.done() for each in self.waiting)


class JoinedCalls:
    """A network, as many coroutines call it.

    A call has at most `max_rows` rows and, but for a single row, at most `max_values` numbers in its first input (0:
    any): it ends in seconds, so that whoever waits for it knows that it is being worked on, others get their turn, and
    little is done for a caller who leaves. Rows of one caller that are more than that go in several calls.
    """

    def __init__(self, network: Network, max_rows: int, max_values: int = 0) -> None:
        self._network = network
        self._max_rows, self._max_values = max_rows, max_values
        self._lanes: dict[tuple[torch.Size, ...], _Lane] = {}
        self._clock = 0.0  # `spent` of the lane that was served last
        self._turns: asyncio.Task[None] | None = None

    async def __call__(self, inputs: Rows) -> Rows:
        """The network's outputs for the rows, computed in whatever company.

        Whoever is cancelled while waiting is left out of the next call; a call under way goes on for the others.
        """
        most = self._most(inputs)
        parts = zip(*(torch.split(tensor, most) for tensor in inputs.values()), strict=True)
        answers = [self._ask(dict(zip(inputs, part, strict=True))) for part in parts]
        try:
            return _joined([await answer for answer in answers])
        finally:
            for answer in answers:
                answer.cancel()

    def _most(self, inputs: Rows) -> int:
        """Rows of this size in a call."""
        values = next(iter(inputs.values()))[0].numel()
        return max(min(self._max_rows, self._max_values // values), 1) if self._max_values else self._max_rows

    def _ask(self, inputs: Rows) -> asyncio.Future[Rows]:
        waiting = _Waiting(inputs, asyncio.get_running_loop().create_future())
        shape = tuple(tensor.shape[1:] for tensor in inputs.values())
        lane = self._lanes.setdefault(shape, _Lane(self._clock))
        if not lane.waiting:
            lane.spent = max(lane.spent, self._clock)
        lane.waiting.append(waiting)
        if self._turns is None or self._turns.done():
            self._turns = asyncio.create_task(self._run())
        return waiting.answer

    async def _run(self) -> None:
        """Call after call, until nobody comes back. However it ends, nobody is left waiting."""
        group: list[_Waiting] = []
        try:
            while True:
                for _ in range(COMING_BACK):
                    await asyncio.sleep(0)
                lanes = [lane for lane in self._lanes.values() if lane.is_wanted()]
                if not lanes:
                    return
                lane = min(lanes, key=lambda each: each.spent)
                self._clock, started = lane.spent, time.monotonic()
                group = lane.take(self._most(lane.waiting[0].inputs))
                await self._answer(group)
                lane.spent += time.monotonic() - started
        finally:
            lanes, self._lanes, self._turns = list(self._lanes.values()), {}, None
            for each in (*group, *(each for lane in lanes for each in lane.waiting)):
                if not each.answer.done():
                    each.answer.set_exception(RuntimeError("the calls of this network have come to an end"))

    async def _answer(self, group: Sequence[_Waiting]) -> None:
        """One call for the group; if it fails, each is asked for by itself, so that only the one at fault fails."""
        try:
            outputs = await self._network(_joined([each.inputs for each in group]))
            split = {name: torch.split(tensor, [each.rows for each in group]) for name, tensor in outputs.items()}
        except Exception as error:
            if len(group) > 1:
                for each in group:
                    await self._answer([each])
            elif not group[0].answer.done():
                group[0].answer.set_exception(error)
            return
        for place, each in enumerate(group):
            if not each.answer.done():  # it may have left meanwhile
                each.answer.set_result({name: tensors[place] for name, tensors in split.items()})


def _count(rows: Rows) -> int:
    return len(next(iter(rows.values())))


def _joined(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

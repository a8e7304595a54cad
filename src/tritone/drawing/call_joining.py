"""Calls of one network by the pictures in flight: joined where that pays, and in turn where it doesn't.

Images in flight are coroutines of one event loop. Each asks for a noise prediction and waits; when the UNet is free,
those that wait go together in one call, and when it answers, all of them compute their next latents and wait again
before the next call starts. So users who came at different moments fall into step with each other, a newcomer waits
for one call at most, and a lone user waits for nobody. Left to themselves (each its own request, joined by whatever
queue stands before the UNet) they would stay in the groups in which they happened to arrive, which take turns.

How many go together is learned (`call_costs`): while more rows make a call do more a second, all of them. Where a few
pictures keep the device busy, so many are drawn to their end before others begin, those with the fewest steps left
first: the last is ready as early as with all of them together, and the others are ready earlier. Nobody is passed for
ever: who comes a call later counts as if they had a step more to do.

Only rows of one shape go together; each shape has its own lane, and the lane that has had the least of the network's
time is next: a small picture never waits for more than one call of large ones, however many of those there are. (The
order is that of start-time fair queueing: Goyal, Vin and Cheng 1996.) This module knows tensors and nothing of Triton.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from tritone.drawing.call_costs import CallCost

Rows = dict[str, torch.Tensor]  # by tensor name, each (n, ...)
Network = Callable[[Rows], Awaitable[Rows]]

# Rounds of the event loop that those who were just served need to come back with their next step: one to take up
# their result, one more where a generator stands between.
COMING_BACK = 3
REMEMBERED = 256  # shapes whose costs are kept while nobody waits


@dataclass
class _Waiting:
    inputs: Rows
    answer: asyncio.Future[Rows]
    order: int  # smaller is first

    @property
    def rows(self) -> int:
        return _count(self.inputs)


class _Lane:
    """Those who wait with rows of one shape."""

    def __init__(self) -> None:
        self.spent = 0.0  # seconds of the network that it has had, counted from when others' lanes had as many
        self.waiting: list[_Waiting] = []
        self._cost = CallCost()
        self._calls = 0
        self._came: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # by task: how many calls there had been

    def add(self, inputs: Rows, steps_left: int) -> asyncio.Future[Rows]:
        """Wait for a call that holds these rows."""
        came = self._came.setdefault(asyncio.current_task(), self._calls)
        answer: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self.waiting.append(_Waiting(inputs, answer, came + steps_left))
        return answer

    def is_wanted(self) -> bool:
        """Whether anybody still waits."""
        self.waiting = [each for each in self.waiting if not each.answer.done()]
        return bool(self.waiting)

    def take(self, most: int) -> list[_Waiting]:
        """Those whose turn it is, with at most so many rows together."""
        self.waiting.sort(key=lambda each: each.order)
        enough = self._cost.enough(min(sum(each.rows for each in self.waiting), most))
        rows, count = 0, 0
        while count < len(self.waiting) and (not count or (rows < enough and rows + self.waiting[count].rows <= most)):
            rows += self.waiting[count].rows
            count += 1
        group, self.waiting = self.waiting[:count], self.waiting[count:]
        return group

    def note(self, rows: int, seconds: float) -> None:
        """A call has been made."""
        self._cost.add(rows, seconds)
        self._calls += 1
        self.spent += seconds


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

    async def __call__(self, inputs: Rows, steps_left: int = 0) -> Rows:
        """The network's outputs for the rows, computed in whatever company.

        Args:
            steps_left: how many more such calls the picture needs; fewer go first where not all go together.

        Whoever is cancelled while waiting is left out of the next call; a call under way goes on for the others.
        """
        most = self._most(inputs)
        parts = zip(*(torch.split(tensor, most) for tensor in inputs.values()), strict=True)
        answers = [self._ask(dict(zip(inputs, part, strict=True)), steps_left) for part in parts]
        try:
            return _joined([await answer for answer in answers])
        finally:
            for answer in answers:
                answer.cancel()

    def _most(self, inputs: Rows) -> int:
        """Rows of this size in a call."""
        values = next(iter(inputs.values()))[0].numel()
        return max(min(self._max_rows, self._max_values // values), 1) if self._max_values else self._max_rows

    def _ask(self, inputs: Rows, steps_left: int) -> asyncio.Future[Rows]:
        lane = self._lanes.setdefault(tuple(tensor.shape[1:] for tensor in inputs.values()), _Lane())
        if not lane.waiting:
            lane.spent = max(lane.spent, self._clock)
        if self._turns is None or self._turns.done():
            self._turns = asyncio.create_task(self._run())
        return lane.add(inputs, steps_left)

    async def _run(self) -> None:
        """Call after call, until nobody comes back. However it ends, nobody is left waiting."""
        group: list[_Waiting] = []
        try:
            while True:
                for _ in range(COMING_BACK):
                    await asyncio.sleep(0)
                lanes = [lane for lane in self._lanes.values() if lane.is_wanted()]
                if not lanes:
                    if len(self._lanes) > REMEMBERED:
                        self._lanes.clear()
                    return
                lane = min(lanes, key=lambda each: each.spent)
                self._clock, started = lane.spent, time.monotonic()
                group = lane.take(self._most(lane.waiting[0].inputs))
                await self._answer(group)
                lane.note(sum(each.rows for each in group), time.monotonic() - started)
        finally:
            self._turns = None
            for each in (*group, *(each for lane in self._lanes.values() for each in lane.waiting)):
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

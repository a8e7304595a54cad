"""Denoising steps of different users, joined into one call of the UNet.

Images in flight are coroutines of one event loop. Each asks for a noise prediction and waits; when the UNet is free,
all that wait go together in one call, and when it answers, all of them compute their next latents and wait again
before the next call starts. So users who came at different moments fall into step with each other, a newcomer waits
for one call at most, and a lone user waits for nobody. Left to themselves (each its own request, joined by whatever
queue stands before the UNet) they would stay in the groups in which they happened to arrive, which take turns.

Only rows of one shape go together; each shape has its own lane. This module knows tensors and nothing of Triton.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import torch

# latents (n, channels, h, w), timestep (n,), encoder_hidden_states (n, tokens, width) -> noise_pred like latents
PredictNoise = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Awaitable[torch.Tensor]]

# Rounds of the event loop that those who were just served need to come back with their next step: one to take up
# their result, one more where a generator stands between.
COMING_BACK = 3


@dataclass
class _Waiting:
    tensors: tuple[torch.Tensor, ...]
    answer: asyncio.Future[torch.Tensor]

    @property
    def rows(self) -> int:
        return len(self.tensors[0])


class JoinedSteps:
    """`predict_noise` of many coroutines.

    A call has at most `max_rows` rows and, but for one image's, at most `max_values` numbers of latents (0: any), so
    that a call ends in seconds and whoever waits for it knows that it is still being worked on.
    """

    def __init__(self, predict_noise: PredictNoise, max_rows: int, max_values: int = 0) -> None:
        self._predict_noise = predict_noise
        self._max_rows, self._max_values = max_rows, max_values
        self._waiting: dict[tuple[torch.Size, ...], list[_Waiting]] = {}
        self._lanes: set[asyncio.Task[None]] = set()

    async def __call__(
        self, latents: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        """The rows' predictions, computed in whatever company.

        Whoever is cancelled while waiting is left out of the next call; a call under way goes on for the others.
        """
        tensors = (latents, timestep, encoder_hidden_states)
        shape = tuple(tensor.shape[1:] for tensor in tensors)
        waiting = _Waiting(tensors, asyncio.get_running_loop().create_future())
        if shape in self._waiting:
            self._waiting[shape].append(waiting)
        else:
            self._waiting[shape] = [waiting]
            lane = asyncio.create_task(self._run(shape))
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        return await waiting.answer

    async def _run(self, shape: tuple[torch.Size, ...]) -> None:
        """Call after call, until nobody of this shape comes back. However it ends, nobody is left waiting."""
        waiting: list[_Waiting] = []
        try:
            while True:
                for _ in range(COMING_BACK):
                    await asyncio.sleep(0)
                waiting = [each for each in self._waiting[shape] if not each.answer.done()]
                if not waiting:
                    return
                self._waiting[shape] = []
                await asyncio.gather(*(self._answer(group) for group in self._groups(waiting)))
        finally:
            for each in (*waiting, *self._waiting.pop(shape)):
                if not each.answer.done():
                    each.answer.set_exception(RuntimeError("the steps of this size have come to an end"))

    def _groups(self, waiting: list[_Waiting]) -> list[list[_Waiting]]:
        """As few calls as `max_rows` allows; one image's rows stay together. Of large pictures fewer go in a call."""
        groups: list[list[_Waiting]] = [[]]
        most = self._max_rows
        if self._max_values:
            most = min(most, self._max_values // waiting[0].tensors[0][0].numel())
        for each in waiting:
            if groups[-1] and sum(other.rows for other in groups[-1]) + each.rows > most:
                groups.append([])
            groups[-1].append(each)
        return groups

    async def _answer(self, group: list[_Waiting]) -> None:
        """One call for the group; if it fails, each is asked for by itself, so that only the one at fault fails."""
        try:
            columns = zip(*(each.tensors for each in group), strict=True)
            joined = [torch.cat(column) if len(column) > 1 else column[0] for column in columns]
            predictions = torch.split(await self._predict_noise(*joined), [each.rows for each in group])
        except Exception as error:
            if len(group) > 1:
                for each in group:
                    await self._answer([each])
            elif not group[0].answer.done():
                group[0].answer.set_exception(error)
            return
        for each, prediction in zip(group, predictions, strict=True):
            if not each.answer.done():  # it may have left meanwhile
                each.answer.set_result(prediction)

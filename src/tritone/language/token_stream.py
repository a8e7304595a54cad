"""Between the engine's thread and its callers' event loops: prompts go in, tokens come out.

The engine calls `deliver`, which never waits; each caller reads its `Answer` on its own loop.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import torch

from tritone.language.choosing.logprobs import TokenLogprob
from tritone.language.choosing.sampling import Sampling
from tritone.language.engine_statistics import Statistics

Reason = Literal["", "stop", "length"]


@dataclass(frozen=True)
class Prompt:
    """A request in the model's own numbers."""

    input_ids: torch.Tensor  # (length,)
    pixel_values: torch.Tensor | None  # (pictures, 3, height, width)
    picture_tokens: int  # how many of input_ids stand for pictures
    max_tokens: int  # of the answer
    sampling: Sampling
    adapter: str = ""


@dataclass(frozen=True)
class Tokens:
    """The next tokens of an answer, in order; several where the engine was faster than the caller wants them."""

    ids: list[int]
    reason: Reason  # "" while there is more to come
    logprobs: list[TokenLogprob] = field(default_factory=list)  # of each, where they are asked for


class Answer:
    """A request under way, for the caller's event loop: `with engine.submit(prompt) as answer: async for … in answer`.

    Leaving the context frees the slot at the engine's next step. Only the loop touches it, `left` and `enough` apart.

    Args:
        leave: called by the loop when the caller leaves before the end.
    """

    def __init__(self, prompt: Prompt, interval_s: float, leave: "Callable[[Answer], None] | None" = None) -> None:
        self.prompt, self.loop = prompt, asyncio.get_running_loop()
        self._leave = leave
        self.interval_s = interval_s
        self.started = time.monotonic()
        self.left = False  # the caller is gone; written by the loop, read by the engine
        self.enough = False  # … and has what it wanted
        self._arrived = asyncio.Event()
        self._given = -math.inf  # time.monotonic() when the caller last got tokens
        self._ids: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._reason: Reason = ""
        self._error: Exception | None = None

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.left = not self._reason
        if self.left and self._leave:
            self._leave(self)

    async def __aiter__(self) -> AsyncIterator[Tokens]:
        """The tokens as they come. Raises what went wrong in the engine."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._error:
                raise self._error
            tokens = Tokens(self._ids, self._reason, self._logprobs)
            self._ids, self._logprobs, self._given = [], [], time.monotonic()
            yield tokens
            if tokens.reason:  # not self._reason: more may have come while the caller was at work
                return

    def finish(self) -> None:
        """Nothing more is wanted: what has come is the whole answer."""
        self.enough = True

    def put(self, event: "Event") -> None:
        """The engine's next token, brought by the loop."""
        if event.error is None:
            self._ids.append(event.token)
        if event.logprob:
            self._logprobs.append(event.logprob)
        self._reason, self._error = event.reason, event.error
        if event.reason or event.error or time.monotonic() - self._given >= self.interval_s:
            self._arrived.set()


class Event(NamedTuple):
    """A token for somebody, or what went wrong in its place."""

    answer: Answer
    token: int
    reason: Reason = ""  # why it is the last
    error: Exception | None = None
    logprob: TokenLogprob | None = None  # where it is asked for


def deliver(events: Sequence[Event]) -> None:
    """Hand tokens to the callers' event loops, one wake-up a loop."""
    loops: dict[asyncio.AbstractEventLoop, list[Event]] = {}
    for event in events:
        loops.setdefault(event.answer.loop, []).append(event)
    for loop, theirs in loops.items():
        try:
            loop.call_soon_threadsafe(_put, theirs)
        except RuntimeError:  # the loop was closed with its callers
            for event in theirs:
                event.answer.left = True


def _put(events: Sequence[Event]) -> None:
    for event in events:
        event.answer.put(event)


class AnyEngine(Protocol):
    """What `Llava` needs of an engine: `tritone.language.engine`, or `tritone.language.vllm.engine`."""

    statistics: Statistics

    @property
    def length(self) -> int:
        """Tokens of a prompt and its answer together, at most."""

    def submit(self, prompt: Prompt, interval_s: float = 0.0) -> Answer:
        """Ask for an answer, from a running event loop; its tokens are given out at most every `interval_s`.

        Raises: Unavailable: every slot and every place in the queue is taken.
        """

    def fault(self) -> str:
        """Why this engine must be replaced; "" while it is well."""

    def describe(self) -> str:
        """What is in memory, for the log."""

    def close(self) -> None:
        """Stop; answers in progress fail with Unavailable."""

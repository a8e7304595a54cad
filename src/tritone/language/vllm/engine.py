"""vLLM's `AsyncLLM` as an engine of `Llava`: prompts in, tokens out, as `tritone.language.engine` does it.

One thread has an event loop of its own, which `AsyncLLM` and one task an answer live on; the network itself computes in
processes of vLLM's. So nobody's loop waits, and callers may come from any. This file imports nothing of vLLM.
"""

import asyncio
import atexit
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from tritone.errors import Unavailable
from tritone.language.engine_statistics import Statistics
from tritone.language.token_stream import Answer, Event, Prompt, Reason, deliver
from tritone.language.vllm.requests import logprobs_of

REASONS: dict[str, Reason] = {"stop": "stop", "length": "length"}  # vLLM's words for ours
STOP_S = 30.0  # for vLLM's processes to end

Start = Callable[[], Coroutine[Any, Any, Any]]
Ask = Callable[[Any, Prompt], AsyncGenerator[Any, None]]


class VllmEngine:
    """Answers prompts, many at a time, by vLLM.

    Args:
        start: makes the `AsyncLLM`, on the engine's loop.
        ask: asks it for an answer; gives vLLM's `RequestOutput`s, each with the tokens since the one before.
        slots: answers that vLLM has in progress at once.
        length: tokens of a prompt and its answer together, at most.
        max_queue: requests that may wait for a slot; one more is refused at once.
        description: what is in memory, for the log.

    Raises: whatever `start` does.
    """

    def __init__(
        self, start: Start, ask: Ask, slots: int, length: int, max_queue: int = 64, description: str = ""
    ) -> None:
        self.statistics, self.max_queue = Statistics(slots), max_queue
        self._length, self._description, self._ask = length, description, ask
        self._guard = threading.Lock()  # of the next two
        self._count = 0  # requests under way
        self._closed = False
        self._tasks: dict[Answer, asyncio.Task[None]] = {}  # this and what follows: the loop's alone
        self._unheard: set[Answer] = set()  # before their first token
        self._whole: set[Answer] = set()  # with their last
        self._events: list[Event] = []  # of this step, not delivered yet
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._thread.start()
        try:
            self._llm = asyncio.run_coroutine_threadsafe(start(), self._loop).result()
        except BaseException:
            self._end_thread()
            raise
        atexit.register(self.close)  # before multiprocessing's own, which would wait for vLLM's process

    @property
    def length(self) -> int:
        """Tokens of a prompt and its answer together, at most."""
        return self._length

    def describe(self) -> str:
        """What is in memory, for the log."""
        return self._description

    def submit(self, prompt: Prompt, interval_s: float = 0.0) -> Answer:
        """Ask for an answer, from a running event loop.

        Args:
            interval_s: tokens are given out at most this often; the first and the last come at once.

        Raises: Unavailable: every slot and every place in the queue is taken.
        """
        answer = Answer(prompt, interval_s, self._leave)
        slots = self.statistics.slots
        with self._guard:
            if fault := "the engine was closed" if self._closed else self.fault():
                raise Unavailable(fault)
            if self._count >= slots + self.max_queue:
                raise Unavailable(
                    f"all {slots} slots are taken and {self._count - slots} requests wait for one, "
                    f"the limit is {self.max_queue}"
                )
            self._count += 1
            self._loop.call_soon_threadsafe(self._begin, answer)
        return answer

    def fault(self) -> str:
        """Why this engine must be replaced; "" while it is well."""
        return "" if self._closed or not self._llm.errored else "vLLM's engine has died"

    def close(self) -> None:
        """End vLLM; answers in progress fail with Unavailable."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self.close)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._end_thread()
        self._llm = None  # its __del__ fails where it comes with the end of the interpreter

    def _leave(self, answer: Answer) -> None:
        """The caller is gone: so is the request, without waiting for its next token."""
        with self._guard:
            if not self._closed:
                self._loop.call_soon_threadsafe(self._cancel, answer)

    # ---- the engine's loop

    def _begin(self, answer: Answer) -> None:
        self._unheard.add(answer)
        task = self._tasks[answer] = self._loop.create_task(self._answer(answer))
        task.add_done_callback(lambda task: self._end_answer(answer, task))  # a task may be cancelled before it begins
        self._measure()

    def _cancel(self, answer: Answer) -> None:
        if task := self._tasks.get(answer):
            task.cancel()

    async def _answer(self, answer: Answer) -> None:
        """Pass on an answer from its first token to its last."""
        async with aclosing(self._ask(self._llm, answer.prompt)) as outputs:
            async for output in outputs:
                self._say(answer, output.outputs[0])
                if answer.left:  # his loop was closed under him, so nobody else said it
                    return
        if answer not in self._whole:
            raise Unavailable("vLLM ended an answer without a reason")

    def _say(self, answer: Answer, said: Any) -> None:
        """Hand over the tokens of vLLM's `CompletionOutput`; it has a word for why they are the last."""
        word, ids = said.finish_reason, list(said.token_ids)
        if word and (word not in REASONS or not ids):
            raise Unavailable(f"vLLM ended an answer ({word})")
        if ids and answer in self._unheard:
            self._hear(answer)
        reason = REASONS[word] if word else ""
        logprobs = logprobs_of(said, answer.prompt.sampling.top_logprobs)
        for place, token in enumerate(ids, 1):
            last = reason if place == len(ids) else ""
            self._put(Event(answer, token, last, logprob=logprobs[place - 1] if logprobs else None))
        if reason:
            self._whole.add(answer)

    def _hear(self, answer: Answer) -> None:
        """Count a first token."""
        self._unheard.remove(answer)
        self.statistics.prompt_tokens += len(answer.prompt.input_ids)
        self.statistics.first_tokens += 1
        self.statistics.first_token_s += time.monotonic() - answer.started

    def _end_answer(self, answer: Answer, task: asyncio.Task[None]) -> None:
        """Count an answer. Whatever ended it, the caller is told."""
        error = Unavailable("the engine was closed") if task.cancelled() else task.exception()
        finished = answer in self._whole or (answer.left and answer.enough)
        self.statistics.finished += finished
        if answer.left:
            self.statistics.cancelled += not finished
        elif isinstance(error, Exception) and not finished:
            self.statistics.failed += 1
            self._put(Event(answer, -1, error=Unavailable(self.fault()) if self.fault() else error))
        with self._guard:
            self._count -= 1
        self._tasks.pop(answer)
        self._unheard.discard(answer)
        self._whole.discard(answer)
        self._measure()

    def _measure(self) -> None:
        self.statistics.active = min(len(self._tasks), self.statistics.slots)
        self.statistics.queued = len(self._tasks) - self.statistics.active

    def _put(self, event: Event) -> None:
        """Deliver with the others of this step: vLLM wakes all of its tasks in one turn of the loop."""
        if not self._events:
            self._loop.call_soon(self._deliver)
        self._events.append(event)

    def _deliver(self) -> None:
        events, self._events = self._events, []
        tokens = sum(event.error is None for event in events)
        self.statistics.steps += bool(tokens)
        self.statistics.batched_tokens += tokens
        self.statistics.tokens += tokens
        deliver(events)

    async def _end(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._deliver()
        self._llm.shutdown(timeout=STOP_S)
        await asyncio.sleep(0)  # what it has cancelled ends here

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

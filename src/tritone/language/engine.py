"""Continuous batching: many answers in one pass of the network, joining and leaving between any two tokens.

One thread owns the language model. Each of its steps: rows of callers who left go; newcomers get free slots; the next
stretch of their prompts is read (at most `prefill_chunk` tokens, so that nobody waits long for a long prompt); every
answer in progress gets a token. Slots stay dense: answers in progress first, prompts being read behind them. Pictures
are looked at by a thread of their own (`eyes.py`). The engine deals in token ids; it knows nothing of text, and nobody
here waits for a caller.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import torch

from tritone import device
from tritone.errors import Unavailable
from tritone.language.choosing.sampling import Sampler, choose
from tritone.language.decoder import Decoder
from tritone.language.engine_statistics import Statistics
from tritone.language.eyes import Eyes
from tritone.language.token_stream import Answer, Event, Prompt, Reason, deliver
from tritone.priority import step_back
from tritone.transfers import put


@dataclass(eq=False)
class _Row:
    """A slot that is taken."""

    answer: Answer
    sampler: Sampler
    seen: "Future[torch.Tensor] | None" = None  # of a prompt with pictures: all of it, embedded
    prompt: torch.Tensor | None = None  # what is still to be read, embedded: (length, hidden)
    cached: int = 0  # tokens in the cache
    token: int = -1  # the last of the answer, not in the cache yet
    count: int = 0  # tokens of the answer

    @property
    def adapter(self) -> str:
        return self.answer.prompt.adapter

    @property
    def waits(self) -> bool:
        """Whether its pictures are still to be seen."""
        return self.seen is not None and not self.seen.done()


class Engine:
    """Answers prompts, many at a time.

    Args:
        decoder: the network and its cache; from now on it belongs to the engine's thread.
        eos: token ids that end an answer.
        max_queue: requests that may wait for a slot; one more is refused at once.
        prefill_chunk: tokens of prompts read in one step.
    """

    def __init__(self, decoder: Decoder, eos: Iterable[int], max_queue: int = 64, prefill_chunk: int = 512) -> None:
        if prefill_chunk < 1 or max_queue < 0:
            raise ValueError(f"prefill_chunk is {prefill_chunk}, must be 1 or more; max_queue {max_queue}, 0 or more")
        self.decoder, self.max_queue, self.prefill_chunk = decoder, max_queue, prefill_chunk
        self.statistics = Statistics(decoder.cache.slots)
        self._eos = frozenset(eos)
        self._decoding: list[_Row] = []  # slots 0 … n−1: answers in progress
        self._reading: list[_Row] = []  # the slots behind: prompts that are being read
        self._waiting: deque[Answer] = deque()
        self._closed = False
        self._fell = ""  # what ended the thread, which only `close` should
        self._changed = threading.Condition()  # guards _waiting and _closed
        self._eyes = Eyes(decoder.embed, self._wake)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def length(self) -> int:
        """Tokens of a prompt and its answer together, at most."""
        return self.decoder.cache.length

    def describe(self) -> str:
        """What is in memory, for the log."""
        return self.decoder.describe()

    def submit(self, prompt: Prompt, interval_s: float = 0.0) -> Answer:
        """Ask for an answer, from a running event loop.

        Args:
            interval_s: tokens are given out at most this often; the first and the last come at once.

        Raises: Unavailable: every slot and every place in the queue is taken.
        """
        answer = Answer(prompt, interval_s, leave=self._wake)
        with self._changed:
            if self._closed:
                raise Unavailable("the engine was closed")
            if len(self._waiting) >= self.max_queue + max(self._free, 0):
                raise Unavailable(
                    f"all {self.decoder.cache.slots} slots are taken and {len(self._waiting)} requests wait for one, "
                    f"the limit is {self.max_queue}"
                )
            self._waiting.append(answer)
            self._changed.notify()
        return answer

    def close(self) -> None:
        """Stop the thread; answers in progress fail with Unavailable."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._eyes.close()

    # ---- the engine's thread

    def fault(self) -> str:
        """Why this engine must be replaced; "" while it is well."""
        return f"its engine's thread has ended ({self._fell})" if self._fell else ""

    def _run(self) -> None:
        """Work until closed. Whatever ends the thread, nobody is left waiting."""
        end: Exception = Unavailable("the engine was closed")
        device.take_up()
        step_back()
        try:
            self._work()
        except Exception as error:
            end, self._fell = error, type(error).__name__
            raise
        finally:
            with self._changed:
                self._closed = True
                left = [*(row.answer for row in (*self._decoding, *self._reading)), *self._waiting]
                self._waiting.clear()
            deliver([Event(answer, -1, error=end) for answer in left])

    @torch.inference_mode()
    def _work(self) -> None:
        self.decoder.prepare()
        while self._wait_for_work():
            self._remove_those_who_left()
            self._admit()
            for row in [row for row in self._reading if row.prompt is None and not row.waits]:
                self._attempt(self._embed, [row])
            if rows := self._next_to_read():
                self._attempt(self._prefill, rows)
            if self._decoding:
                self._attempt(self._decode, list(self._decoding))

    def _wait_for_work(self) -> bool:
        """Sleep while there is none; False once the engine is closed."""
        with self._changed:
            self._count()
            self._changed.wait_for(lambda: self._closed or self._has_work())
            return not self._closed

    def _has_work(self) -> bool:
        """Whether somebody can be admitted, read, answered or let go: not so while all inside wait for the eyes."""
        if self._decoding or (self._waiting and self._free):
            return True
        return any(row.answer.left or not row.waits for row in self._reading)

    def _wake(self, *_: object) -> None:
        with self._changed:
            self._changed.notify()

    def _count(self) -> None:
        self.statistics.active = len(self._decoding) + len(self._reading)
        self.statistics.queued = len(self._waiting)

    def _remove_those_who_left(self) -> None:
        rows = [row for row in (*self._decoding, *self._reading) if row.answer.left]
        for row in rows:
            self._remove(row)
        with self._changed:
            waiting = [answer for answer in self._waiting if answer.left]
            for answer in waiting:
                self._waiting.remove(answer)
        for answer in (*(row.answer for row in rows), *waiting):
            if answer.enough:
                self.statistics.finished += 1
            else:
                self.statistics.cancelled += 1

    def _admit(self) -> None:
        """Give free slots to those who wait longest."""
        with self._changed:
            while self._waiting and self._free > 0:
                answer = self._waiting.popleft()
                prompt = answer.prompt
                sampler = Sampler(prompt.sampling, prompt.input_ids, self.decoder.vocabulary, self.decoder.device)
                alone = not (self._decoding or self._reading)
                seen = None if prompt.pixel_values is None else self._eyes.look(prompt, alone=alone)
                self._reading.append(_Row(answer, sampler, seen))
            self._count()

    def _attempt(self, work: Callable[[list[_Row]], None], rows: list[_Row]) -> None:
        """Run a part of a step; where it fails, its rows fail with it and the others go on."""
        try:
            work(rows)
        except Exception as error:
            self._fail(rows, error)

    def _embed(self, rows: list[_Row]) -> None:
        for row in rows:
            self.decoder.cache.clear(self._slot(row))
            prompt = row.answer.prompt
            row.prompt = row.seen.result() if row.seen else self.decoder.embed(prompt.input_ids, None, prompt.adapter)
            self.statistics.prompt_tokens += len(row.prompt)

    def _next_to_read(self) -> list[_Row]:
        """The prompt that has waited longest, and those in the slots behind it whose next stretches fit in too.

        Stretches are filled up to one width; all of them are at most `prefill_chunk` tokens.
        """
        ready = [row for row in self._reading if row.prompt is not None]
        if not ready:
            return []
        oldest = self._reading.index(min(ready, key=_age))
        rows: list[_Row] = []
        width = 0
        for row in self._reading[oldest:]:
            if row.prompt is None:
                break
            width = max(width, min(len(row.prompt), self.prefill_chunk))
            if rows and width * (len(rows) + 1) > self.prefill_chunk:
                break
            rows.append(row)
        return rows

    def _prefill(self, rows: list[_Row]) -> None:
        """Read the next stretch of these neighbours' prompts; a whole prompt gets the answer's first token."""
        parts = [row.prompt[: self.prefill_chunk] for row in rows if row.prompt is not None]
        hidden = self.decoder.prefill(
            self._slot(rows[0]), [row.cached for row in rows], parts, [row.adapter for row in rows]
        )
        for row, part in zip(rows, parts, strict=True):
            row.cached += len(part)
            row.prompt = row.prompt[len(part) :] if row.prompt is not None else None
        whole = [index for index, row in enumerate(rows) if row.prompt is not None and not len(row.prompt)]
        if not whole:
            return
        ready = [rows[index] for index in whole]
        logits = self.decoder.logits(hidden[put(whole, hidden.device)], [row.adapter for row in ready])
        for row in ready:
            self._start_decoding(row)
        self._say(ready, logits)

    def _start_decoding(self, row: _Row) -> None:
        """Make a row that has been read the last of those in progress; the row whose slot that is takes its slot."""
        place = self._reading.index(row)
        first = self._reading[0]
        if first is not row:
            self.decoder.cache.swap(self._slot(first), self._slot(row), max(first.cached, row.cached))
            self._reading[place] = first
        del self._reading[0]
        row.prompt = None
        self._decoding.append(row)

    def _decode(self, rows: list[_Row]) -> None:
        names = [row.adapter for row in rows]
        logits = self.decoder.decode([row.token for row in rows], [row.cached for row in rows], names)
        for row in rows:
            row.cached += 1
        self.statistics.steps += 1
        self.statistics.batched_tokens += len(rows)
        self._say(rows, logits)

    def _say(self, rows: Sequence[_Row], logits: torch.Tensor) -> None:
        """Choose each row's next token and hand it over; answers that end with it leave."""
        events: list[Event] = []
        for row, token in zip(rows, choose(logits, [row.sampler for row in rows]), strict=True):
            if token < 0:
                self._fail([row], row.sampler.fault or ArithmeticError("the network's output is not finite"))
                continue
            row.token, row.count = token, row.count + 1
            reason: Reason = ""
            if token in self._eos:
                reason = "stop"
            elif row.count == row.answer.prompt.max_tokens:
                reason = "length"
            if row.count == 1:
                self.statistics.first_tokens += 1
                self.statistics.first_token_s += time.monotonic() - row.answer.started
            events.append(Event(row.answer, token, reason, logprob=row.sampler.logprob))
            if reason:
                self.statistics.finished += 1
                self._remove(row)
        self.statistics.tokens += len(events)
        self._count()
        deliver(events)

    def _fail(self, rows: Sequence[_Row], error: Exception) -> None:
        """Answer first: on a device that is lost, freeing the slots fails too, and ends this thread."""
        deliver([Event(row.answer, -1, error=error) for row in rows])
        for row in rows:
            if row in self._decoding or row in self._reading:
                self.statistics.failed += 1
                self.decoder.cache.clear(self._slot(row))
                self._remove(row)
        self._count()

    # ---- slots

    @property
    def _free(self) -> int:
        return self.decoder.cache.slots - len(self._decoding) - len(self._reading)

    def _slot(self, row: _Row) -> int:
        rows = [*self._decoding, *self._reading]
        return next(slot for slot, other in enumerate(rows) if other is row)

    def _remove(self, row: _Row) -> None:
        """Free a row's slot; the last of its kind takes it, so that slots stay dense."""
        if row.seen:
            row.seen.cancel()
        if row in self._decoding:
            end = len(self._decoding) + len(self._reading) - 1
            self._replace(row, self._decoding)
            if self._reading:  # the gap is in front of those who read: their last one fills it
                self._move(self._reading[-1], end, len(self._decoding))
                self._reading.insert(0, self._reading.pop())
        else:
            self._replace(row, self._reading)

    def _replace(self, row: _Row, rows: list[_Row]) -> None:
        """Remove a row from one of the lists and put the list's last row into its place."""
        last = rows[-1]
        if last is not row:
            self._move(last, self._slot(last), self._slot(row))
            rows[rows.index(row)] = last
        del rows[-1]

    def _move(self, row: _Row, source: int, target: int) -> None:
        """Its slot is given: while there is a gap, places in the lists are not slots."""
        self.decoder.cache.move(source, target, row.cached)


def _age(row: _Row) -> float:
    return row.answer.started

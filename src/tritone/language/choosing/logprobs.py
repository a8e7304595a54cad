"""Log-probabilities of an answer's tokens: measured beside the choice, written as OpenAI's `logprobs.content`.

They are of the network's own distribution: before penalties, grammar and temperature, as vLLM's `raw_logprobs`.
"""

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tritone.transfers import put

MAX_TOP = 20


@dataclass(frozen=True)
class TokenLogprob:
    """A token of an answer and those that were likeliest in its place, each with the logarithm of its probability."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


class Logprobs:
    """Of one step, where a row asks for them; nothing is computed for those that do not.

    Args:
        logits: float32 (rows, vocabulary), as the network gives them.
        wanted: of each row, how many of the likeliest; None: nothing.
    """

    def __init__(self, logits: torch.Tensor, wanted: Sequence[int | None]) -> None:
        self._asking = [(row, most) for row, most in enumerate(wanted) if most is not None]
        self._most = min(max((most for _, most in self._asking), default=0), logits.shape[-1])
        if self._asking:
            self._rows = put([row for row, _ in self._asking], logits.device)
            self._values = logits[self._rows].log_softmax(-1)

    def numbers(self, chosen: torch.Tensor) -> list[torch.Tensor]:
        """What `read` understands, float64, on the device; empty where nobody asks.

        Args:
            chosen: the tokens of all rows.
        """
        if not self._asking:
            return []
        own = self._values.gather(-1, chosen[self._rows, None])
        top = self._values.topk(self._most)
        return [torch.cat((own.double(), top.values.double(), top.indices.double()), -1).flatten()]

    def read(self, numbers: Sequence[float], tokens: Sequence[int]) -> dict[int, TokenLogprob]:
        """By row, those that ask; `tokens` are of all rows."""
        found = {}
        for place, (row, most) in enumerate(self._asking):
            own, *top = numbers[place * (1 + 2 * self._most) :][: 1 + 2 * self._most]
            likeliest = zip(map(int, top[self._most :]), top, strict=False)
            found[row] = TokenLogprob(tokens[row], own, tuple(likeliest)[:most])
        return found


class Content:
    """Writes one answer's log-probabilities piece by piece, each token with the piece in which its text begins.

    The bytes of all tokens are the text of the answer: white space before it, which is not part of it, is left out.

    Args:
        written: a token's text, and its bytes; None for one that is no text.
    """

    def __init__(self, written: Callable[[int], tuple[str, bytes | None]]) -> None:
        self._written = written
        self._waiting: deque[tuple[int, dict[str, Any]]] = deque()  # the byte at which each begins
        self._end = 0  # bytes of all tokens
        self._given = 0  # bytes of the text that was given out

    def add(self, said: TokenLogprob) -> None:
        """The next token."""
        first = not self._end
        own = self._entry(said.token, said.logprob, first)
        top = [self._entry(token, logprob, first) for token, logprob in said.top]
        self._waiting.append((self._end, {**own, "top_logprobs": top}))
        self._end += len(own["bytes"] or ())

    def give(self, text: str, *, rest: bool = False) -> str:
        """JSON of the tokens that begin in the next piece of text; of all that are left, where it is the `rest`."""
        self._given += len(text.encode("utf-8"))
        given = []
        while self._waiting and (rest or self._waiting[0][0] < self._given):
            given.append(self._waiting.popleft()[1])
        return json.dumps(given, ensure_ascii=False)

    def _entry(self, token: int, logprob: float, first: bool) -> dict[str, Any]:
        text, data = self._written(token)
        if first and data is not None:
            text, data = text.lstrip(), data.lstrip()
        return {"token": text, "bytes": None if data is None else list(data), "logprob": logprob}

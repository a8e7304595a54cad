"""Token ids that arrive one by one → text in the pieces a reader asked for. It knows nothing of models or requests."""

from collections.abc import Callable, Sequence
from typing import Literal

from tritone.punctuation import STOPS, WIDE_STOPS

Unit = Literal["token", "clause", "none"]


class Detokenizer:
    """Collects one answer's tokens and gives out its text, never half a character and nothing of a stop string.

    Args:
        decode: token ids → text, special tokens left out.
        unit: "token" gives text as soon as it is certain, "clause" at pauses, "none" all at the end.
        stop: the answer ends before the first of these; `stopped` says so.
    """

    def __init__(self, decode: Callable[[list[int]], str], unit: Unit, stop: Sequence[str] = ()) -> None:
        self.stopped = False
        self._decode = decode
        self._unit = unit
        self._stop = tuple(stop)
        self._text = ""  # all that is whole characters
        self._given = 0  # characters
        self._tokens: list[int] = []
        # The tokens before _read are in _text; those from _context on are decoded again with every new one, because
        # a token's text may depend on the one before it (a space, the other bytes of a character).
        self._context, self._read, self._known = 0, 0, ""

    def add(self, token: int) -> str:
        """The text that this token makes ready to be given out; often empty."""
        self._tokens.append(token)
        if self._unit == "none" and not self._stop:
            return ""
        window = self._decode(self._tokens[self._context :])
        if window.endswith("\ufffd"):  # a character of several bytes is spread over tokens: the rest is to come
            return ""
        self._context, self._read = self._read, len(self._tokens)
        added, self._known = window[len(self._known) :], self._decode(self._tokens[self._context :])
        return self._append(added)

    def finish(self) -> str:
        """All text not given out yet: the answer is over."""
        if not self.stopped:
            self._text = self._decode(self._tokens).lstrip()
            self._cut(0)
        return self._give(len(self._text))

    def _append(self, added: str) -> str:
        start = len(self._text)
        # The chat template puts one space before an answer; it is not part of it.
        self._text += added if self._text else added.lstrip()
        if self._cut(start):
            return self._give(len(self._text))
        sure = len(self._text) - self._begun()
        if self._unit == "clause":
            sure = _last_clause_end(self._text[:sure], self._given)
        return self._give(sure if self._unit != "none" else 0)

    def _cut(self, start: int) -> bool:
        """End the text before the first stop string that ends behind `start`."""
        begin = max(0, start - max(map(len, self._stop), default=0))
        if found := [place for word in self._stop if (place := self._text.find(word, begin)) >= 0]:
            self._text, self.stopped = self._text[: min(found)], True
        return self.stopped

    def _begun(self) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        lengths = (n for word in self._stop for n in range(1, len(word)) if self._text.endswith(word[:n]))
        return max(lengths, default=0)

    def _give(self, end: int) -> str:
        piece, self._given = self._text[self._given : end], max(self._given, end)
        return piece


def _last_clause_end(text: str, start: int) -> int:
    """Index just behind the last pause in `text` from `start` on; 0 where there is none.

    An ASCII mark at the very end is not a pause yet: what follows may make it a decimal point.
    """
    for index in range(len(text) - 1, start - 1, -1):
        if text[index] in WIDE_STOPS or (text[index].isspace() and text[index - 1 : index] in STOPS and index):
            return index + 1
    return 0

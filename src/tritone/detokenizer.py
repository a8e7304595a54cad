"""Token ids that arrive one by one → text in the pieces a reader asked for. It knows nothing of models or requests."""

from collections.abc import Callable
from typing import Literal

Unit = Literal["token", "clause", "none"]

# What ends a clause: a speaker may pause here. ASCII marks count only before a space, so "3.5" stays whole.
_WIDE_STOPS = "，。！？；：、…\n"
_STOPS = ",.!?;:"


class Detokenizer:
    """Collects one answer's tokens and gives out its text, never half a character.

    Args:
        decode: token ids → text, special tokens left out.
        unit: "token" gives text as soon as it is certain, "clause" at pauses, "none" all at the end.
    """

    def __init__(self, decode: Callable[[list[int]], str], unit: Unit) -> None:
        self._decode = decode
        self._unit = unit
        self._tokens: list[int] = []
        self._given = 0

    def add(self, token: int) -> str:
        """The text that this token makes ready to be given out; often empty."""
        self._tokens.append(token)
        if self._unit == "none":
            return ""
        text = self._text()
        # A character of several bytes is spread over tokens: until the last comes, it decodes to U+FFFD.
        sure = len(text) - 1 if text.endswith("\ufffd") else len(text)
        return self._give(text, sure if self._unit == "token" else _last_clause_end(text[:sure]))

    def finish(self) -> str:
        """All text not given out yet."""
        text = self._text()
        return self._give(text, len(text))

    def _text(self) -> str:
        # The chat template puts one space before an answer; it is not part of it.
        return self._decode(self._tokens).lstrip()

    def _give(self, text: str, end: int) -> str:
        piece, self._given = text[self._given : end], max(self._given, end)
        return piece


def _last_clause_end(text: str) -> int:
    """Index just behind the last pause in `text`; 0 where there is none.

    An ASCII mark at the very end is not a pause yet: what follows may make it a decimal point.
    """
    for index in range(len(text) - 1, -1, -1):
        if text[index] in _WIDE_STOPS or (text[index].isspace() and text[index - 1 : index] in _STOPS and index):
            return index + 1
    return 0

"""Text as it is read aloud: numbers, dates, times, units, money and abbreviations become words.

`read` keeps to each word what its writer wrote, so that times of the sound lead back to the text. The rules are those
of `english` and `chinese`; Chinese words come from jieba. Every rule is linear in the text.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import jieba

from tritone.speech.reading import chinese, english
from tritone.speech.reading.scripts import ascii_digits
from tritone.speech.reading.scripts import is_han as is_han

jieba.setLogLevel(logging.WARNING)  # it tells of its dictionary on stderr

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
_RULES: dict[str, Sequence[Rule]] = {"en": english.RULES, "zh": chinese.RULES}
_PIECE = 2_000  # characters without a space that jieba is given at once


@dataclass(frozen=True)
class Word:
    """A word of a text, and how it is read."""

    text: str  # as written, with the punctuation that touches it
    spoken: str  # empty where nothing of it is read: an emoji
    space: str  # what stands between it and the next word


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    spoken: str


def read(text: str, language: str) -> list[Word]:
    """The words of a text in their order; their `text` and `space` join to the text, but for leading space.

    `language` is a primary subtag; one other than "en" and "zh" is read as it is written.
    """
    rules = _RULES.get(language, [])
    plain = ascii_digits(text) if rules else text  # of the same length: places stay
    spans = _spans(plain, rules)
    pieces = _merge(_tokens(text, language), spans)
    behind = [*(start for start, _ in pieces[1:]), *([len(text)] if pieces else [])]
    starts = [span.start for span in spans]
    return [
        Word(text[start:end], _replace(plain, start, end, spans, bisect_left(starts, start)), text[end:next_])
        for (start, end), next_ in zip(pieces, behind, strict=True)
    ]


def language_of(text: str) -> str:
    """ "zh" if the text holds a Chinese character, else "": any language of Latin script."""
    return "zh" if any(map(is_han, text)) else ""


def _spans(text: str, rules: Iterable[Rule]) -> list[_Span]:
    """What the rules replace, left to right; where two rules want the same place, the earlier rule has it."""
    taken = bytearray(len(text))
    spans: list[_Span] = []
    for pattern, speak in rules:
        for found in pattern.finditer(text):
            start = found.end() - len(found[0].lstrip())  # white space belongs to no word
            end = start + len(found[0].strip())
            if start < end and taken.find(1, start, end) < 0:
                taken[start:end] = b"\1" * (end - start)
                spans.append(_Span(start, end, speak(found)))
    return sorted(spans, key=lambda span: span.start)


def _tokens(text: str, language: str) -> list[tuple[int, int]]:
    """Start and end of each word; punctuation goes with the word before it."""
    if language != "zh":
        return [found.span() for found in re.finditer(r"\S+", text)]
    tokens: list[tuple[int, int]] = []
    for begin in range(0, len(text), _PIECE):
        for token, first, last in jieba.tokenize(text[begin : begin + _PIECE]):
            start, end = begin + first, begin + last
            if token.isspace():
                continue
            glued = tokens and tokens[-1][1] == start and not any(character.isalnum() for character in token)
            tokens[-1:] = [(tokens[-1][0], end)] if glued else [*tokens[-1:], (start, end)]
    return tokens


def _merge(tokens: list[tuple[int, int]], spans: list[_Span]) -> list[tuple[int, int]]:
    """Tokens that one span covers become one."""
    merged: list[tuple[int, int]] = []
    number = 0  # of the first span that ends behind the start of the token
    for start, end in tokens:
        while number < len(spans) and spans[number].end <= start:
            number += 1
        if merged and number < len(spans) and spans[number].start < merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _replace(text: str, start: int, end: int, spans: Sequence[_Span], first: int) -> str:
    """What is read of text[start:end]; `first` is the number of the first span in it."""
    parts, place = [], start
    while first < len(spans) and spans[first].start < end:
        parts += [text[place : spans[first].start], spans[first].spoken]
        place, first = spans[first].end, first + 1
    return re.sub(r" (?=[.,;:!?)])", "", " ".join("".join([*parts, text[place:end]]).split()))

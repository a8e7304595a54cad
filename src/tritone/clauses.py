"""Text → clauses: what a voice speaks in one breath. Short enough for the first to be heard soon.

Splitting a clause again gives the clause itself, so a text sounds the same spoken as a whole or clause by clause.
"""

from __future__ import annotations

import re

import pysbd

from tritone.detokenizer import STOPS, WIDE_STOPS
from tritone.normalization import is_han

LONGEST = 60  # characters of a sentence that is spoken in one piece
SHORTEST = 12  # characters of a clause that may stand alone within a sentence; Chinese ones count double

# A pause inside a sentence; an ASCII mark counts only before a space, so "1,000" and "3:30" stay whole.
_PAUSE = re.compile(r"(?<=[，；：、])\s*|(?<=[,;:])\s+|\s+(?=[—–]\s)")
_STOP = re.compile(rf"[{WIDE_STOPS}]+\s*|[{STOPS}]+\s+")  # as `Detokenizer` cuts the clauses of an answer
_CHINESE_END = re.compile(r"(?<=[。！？…])(?![。！？…”’」』）])|(?<=[。！？…][”’」』）])")

SENTENCE_PAUSE, CLAUSE_PAUSE = 0.30, 0.12  # seconds
_SENTENCE_END = re.compile(r"[.!?。！？…][\"'”’)\]」』）]*$")


def split(text: str, language: str) -> list[str]:
    """The clauses of a text, stripped, none empty.

    `language` is a primary subtag, for the abbreviations that end no sentence ("Dr.").
    """
    return [clause for sentence in _sentences(text, language) for clause in _clauses(sentence)]


def speakable(text: str, language: str = "") -> list[str]:
    """The clauses of a text that have something to say; the whole text if none has.

    `language` is a tag; "" is Chinese for a text with Chinese characters.
    """
    chosen = language.strip()[:2].lower() or ("zh" if any(map(is_han, text)) else "en")
    found = [clause for clause in split(text, chosen) if any(map(str.isalnum, clause))]
    return found or [text]


def pieces(text: str) -> list[str]:
    """A piece of an answer cut at its pauses; the parts join to it. At least one, which may be empty."""
    return _split_at(_STOP, text) or [text]


def pause_after(clause: str) -> float:
    """Seconds of silence that belong behind a clause."""
    return SENTENCE_PAUSE if _SENTENCE_END.search(clause) else CLAUSE_PAUSE


def _sentences(text: str, language: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    if language != "zh":
        found = [sentence for line in lines for sentence in _segmenter(language).segment(line)]
    else:
        found = [sentence for line in lines for sentence in _CHINESE_END.split(line)]
    return [sentence.strip() for sentence in found if sentence.strip()]


def _segmenter(language: str) -> pysbd.Segmenter:
    """One for each text: it keeps the text that it works on, and texts of several callers come at a time."""
    return pysbd.Segmenter(language=language if language in pysbd.languages.LANGUAGE_CODES else "en", clean=False)


def _clauses(sentence: str) -> list[str]:
    if _width(sentence) <= LONGEST:
        return [sentence]
    clauses: list[str] = []
    for piece in filter(None, _split_at(_PAUSE, sentence)):
        if clauses and (_width(clauses[-1]) < SHORTEST or _width(piece) < SHORTEST):
            clauses[-1] += piece
        else:
            clauses.append(piece)
    return [clause.strip() for clause in clauses]


def _split_at(pattern: re.Pattern[str], text: str) -> list[str]:
    """Pieces that join to the text: each keeps the space behind it."""
    places = [found.end() for found in pattern.finditer(text) if 0 < found.end() < len(text)]
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def _width(text: str) -> int:
    """Characters, Chinese ones counted double: they take about twice as long to say."""
    return len(text) + sum(map(is_han, text))

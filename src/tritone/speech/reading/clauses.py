"""Text → clauses: what a voice speaks in one breath. Short enough for the first to be heard soon.

Splitting a clause again gives the clause itself, so a text sounds the same spoken as a whole or clause by clause.
"""

from __future__ import annotations

import re
from itertools import accumulate, pairwise

import pysbd

from tritone.punctuation import STOPS, WIDE_STOPS
from tritone.speech.reading.scripts import is_han, language_by_script

LONGEST = 60  # characters of a sentence that is spoken in one piece
BREATH = 240  # letters that are said of a clause without any pause: some 16 s
DIGIT, HAN = 5, 3  # letters that take as long to say
STRETCH = 500  # characters that pysbd is given at once: its time grows with the square of them, or worse
SHORTEST = 12  # characters of a clause that may stand alone within a sentence; Chinese ones count double

# A pause inside a sentence; an ASCII mark counts only before a space, so "1,000" and "3:30" stay whole.
_PAUSE = re.compile(r"(?<=[，；：、])\s*|(?<=[,;:])\s+|\s+(?=[—–]\s)")
_STRETCH_END = re.compile(r"(?<=[a-z]{3}[.!?])[\"'”’)\]]{0,3}\s|(?<=[。！？…])")
_STOP = re.compile(rf"[{WIDE_STOPS}]+\s*|[{STOPS}]+\s+")  # as `Detokenizer` cuts the clauses of an answer
# Marks that end a sentence together: "?!", "……", and the quotes behind them.
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

    `language` is a tag; "" is what the text looks like, by its letters.
    """
    chosen = re.split("[-_]", language.strip().lower())[0] or language_by_script(text) or "en"
    found = [clause for clause in split(text, chosen) if any(map(str.isalnum, clause))]
    return found or [text]


def pieces(text: str) -> list[str]:
    """A piece of an answer cut at its pauses; the parts join to it. At least one, which may be empty."""
    return _split_at(_STOP, text) or [text]


def pause_after(clause: str) -> float:
    """Seconds of silence that belong behind a clause."""
    return SENTENCE_PAUSE if _SENTENCE_END.search(clause) else CLAUSE_PAUSE


def _sentences(text: str, language: str) -> list[str]:
    stretches = [part for line in text.splitlines() if line.strip() for part in _stretches(line)]
    if language not in ("zh", "ja", "yue", "hak"):
        found = [sentence for part in stretches for sentence in _segments(part, language)]
    else:
        found = [sentence for part in stretches for sentence in _CHINESE_END.split(part)]
    return [sentence.strip() for sentence in found if sentence.strip()]


def _stretches(line: str) -> list[str]:
    """A line in parts of at most STRETCH characters, cut behind a sentence if there is one, else at a space."""
    parts = []
    while len(line) > STRETCH:
        ends = [found.end() for found in _STRETCH_END.finditer(line, STRETCH // 2, STRETCH)]
        end = ends[-1] if ends else _last_space(line, STRETCH)
        parts.append(line[:end])
        line = line[end:]
    return [*parts, line]


def _last_space(text: str, limit: int) -> int:
    """Where to cut so that at most `limit` characters stand before: behind a space, or through the word."""
    return text.rfind(" ", limit // 2, limit) + 1 or limit


def _segments(text: str, language: str) -> list[str]:
    """The sentences of a line; they join to it.

    One segmenter for each text: it keeps the text that it works on, and texts of several callers come at a time. It
    changes a text with signs of its own; what it does not find again stays with the sentence before.
    """
    code = language if language in pysbd.languages.LANGUAGE_CODES else "en"
    spans = pysbd.Segmenter(language=code, clean=False, char_span=True).segment(text)
    edges = sorted({0, *(span.start for span in spans), len(text)})
    return [text[start:end] for start, end in pairwise(edges)]


def _clauses(sentence: str) -> list[str]:
    if _width(sentence) <= LONGEST:
        return [sentence]
    clauses: list[str] = []
    for piece in filter(None, _split_at(_PAUSE, sentence)):
        if clauses and (_width(clauses[-1]) < SHORTEST or _width(piece) < SHORTEST):
            clauses[-1] += piece
        else:
            clauses.append(piece)
    return [part.strip() for clause in clauses for part in _breaths(clause) if part.strip()]


def _breaths(clause: str) -> list[str]:
    """A clause without a pause, cut between words where no breath holds it."""
    parts = []
    while (held := _held(clause)) < len(clause):
        end = _last_space(clause, held)
        parts.append(clause[:end])
        clause = clause[end:]
    return [*parts, clause]


def _held(clause: str) -> int:
    """How many characters of a clause one breath holds. A voice's memory grows with what it says in one piece."""
    said = accumulate(DIGIT if letter.isdigit() else HAN if is_han(letter) else 1 for letter in clause)
    return next((place for place, letters in enumerate(said) if letters > BREATH), len(clause))


def _split_at(pattern: re.Pattern[str], text: str) -> list[str]:
    """Pieces that join to the text: each keeps the space behind it."""
    places = [found.end() for found in pattern.finditer(text) if 0 < found.end() < len(text)]
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def _width(text: str) -> int:
    """Characters, Chinese ones counted double: they take about twice as long to say."""
    return len(text) + sum(map(is_han, text))

"""Text → phonemes (IPA with stress marks and punctuation), as Piper and Coqui voices were trained on them.

espeak-ng does the work; its library and data come from the package `espeakng_loader`, so nothing is installed on the
system. espeak drops punctuation: each clause is phonemised alone and its mark put back behind it.
"""

from __future__ import annotations

import difflib
import itertools
import re
import threading
import unicodedata
from collections.abc import Callable, Sequence

import espeakng_loader
import numpy as np
from phonemizer.backend.espeak.wrapper import EspeakWrapper

# A mark ends a clause only before a space, a closing quote or bracket, or the end: "1,000" and "3:30" stay whole.
# A full stop inside a sentence belongs to an abbreviation.
_CLAUSE_END = re.compile(r"([,;:!?]+|[.!?…]+(?=\W*$))(?=[\s\"'”’)\]]|$)")
_LANGUAGE_FLAG = re.compile(r"\([a-z-]+\)")  # espeak's note that it reads a word in another language
# American "color is": espeak links the words with a second r (ˈʌlɚɹ ɪz), which a voice slurs into "colors".
_LINKING_R = re.compile("(?<=ɚ)ɹ(?= )")
_ELLIPSIS = str.maketrans({"…": "."})


class Phonemizer:
    """espeak-ng set to one language, safe to call from several threads."""

    def __init__(self, espeak_voice: str) -> None:
        """`espeak_voice` is espeak's name of a language, such as "en-us"; an unknown one raises RuntimeError."""
        EspeakWrapper.set_library(espeakng_loader.get_library_path())
        EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
        self._espeak = EspeakWrapper()
        self._espeak.set_voice(espeak_voice)
        self._lock = threading.Lock()  # the library keeps its state in globals

    def __call__(self, sentence: str) -> str:
        """Phonemes of one sentence, decomposed (NFD): "Hi, you!" → "hˈaɪ, jˈuː!". Empty if nothing can be spoken."""
        pieces = _CLAUSE_END.split(sentence)  # clause, mark, clause, mark, …, clause
        clauses, marks = pieces[::2], [*pieces[1::2], ""]
        spoken = [(self._phonemes(clause), mark) for clause, mark in zip(clauses, marks, strict=True)]
        text = " ".join(phonemes + mark.translate(_ELLIPSIS)[:1] for phonemes, mark in spoken if phonemes)
        return unicodedata.normalize("NFD", text)

    def words(self, words: Sequence[str]) -> tuple[str, list[int]]:
        """Phonemes of a sentence that is given as words, and whose each phoneme is: indices of words, −1 for none.

        espeak speaks some words as one ("of the") and some as several ("25"). Where the count of spoken words is not
        that of written ones, spoken words go with the written ones whose phonemes, spoken alone, they are most like.
        """
        sentence = " ".join(words)
        phonemes = self(sentence)
        written = [index for index, word in enumerate(words) for part in word.split() if _is_spoken(part)]
        spoken = [part for part in phonemes.split(" ") if _is_spoken(part)]
        # Equal counts prove nothing where a number may be several spoken words and "for the" one.
        if len(written) == len(spoken) and not any(character.isdigit() for character in sentence):
            return phonemes, _owners(phonemes, written)
        return phonemes, _fit(phonemes, words, self)

    def _phonemes(self, clause: str) -> str:
        with self._lock:
            phonemes: str = self._espeak.text_to_phonemes(clause)
        phonemes = _LANGUAGE_FLAG.sub("", phonemes.replace("_", ""))  # espeak puts "_" between phonemes
        return _LINKING_R.sub("", " ".join(phonemes.split()))


def _is_spoken(part: str) -> bool:
    return any(character.isalnum() for character in part)


def _owners(phonemes: str, written: Sequence[int]) -> list[int]:
    """Owner of each phoneme where the spoken words are those of `written`, one to one."""
    owners: list[int] = []
    remaining = iter(written)
    for part in phonemes.split(" "):
        owner = next(remaining) if _is_spoken(part) else -1
        owners += [owner if _is_phoneme(symbol) else -1 for symbol in part] + [-1]
    return owners[:-1]


def _fit(phonemes: str, words: Sequence[str], alone: Callable[[str], str]) -> list[int]:
    """Owner of each phoneme: the cheapest way to pair spoken with written words, one to one or one to a few."""
    written = [index for index, word in enumerate(words) if _is_spoken(word)]
    expected = [_bare(alone(words[index])) for index in written]
    places = [found.span() for found in re.finditer(r"\S+", phonemes) if _is_spoken(found[0])]
    spoken = [_bare(phonemes[start:end]) for start, end in places]
    # best[i, j]: the cost of pairing the first i spoken with the first j written words, and the last step there.
    best = {(0, 0): (0.0, (0, 0))}
    for i, j in itertools.product(range(len(spoken) + 1), range(len(written) + 1)):
        if not _near(i, j, len(spoken), len(written)):
            continue
        for di, dj in ((1, 1), (1, 2), (1, 3), *((n, 1) for n in range(2, 13))):
            if (before := best.get((i - di, j - dj))) is not None:
                heard_here, written_here = "".join(spoken[i - di : i]), "".join(expected[j - dj : j])
                step, least = before[0] + 0.01 * (di + dj - 2), best.get((i, j), (float("inf"),))[0]
                # Two strings are at least as unlike as their lengths: most steps need no closer look.
                if step + abs(len(heard_here) - len(written_here)) / 2 >= least:
                    continue
                if (step := step + _distance(heard_here, written_here)) < least:
                    best[i, j] = (step, (di, dj))
    owners = [-1] * len(phonemes)
    i, j = len(spoken), len(written)
    if (i, j) not in best:  # more words than espeak ever joins: nothing can be told apart
        return [written[0] if written and _is_phoneme(symbol) else -1 for symbol in phonemes]
    while i:
        di, dj = best[i, j][1]
        heard = [place for start, end in places[i - di : i] for place in range(start, end)]
        heard = [place for place in heard if _is_phoneme(phonemes[place])]
        shares = np.cumsum([len(text) or 1 for text in expected[j - dj : j]])
        for number, place in enumerate(heard):
            share = (number + 0.5) / len(heard) * shares[-1]
            owners[place] = written[j - dj + int(np.searchsorted(shares, share))]
        i, j = i - di, j - dj
    return owners


def _near(i: int, j: int, n_spoken: int, n_written: int) -> bool:
    """Whether i spoken words may be the first j written ones: no more than espeak joins or sets apart, left and right.

    In a long clause also about as far through the one as through the other: the table stays narrow.
    """
    possible = (
        j <= 3 * i and i <= 12 * j and n_written - j <= 3 * (n_spoken - i) and n_spoken - i <= 12 * (n_written - j)
    )
    return possible and abs(i * n_written - j * n_spoken) <= max(
        0.25 * n_spoken * n_written, 12 * n_written, 12 * n_spoken
    )


def _distance(heard: str, expected: str) -> float:
    """How unlike two strings of phonemes are, in phonemes."""
    ratio = difflib.SequenceMatcher(None, heard, expected, autojunk=False).ratio()
    return (1 - ratio) * (len(heard) + len(expected)) / 2


def _bare(phonemes: str) -> str:
    return "".join(symbol for symbol in phonemes if symbol.isalpha() and symbol not in "ˈˌː")


def _is_phoneme(symbol: str) -> bool:
    """Letters, stress and length marks (letters to Unicode), combining marks; not spaces and punctuation."""
    return unicodedata.category(symbol)[0] in "LMS"

"""Text → phonemes (IPA with stress marks and punctuation), as Piper and Coqui voices were trained on them.

espeak-ng does the work; its library and data come from the package `espeakng_loader`, so nothing is installed on the
system. espeak drops punctuation: each clause is phonemised alone and its mark put back behind it.
"""

from __future__ import annotations

import re
import threading
import unicodedata

import espeakng_loader
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

    def _phonemes(self, clause: str) -> str:
        with self._lock:
            phonemes: str = self._espeak.text_to_phonemes(clause)
        phonemes = _LANGUAGE_FLAG.sub("", phonemes.replace("_", ""))  # espeak puts "_" between phonemes
        return _LINKING_R.sub("", " ".join(phonemes.split()))

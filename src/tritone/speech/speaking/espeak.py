"""espeak-ng speaks by itself: a robot's voice, but one that reads a hundred languages.

Its library and data come from the package `espeakng_loader`. The functions and structures are those of espeak-ng's
`speak_lib.h`. espeak tells where in the sound each word and phoneme starts, so its word times are exact. The same text
has the same length and times every time; single samples may differ, as some consonants are noise that goes on and on.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import re
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

from tritone.speech.reading.scripts import is_han
from tritone.speech.speaking.voice import Sound, Voice

# Primary subtag → espeak's name, where the two differ.
ESPEAK_LANGUAGES = {"en": "en-us", "zh": "cmn", "no": "nb", "iw": "he", "in": "id"}
ALL = "all"  # every language that espeak-ng's data hold
WORDS_PER_MINUTE = 165
SCALE = 1 / 32768  # of its 16-bit samples

_SYNCHRONOUS, _PHONEME_EVENTS = 2, 1  # espeak_Initialize
_UTF8 = 1  # espeak_Synth
_RATE, _PITCH = 1, 3  # espeak_SetParameter
_END, _WORD, _PHONEME = 0, 1, 7  # espeak_EVENT_TYPE


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # of a word's first character, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


@dataclass(frozen=True)
class Mark:
    """A word or a phoneme starts here."""

    sample: int
    position: int  # of a word: index of its first character in the text; −1 for a phoneme
    is_pause: bool = False


def _with_steady_variant(folder: Path) -> Path:
    """espeak's data with one more variant of its voices: a pitch that does not depend on what was spoken before."""
    source, data = Path(espeakng_loader.get_data_path()), folder / "espeak-ng-data"
    variants = data / "voices" / "!v"
    variants.mkdir(parents=True)
    for file in (*source.iterdir(), *(source / "voices" / "!v").iterdir()):
        if file.name != "voices":
            ((data if file.parent == source else variants) / file.name).symlink_to(file)
    (variants / "steady").write_text("language variant\nname steady\nflutter 0\n", encoding="utf-8")
    return data


class Library:
    """espeak-ng, loaded once a process; it keeps its state in globals, so one call at a time."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._folder = tempfile.TemporaryDirectory(prefix="tritone-espeak-")
        data = _with_steady_variant(Path(self._folder.name))
        self.sampling_rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _PHONEME_EVENTS)
        if self.sampling_rate <= 0:
            raise RuntimeError("espeak-ng cannot be initialised")
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self._callback = kind(self._collect)  # kept, or the library would call freed memory
        self._library.espeak_SetSynthCallback(self._callback)
        self._samples: list[NDArray[np.int16]] = []
        self._marks: list[Mark] = []
        self._lock = threading.Lock()

    def speak(
        self, text: str, voice: str, rate: int = WORDS_PER_MINUTE, pitch: int = 50
    ) -> tuple[NDArray[np.float32], list[Mark]]:
        """Sound float32 (n_samples,) of a text, and where its words and phonemes start.

        Args:
            voice: espeak's name, with a variant if wanted: "en-us", "cmn", "en-us+f3".
            rate: words a minute. pitch: 0–99.

        Raises: RuntimeError: espeak has no such voice.
        """
        data = text.encode()
        with self._lock:
            if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise RuntimeError(f"espeak-ng has no voice {voice!r}")
            self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # the same text, the same sound
            self._samples, self._marks = [], []
            self._library.espeak_SetParameter(_RATE, rate, 0)
            self._library.espeak_SetParameter(_PITCH, pitch, 0)
            self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
            samples, marks = self._samples, self._marks
        audio = np.concatenate(samples) if samples else np.zeros(0, np.int16)
        return audio.astype(np.float32) * np.float32(SCALE), marks

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if samples and count:
            self._samples.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for event in itertools.takewhile(lambda event: event.type != _END, map(events.__getitem__, itertools.count())):
            if event.type == _WORD:
                self._marks.append(Mark(event.sample, event.text_position - 1))
            elif event.type == _PHONEME:
                self._marks.append(Mark(event.sample, -1, event.id.string in (b"_:", b"_", b"_::", b"")))
        return 0


@functools.cache
def library() -> Library:
    """The one library of this process."""
    return Library()


@functools.cache
def all_languages() -> tuple[str, ...]:
    """Primary subtags of the languages in espeak-ng's data, English and Chinese first."""
    data = Path(espeakng_loader.get_data_path())
    found = {file.name for file in (data / "lang").rglob("*") if file.is_file() and _has_dictionary(file, data)}
    return ("en", "zh", *sorted({name for name in found if "-" not in name} - {"en", "cmn"}))


def _has_dictionary(language: Path, data: Path) -> bool:
    """Whether espeak knows how to read a language; some it only lists."""
    named = re.search(r"^dictionary\s+(\S+)", language.read_text(encoding="utf-8"), re.MULTILINE)
    return (data / f"{named[1] if named else language.name}_dict").exists()


@dataclass(frozen=True)
class Line:
    """A clause as espeak reads it."""

    words: tuple[str, ...]
    language: str


class Espeak:
    """espeak-ng as an engine of `tritone.speech.speaking.tts`."""

    def __init__(self, languages: Sequence[str], name: str = "espeak-ng") -> None:
        """`languages` are primary subtags ("en", "zh"), or "all"; one that espeak lacks raises RuntimeError."""
        every = all_languages()
        if unknown := [language for language in languages if language not in (*every, *ESPEAK_LANGUAGES, ALL)]:
            raise RuntimeError(f"espeak-ng has no voice {unknown[0]!r}")
        languages = every if ALL in languages else languages
        self.voice = Voice(name=name, languages=list(languages))
        self._library = library()
        self.sampling_rate = self._library.sampling_rate

    def prepare(self, words: Sequence[str]) -> Line | None:
        """See Engine."""
        language = "zh" if any(is_han(character) for word in words for character in word) else "en"
        return self.prepare_in(words, language if language in self.voice.languages else self.voice.languages[0])

    def prepare_in(self, words: Sequence[str], language: str) -> Line | None:
        """`prepare` in one of the voice's languages."""
        if not any(character.isalnum() for word in words for character in word):
            return None
        return Line(tuple(words), language)

    def synthesize(self, clauses: Sequence[tuple[Line, float]]) -> list[Sound]:
        """See Engine."""
        return [self._speak(line.words, line.language, speed) for line, speed in clauses]

    def _speak(self, words: tuple[str, ...], language: str, speed: float) -> Sound:
        text, starts = join(words)
        rate = round(WORDS_PER_MINUTE * speed)
        audio, marks = self._library.speak(text, _espeak_name(language), rate)
        return Sound(audio, word_times(marks, starts, len(text), len(audio), self.sampling_rate))


def join(words: Sequence[str]) -> tuple[str, list[int]]:
    """The words as one text, Chinese ones without spaces, and where in it each starts."""
    text, starts = "", []
    for word in words:
        if text and not (is_han(text[-1]) or is_han(word[:1])) and text[-1] not in "，。！？；：、":
            text += " "
        starts.append(len(text))
        text += word
    return text, starts


def word_times(
    marks: Sequence[Mark], starts: Sequence[int], n_characters: int, n_samples: int, sampling_rate: int
) -> tuple[tuple[float, float], ...]:
    """Start and end in seconds of the words that start at the given characters.

    espeak may speak two words as one ("of the"), and gives no mark for the second: they share the stretch by letters.
    """
    spans = _spoken_spans(marks, n_samples)  # (character, start, end) of each word mark
    ends = [*starts[1:], n_characters]
    times: list[tuple[float, float]] = []
    for start, end in zip(starts, ends, strict=True):
        own = [span for span in spans if start <= span[0] < end]
        times.append((own[0][1], own[-1][2]) if own else (-1.0, -1.0))
    return tuple((a / sampling_rate, b / sampling_rate) for a, b in _share(times, starts, ends))


def _spoken_spans(marks: Sequence[Mark], n_samples: int) -> list[tuple[int, float, float]]:
    spans: list[tuple[int, float, float]] = []
    for index, mark in enumerate(marks):
        if mark.position < 0:
            continue
        inside = list(itertools.takewhile(lambda later: later.position < 0, marks[index + 1 :]))
        spoken = [later for later in inside if not later.is_pause]
        begin = spoken[0].sample if spoken else mark.sample
        pause = next((later.sample for later in inside if later.is_pause and later.sample > begin), None)
        behind = marks[index + 1 + len(inside)].sample if index + 1 + len(inside) < len(marks) else n_samples
        spans.append((mark.position, float(begin), float(behind if pause is None else pause)))
    return spans


def _share(times: list[tuple[float, float]], starts: Sequence[int], ends: Sequence[int]) -> list[tuple[float, float]]:
    """Give each word without a mark (−1) its part of the stretch of the word before it."""
    shared = list(times)
    for index in range(len(times)):
        if times[index][0] >= 0:
            group = [index, *itertools.takewhile(lambda i: times[i][0] < 0, range(index + 1, len(times)))]
            if len(group) == 1:
                continue
            begin, end = times[index]
            letters = np.array([ends[i] - starts[i] for i in group], float)
            edges = begin + (end - begin) * np.concatenate([[0.0], np.cumsum(letters) / letters.sum()])
            for i, a, b in zip(group, edges[:-1], edges[1:], strict=True):
                shared[i] = (float(a), float(b))
    return [(0.0, 0.0) if begin < 0 else (begin, end) for begin, end in shared]


def _espeak_name(language: str) -> str:
    return ESPEAK_LANGUAGES.get(language, language) + "+steady"

"""Text → speech: finds the voice, reads the text as words, and joins the clauses of a voice without a seam.

A checkpoint's `config.json` says which engine it wants: Coqui's VITS (`tritone.vits`), Tacotron 2 with a vocoder
(`tritone.tacotron`) or XTTS (`tritone.xtts`); `tritone.espeak` needs no checkpoint. Every voice declares its languages.
The same text in the same voice gives the same sound, alone or in a crowd, as a whole or clause by clause.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone import clauses
from tritone.audio import SAMPLING_RATE, resample
from tritone.errors import InvalidInput, NotServed, TritoneError
from tritone.normalization import Word, is_han, read
from tritone.voice import Engine, Sound

MIN_SPEED, MAX_SPEED = 0.5, 2.0  # beyond, VITS slurs or swallows phonemes

# Loudness: every clause has the same power where there is speech.
LOUDNESS = 0.1  # root mean square of its loud frames: −20 dB of full scale
MAX_GAIN = 4.0
PEAK = 0.97
FRAME_S = 0.01
# What is quieter than this part of the loudest frame, 40 dB below, is no speech.
FLOOR = 0.01
LEAD_S, TAIL_S, FADE_S = 0.03, 0.08, 0.005  # kept before and behind the speech of a clause; faded at both ends

# First words of Unicode letter names, after compatibility normalisation ("ﬁ" → "fi", "µ" → "μ"). espeak reads Greek
# letters by name in any language.
_SCRIPTS = {"zh": {"LATIN", "GREEK", "CJK"}}
_DEFAULT_SCRIPTS = {"LATIN", "GREEK"}


@dataclass(frozen=True)
class Clause:
    """What is spoken in one breath."""

    words: tuple[Word, ...]
    prepared: Any  # the words as the engine reads them
    pause: float  # seconds of silence behind it


@dataclass(frozen=True)
class Script:
    """A text as one voice will speak it."""

    engine: Engine
    clauses: tuple[Clause, ...]
    speed: float


@dataclass(frozen=True)
class TimedWord:
    """A word in the sound, as its writer wrote it; times in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Speech:
    """Speech of one text."""

    audio: NDArray[np.float32]  # (n_samples,), within ±1
    sampling_rate: int  # Hz
    voice: str
    words: tuple[TimedWord, ...]  # empty if the engine does not know its times: see `find_words`


class Speaker:
    """The voices of a server; a text goes to the first that can speak it."""

    def __init__(self, engines: Sequence[Engine], max_characters: int) -> None:
        self._engines = list(engines)
        self._max_characters = max_characters

    @classmethod
    def load(
        cls, directories: Sequence[Path], device: str, max_characters: int, espeak_languages: Sequence[str] = ()
    ) -> Speaker:
        """Load voices onto a torch device ("cpu", "cuda:0") and let each speak once, to warm up.

        Args:
            directories: one voice each; the first is the voice of a text that asks for none.
            max_characters: the longest text it will take.
            espeak_languages: what espeak-ng itself shall speak ("zh"), after all other voices.
        """
        engines = [_load(directory, device) for directory in directories]
        if espeak_languages:
            from tritone.espeak import Espeak

            engines.append(Espeak(espeak_languages))
        speaker = cls(engines, max_characters)
        for voice in (engine.voice for engine in engines):
            for language in voice.languages:
                speaker.speak([speaker.prepare("你好。" if language == "zh" else "one.", voice.name, language)])
        return speaker

    def prepare(self, text: str, voice: str = "", language: str = "", speed: float = 1.0) -> Script:
        """A text as `speak` takes it.

        Args:
            voice: a voice's name; "" is the first that speaks the language and can read the text.
            language: a tag such as "en" or "en-US"; "" is what the text looks like.
            speed: 2.0 is twice as fast.

        Raises InvalidInput if the text is too long or has nothing to speak, or if the speed, voice, language or
        script is no voice's.
        """
        if len(text) > self._max_characters:
            raise InvalidInput(f"text has {len(text):,} characters, the limit is {self._max_characters:,}")
        if not MIN_SPEED <= speed <= MAX_SPEED:  # NaN fails too
            raise InvalidInput(f"speed is {speed:g}, it must be from {MIN_SPEED:g} to {MAX_SPEED:g}")
        engine = self._engine(text, voice, primary(language))
        spoken = _language(text, engine, primary(language))
        parts = [
            (tuple(read(clause, spoken)), clauses.pause_after(clause) / speed) for clause in clauses.split(text, spoken)
        ]
        prepared = [
            Clause(words, ready, pause)
            for words, pause in parts
            if (ready := engine.prepare([word.spoken for word in words])) is not None
        ]
        if not prepared:
            raise InvalidInput(f"text has nothing to speak: {text[:40]!r}")
        return Script(engine, tuple(prepared), float(speed))

    def speak(self, scripts: Sequence[Script]) -> list[Speech]:
        """Speak each script; clauses of one voice go to its engine together."""
        sounds: dict[tuple[int, int], Sound] = {}
        for engine in self._engines:
            own = [
                ((number, place), (clause.prepared, script.speed))
                for number, script in enumerate(scripts)
                if script.engine is engine
                for place, clause in enumerate(script.clauses)
            ]
            if own:
                spoken = engine.synthesize([clause for _, clause in own])
                sounds |= zip([key for key, _ in own], spoken, strict=True)
        return [
            _join(script, [sounds[number, place] for place in range(len(script.clauses))])
            for number, script in enumerate(scripts)
        ]

    def _engine(self, text: str, voice: str, language: str) -> Engine:
        """The first voice that is as wished and can read the text."""
        known = [engine for engine in self._engines if voice in ("", engine.voice.name)]
        if not known:
            raise InvalidInput(f"voice {voice!r} is unknown; {self._offer()}")
        fitting = [engine for engine in known if not language or language in engine.voice.languages]
        if not fitting:
            by = f" by voice {voice!r}" if voice else ""
            raise InvalidInput(f"language {language!r} is not spoken{by}; {self._offer()}")
        unreadable = [_unreadable(text, engine) for engine in fitting]
        able = [engine for engine, letter in zip(fitting, unreadable, strict=True) if not letter]
        if not able:
            who = f"voice {voice!r}" if voice else "no voice"
            cannot = "cannot read" if voice else "can read"
            raise InvalidInput(f"text holds {unreadable[0]!r}, which {who} {cannot}; {self._offer()}")
        return able[0]

    def _offer(self) -> str:
        voices = [f"{engine.voice.name} ({', '.join(engine.voice.languages)})" for engine in self._engines]
        return f"voices and their languages: {'; '.join(voices)}"


async def find_words(speech: Speech, text: str, call: Callable[..., Awaitable[dict[str, Any]]]) -> Speech:
    """The speech of a voice that does not know when it says its words, with the words that the forced aligner finds.

    Without them where the aligner cannot read the text or does not hear it.
    """
    heard = resample(speech.audio, speech.sampling_rate, SAMPLING_RATE)
    try:
        row = await call("forced_aligner", {"audio": heard, "text": text}, ("word", "start", "end", "matches"))
    except TritoneError as error:
        if not getattr(error, "refused", False):
            raise
        return speech
    words = zip(row["word"], row["start"].tolist(), row["end"].tolist(), strict=True)
    timed = tuple(TimedWord(str(word, "utf-8"), start, end) for word, start, end in words)
    return replace(speech, words=timed) if row["matches"][0] else speech


def primary(language: str) -> str:
    """Primary subtag of a language tag: "en-US" → "en"."""
    return language.strip().replace("_", "-").split("-")[0].lower()


def _load(directory: Path, device: str) -> Engine:
    """The engine that a voice's `config.json` asks for."""
    model = json.loads((directory / "config.json").read_text(encoding="utf-8")).get("model")
    if model == "vits":
        from tritone.vits import Vits

        return Vits.load(directory, device)
    if model == "tacotron2":
        from tritone.tacotron import Tacotron

        return Tacotron.load(directory, device)
    if model == "xtts":
        from tritone.xtts import Xtts

        return Xtts.load(directory, device)
    raise NotServed(f"{directory.name} holds a Coqui {model!r} voice; served are vits, tacotron2 and xtts")


def _language(text: str, engine: Engine, wished: str) -> str:
    """The language that a text is read in."""
    spoken = engine.voice.languages
    if wished:
        return wished
    if "zh" in spoken and any(map(is_han, text)):
        return "zh"
    return next((language for language in spoken if language != "zh"), spoken[0])


def _unreadable(text: str, engine: Engine) -> str:
    """The first letter that a voice cannot read, or ""."""
    readable = set().union(*(_SCRIPTS.get(language, _DEFAULT_SCRIPTS) for language in engine.voice.languages))
    for letter in filter(str.isalpha, unicodedata.normalize("NFKC", text)):
        if unicodedata.name(letter, "UNNAMED").split()[0] not in readable:
            return letter
    return ""


# ---- sound


def _join(script: Script, sounds: Sequence[Sound]) -> Speech:
    """The clauses one behind the other, and when each word is said."""
    rate = script.engine.sampling_rate
    parts: list[NDArray[np.float32]] = []
    words: list[TimedWord] = []
    begin = 0.0
    for clause, sound in zip(script.clauses, sounds, strict=True):
        audio, skipped = finish(sound.audio, rate, clause.pause)
        last = len(audio) / rate - clause.pause
        for word, (start, end) in zip(clause.words, sound.times, strict=bool(sound.times)):
            start, end = (begin + min(max(time - skipped, 0.0), last) for time in (start, end))
            words.append(TimedWord(word.text, round(start, 3), round(end, 3)))
        parts.append(audio)
        begin += len(audio) / rate
    return Speech(np.concatenate(parts), rate, script.engine.voice.name, tuple(words))


def finish(audio: NDArray[np.float32], rate: int, pause: float) -> tuple[NDArray[np.float32], float]:
    """A clause as it is heard, and how many seconds its start was cut by.

    At the common loudness, with little silence around the speech, faded at both ends so that no seam clicks, and with
    `pause` seconds of silence behind it.
    """
    frame = int(FRAME_S * rate)
    frames = audio[: len(audio) // frame * frame].reshape(-1, frame)
    power = np.sqrt((frames.astype(np.float64) ** 2).mean(axis=1)) if len(frames) else np.zeros(0)
    loud = np.flatnonzero(power > FLOOR * power.max(initial=0.0))
    if not len(loud):
        return np.zeros(max(int(pause * rate), 1), np.float32), 0.0
    first = max(int(loud[0]) * frame - int(LEAD_S * rate), 0)
    last = min((int(loud[-1]) + 1) * frame + int(TAIL_S * rate), len(audio))
    spoken = audio[first:last] * _gain(audio, power)
    ramp = np.linspace(0, 1, min(int(FADE_S * rate), len(spoken) // 2), dtype=np.float32)
    spoken[: len(ramp)] *= ramp
    spoken[len(spoken) - len(ramp) :] *= ramp[::-1]
    return np.concatenate([spoken, np.zeros(int(pause * rate), np.float32)]), first / rate


def _gain(audio: NDArray[np.float32], power: NDArray[np.float64]) -> np.float32:
    level = float(np.sqrt((power[power > 0.1 * power.max()] ** 2).mean()))
    return np.float32(min(LOUDNESS / level, MAX_GAIN, PEAK / float(np.abs(audio).max())))

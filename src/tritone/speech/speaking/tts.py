"""Text → speech: finds the voice, reads the text as words, and joins the clauses of a voice without a seam.

A checkpoint's `config.json` says which engine it wants: Coqui's VITS (`vits`), Tacotron 2 with a vocoder
(`tacotron`) or XTTS (`xtts`); `espeak` needs no checkpoint. Every voice declares its languages.
The same text in the same voice gives the same sound, alone or in a crowd, as a whole or clause by clause.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone.errors import InvalidInput, NotServed, TritoneError
from tritone.media.audio import SAMPLING_RATE, at_tempo, resample
from tritone.speech.reading import clauses, markdown
from tritone.speech.reading.normalization import Word, read
from tritone.speech.reading.scripts import is_han, language_by_script, readable_scripts, script_of
from tritone.speech.speaking.voice import (
    CITED,
    MAX_SPEED,
    MIN_SPEED,
    Engine,
    Sound,
    check_known,
    check_speed,
    offer,
)

SLOWEST, FASTEST = 0.5, 2.0  # that a voice speaks: beyond, VITS slurs or swallows phonemes, and its sound is stretched

# Loudness: every clause has the same power where there is speech.
LOUDNESS = 0.1  # root mean square of its loud frames: −20 dB of full scale
MAX_GAIN = 4.0
PEAK = 0.97
FRAME_S = 0.01
# What is quieter than this part of the loudest frame, 40 dB below, is no speech.
FLOOR = 0.01
LEAD_S, TAIL_S, FADE_S = 0.03, 0.08, 0.005  # kept before and behind the speech of a clause; faded at both ends

# How long speech lasts, for admission: about what Piper's Joe and espeak-ng take at normal speed.
SECONDS_A_LETTER, SECONDS_A_SYLLABLE, SECONDS_A_DIGIT = 0.065, 0.22, 0.35
WARMED = 2  # languages of a voice that are spoken once while it loads


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
    text: str = ""  # what is read of the text: without marks of Markdown
    note: str = ""  # what of the text is not read; "" if all is

    @property
    def characters(self) -> int:
        """Characters that are said: numbers as words."""
        return sum(len(word.spoken) for clause in self.clauses for word in clause.words)

    @property
    def seconds(self) -> float:
        """About how many seconds of sound the text will be."""
        said = "".join(word.spoken for clause in self.clauses for word in clause.words)
        syllables, digits = sum(map(is_han, said)), sum(map(str.isdigit, said))
        letters = SECONDS_A_LETTER * (len(said) - syllables - digits)
        pauses = sum(clause.pause for clause in self.clauses)
        return (letters + SECONDS_A_SYLLABLE * syllables + SECONDS_A_DIGIT * digits) / self.speed + pauses


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
    note: str = ""  # what of the text is not read


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
            espeak_languages: what espeak-ng itself shall speak ("zh"; "all"), after all other voices.
        """
        engines = [_load(directory, device) for directory in directories]
        if espeak_languages:
            from tritone.speech.speaking.espeak import Espeak

            engines.append(Espeak(espeak_languages))
        speaker = cls(engines, max_characters)
        for voice in (engine.voice for engine in engines):
            for language in voice.languages[:WARMED]:
                speaker.speak([speaker.prepare("你好。" if language == "zh" else "one.", voice.name, language)])
        return speaker

    def facts(self) -> dict[str, Any]:
        """What is offered, in JSON's values; the first voice that can speak a text is that of who names none."""
        return {
            "voices": [engine.voice.model_dump() for engine in self._engines],
            "default_voice": self._engines[0].voice.name,
            "min_speed": MIN_SPEED,
            "max_speed": MAX_SPEED,
            "max_characters": self._max_characters,
        }

    def prepare(self, text: str, voice: str = "", language: str = "", speed: float = 1.0) -> Script:
        """A text as `speak` takes it.

        Marks of Markdown and HTML are not read; code blocks and tables are left out, which the script's `note` says.
        The words of the speech are those of the text without its marks.

        Args:
            voice: a voice's name; "" is the first that speaks the language and can read the text.
            language: a tag such as "en" or "en-US"; "" is what the text looks like: Russian for Cyrillic letters.
            speed: 2.0 is twice as fast.

        Raises InvalidInput if the text is too long or has nothing to speak, or if the speed, voice, language or
        script is no voice's.
        """
        if len(text) > self._max_characters:
            raise InvalidInput(f"text has {len(text):,} characters, the limit is {self._max_characters:,}")
        check_speed(speed)
        plain = markdown.plain(text)
        wished, guessed = primary(language), language_by_script(plain.text)
        engine = self._engine(plain.text, voice, wished, guessed)
        spoken = wished or _language(engine, guessed)
        prepared = [
            Clause(words, ready, clauses.pause_after(clause) / speed)
            for clause in clauses.split(plain.text, spoken)
            if (words := tuple(word for word in read(clause, spoken) if word.spoken))
            if (ready := _prepared(engine, [word.spoken for word in words], spoken)) is not None
        ]
        if not prepared:
            raise InvalidInput(f"text has nothing to speak: {text[:CITED]!r}" + (f"; {plain.note}" * bool(plain.note)))
        return Script(engine, tuple(prepared), float(speed), plain.text, plain.note)

    def speak(self, scripts: Sequence[Script]) -> list[Speech]:
        """Speak each script; clauses of one voice go to its engine together."""
        sounds: dict[tuple[int, int], Sound] = {}
        for engine in self._engines:
            own = [
                ((number, place), (clause.prepared, _spoken_speed(script.speed)))
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

    def _engine(self, text: str, voice: str, wished: str, guessed: str) -> Engine:
        """The first voice that is as wished and can read the text."""
        check_known(voice, [engine.voice for engine in self._engines])
        known = [engine for engine in self._engines if voice in ("", engine.voice.name)]
        fitting = [engine for engine in known if not wished or wished in engine.voice.languages]
        if not fitting:
            by = f" by voice {voice[:CITED]!r}" if voice else ""
            raise InvalidInput(f"language {wished[:CITED]!r} is not spoken{by}; {self._offer()}")
        unreadable = [_unreadable(text, wished or _language(engine, guessed)) for engine in fitting]
        able = [engine for engine, letter in zip(fitting, unreadable, strict=True) if not letter]
        if not able:
            who = f"voice {voice[:CITED]!r}" if voice else "no voice"
            cannot = "cannot read" if voice else "can read"
            letter = unreadable[-1] if not voice else unreadable[0]
            of = f" in language {wished!r}" if wished else ""
            raise InvalidInput(f"text holds {letter!r}, which {who} {cannot}{of}; {self._offer()}")
        return able[0]

    def _offer(self) -> str:
        return offer([engine.voice for engine in self._engines])


def _prepared(engine: Engine, words: Sequence[str], language: str) -> Any | None:
    """The words as the engine takes them; espeak-ng, which has many languages, is told which."""
    prepare_in = getattr(engine, "prepare_in", None)
    return prepare_in(words, language) if prepare_in else engine.prepare(words)


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
        from tritone.speech.speaking.vits import Vits

        return Vits.load(directory, device)
    if model == "tacotron2":
        from tritone.speech.speaking.tacotron import Tacotron

        return Tacotron.load(directory, device)
    if model == "xtts":
        from tritone.speech.speaking.xtts import Xtts

        return Xtts.load(directory, device)
    raise NotServed(f"{directory.name} holds a Coqui {model!r} voice; served are vits, tacotron2 and xtts")


def _language(engine: Engine, guessed: str) -> str:
    """The language that a voice reads a text in, where none is wished: what it looks like, or the voice's own."""
    spoken = engine.voice.languages
    if guessed in spoken:
        return guessed
    return next((language for language in spoken if language != "zh"), spoken[0])


def _unreadable(text: str, language: str) -> str:
    """The first letter that a voice of a language cannot read, or ""."""
    readable = readable_scripts(language)
    for letter in text:
        if not letter.isascii() and letter.isalpha() and script_of(letter) not in readable:
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
        sound = _stretched(sound, rate, script.speed)
        audio, skipped = finish(sound.audio, rate, clause.pause)
        last = len(audio) / rate - clause.pause
        for word, (start, end) in zip(clause.words, sound.times, strict=bool(sound.times)):
            start, end = (begin + min(max(time - skipped, 0.0), last) for time in (start, end))
            words.append(TimedWord(word.text, round(start, 3), round(end, 3)))
        parts.append(audio)
        begin += len(audio) / rate
    return Speech(np.concatenate(parts), rate, script.engine.voice.name, tuple(words), script.note)


def _spoken_speed(speed: float) -> float:
    return min(max(speed, SLOWEST), FASTEST)


def _stretched(sound: Sound, rate: int, speed: float) -> Sound:
    """A clause that was spoken at `_spoken_speed`, at `speed`."""
    tempo = speed / _spoken_speed(speed)
    if tempo == 1:
        return sound
    times = tuple((start / tempo, end / tempo) for start, end in sound.times)
    return Sound(at_tempo(sound.audio, rate, tempo), times)


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

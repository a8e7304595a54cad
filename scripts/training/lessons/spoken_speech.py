"""Sentences spoken by the project's own voices, with the exact times of their words: what the tiny aligner learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import soxr
from numpy.typing import NDArray
from rich.progress import track

from lessons.spoken_sentences import sentences
from tritone import checkpoints
from tritone.speech.alignment import SAMPLING_RATE
from tritone.speech.speaking.espeak import SCALE, join, library, word_times
from tritone.speech.speaking.vits import Vits

# espeak-ng is a poor speaker but a fast one, and has many throats.
ESPEAK_VOICES = [
    f"{accent}{variant}"
    for accent in ("en-us", "en-us", "en", "en-gb-x-rp", "en-us-nyc")
    for variant in ("", "+m1", "+m3", "+m7", "+f1", "+f2", "+f4", "+klatt2")
]


@dataclass(frozen=True)
class Utterance:
    """A spoken sentence."""

    audio: NDArray[np.int16]  # (n_samples,) at 16 kHz
    words: tuple[str, ...]
    times: NDArray[np.float32]  # (n_words, 2), seconds


def spoken_by_vits(seed: int, count: int, *, held_out: bool) -> Iterator[Utterance]:
    """Sentences in the voice of the tiny profile, at many speeds and with more or less noise."""
    voice, random = Vits.load(checkpoints.path("tts"), "cpu"), Random(seed)
    texts = islice(sentences(seed, held_out=held_out), count)
    for text in track(texts, "speaking (VITS)", count):
        words = text.split()
        voice._network.inference_noise_scale = random.uniform(0.3, 0.9)
        voice._network.inference_noise_scale_dp = random.uniform(0.4, 1.0)
        (sound,) = voice.synthesize([(voice.prepare(words), random.uniform(0.75, 1.4))])
        yield _utterance(sound.audio, voice.sampling_rate, words, sound.times)


def spoken_by_espeak(seed: int, count: int) -> Iterator[Utterance]:
    """Training sentences in many robots' voices."""
    espeak, random = library(), Random(seed)
    for text in track(islice(sentences(seed, held_out=False), count), "speaking (espeak-ng)", count):
        spoken, starts = join(text.split())
        rate, pitch = random.randint(120, 230), random.randint(15, 80)
        audio, marks = espeak.speak(spoken, random.choice(ESPEAK_VOICES), rate, pitch)
        times = word_times(marks, starts, len(spoken), len(audio), espeak.sampling_rate)
        yield _utterance(audio, espeak.sampling_rate, text.split(), times)


def cached(file: Path, utterances: Iterator[Utterance]) -> list[Utterance]:
    """The utterances, kept in a file for the next run."""
    if not file.exists():
        spoken = list(utterances)
        file.parent.mkdir(parents=True, exist_ok=True)
        arrays = {"audio": np.concatenate([each.audio for each in spoken])}
        arrays["lengths"] = np.array([len(each.audio) for each in spoken])
        arrays["texts"] = np.array([" ".join(each.words) for each in spoken])
        arrays["times"] = np.concatenate([each.times for each in spoken])
        np.savez(file, **arrays)
    with np.load(file) as stored:
        texts = [tuple(str(text).split()) for text in stored["texts"]]
        audio = np.split(stored["audio"], np.cumsum(stored["lengths"])[:-1])
        times = np.split(stored["times"], np.cumsum([len(words) for words in texts])[:-1])
    return [Utterance(*each) for each in zip(audio, texts, times, strict=True)]


def _utterance(
    audio: NDArray[np.float32], rate: int, words: list[str], times: tuple[tuple[float, float], ...]
) -> Utterance:
    resampled = np.clip(soxr.resample(audio, rate, SAMPLING_RATE), -1, 1)
    return Utterance((resampled / SCALE).clip(-32768, 32767).astype(np.int16), tuple(words), np.float32(times))

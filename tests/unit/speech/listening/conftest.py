"""The tiny checkpoint of Whisper, and sentences that the tiny voice speaks."""

from pathlib import Path

import numpy as np
import pytest
import soxr
from unit.speech.listening.spoken import SENTENCES

from tritone import checkpoints
from tritone.media.audio import SAMPLING_RATE
from tritone.speech.listening.whisper import LogMel, Whisper
from tritone.speech.speaking.tts import Speaker


@pytest.fixture(scope="module")
def directory() -> Path:
    return checkpoints.path("whisper")


@pytest.fixture(scope="module")
def log_mel(directory: Path) -> LogMel:
    return LogMel.load(directory)


@pytest.fixture(scope="module")
def whisper(directory: Path) -> Whisper:
    return Whisper.load(directory, "cpu", "float32")


@pytest.fixture(scope="module")
def recordings() -> list[np.ndarray]:
    """Mono 16 kHz audio of each sentence, spoken by the tiny voice."""
    speaker = Speaker.load([checkpoints.path("tts")], "cpu", 200)
    speeches = speaker.speak([speaker.prepare(sentence) for sentence in SENTENCES])
    return [soxr.resample(speech.audio, speech.sampling_rate, SAMPLING_RATE) for speech in speeches]

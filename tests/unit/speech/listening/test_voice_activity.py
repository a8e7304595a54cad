"""Only speech is speech: not a tone, a sweep, a clock, a hum, a chord or noise, however loud it is made."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from tritone import checkpoints
from tritone.media.audio import SAMPLING_RATE, resample
from tritone.speech.listening.recording import levelled
from tritone.speech.listening.voice_activity import FRAME, VoiceActivity
from tritone.speech.speaking.espeak import library
from tritone.speech.speaking.tts import Speaker

SECONDS = 20
SENTENCE = "The ship carried coal and timber from the north to the warm harbors of the south."
CHINESE = "今天天气很好，我们去公园散步吧。"


@pytest.fixture(scope="module")
def activity() -> VoiceActivity:
    return VoiceActivity.load()


@pytest.fixture(scope="module")
def voices() -> dict[str, np.ndarray]:
    speaker = Speaker.load([checkpoints.path("tts")], "cpu", 400)
    (english,) = speaker.speak([speaker.prepare(SENTENCE)])
    chinese, _ = library().speak(CHINESE, "cmn", 170, 50)
    return {
        "en": resample(english.audio, english.sampling_rate, SAMPLING_RATE),
        "zh": resample(chinese, library().sampling_rate, SAMPLING_RATE),
    }


def other_sounds() -> dict[str, np.ndarray]:
    """Every sound float32 (n_samples,) at an RMS of 0.1."""
    time = np.arange(SECONDS * SAMPLING_RATE) / SAMPLING_RATE
    random = np.random.default_rng(0)
    ticks = np.zeros(len(time))
    ticks[:: SAMPLING_RATE // 2] = 1.0
    chord = np.sum([np.sin(2 * np.pi * 220 * ratio * time) for ratio in (1, 1.25, 1.5)], axis=0) * np.exp(
        -2 * (time % 1)
    )
    sounds = {
        "tone": np.sin(2 * np.pi * 440 * time),
        "sweep": np.sin(2 * np.pi * (50 * time + 100 * time**2)),
        "siren": np.sin(2 * np.pi * (300 * time + 200 * np.sin(2 * np.pi * time))),
        "clock": ticks,
        "hum": np.sum([np.sin(2 * np.pi * 50 * k * time) / k for k in (1, 2, 3, 5, 7)], axis=0),
        "chords": chord,
        "noise": random.normal(size=len(time)),
    }
    return {name: (0.1 * sound / sound.std()).astype(np.float32) for name, sound in sounds.items()}


@pytest.mark.parametrize("decibels", [0, -20, -40])
def test_what_is_no_speech_is_not_taken_for_it(activity: VoiceActivity, decibels: int) -> None:
    quieter = np.float32(10 ** (decibels / 20))
    heard = {name: activity.spoken(levelled(quieter * sound)) for name, sound in other_sounds().items()}
    assert {name: spoken for name, spoken in heard.items() if spoken} == {}


@pytest.mark.parametrize("voice", ["en", "zh"])
def test_speech_is_found_over_every_other_sound(activity: VoiceActivity, voices: dict, voice: str) -> None:
    speech = voices[voice]
    pause = np.zeros(2 * SAMPLING_RATE, np.float32)
    padded = np.concatenate([pause, speech, pause])
    for name, sound in other_sounds().items():
        other = sound[: len(padded)] * speech.std() / 0.1 / 10**0.5  # 10 dB below
        spoken = activity.spoken(levelled(padded + other))
        assert spoken, name
        # With the margins that `recording` leaves, no word is cut.
        assert spoken[0][0] - 0.5 * SAMPLING_RATE < len(pause) + 0.2 * SAMPLING_RATE, name
        assert spoken[-1][1] + 0.5 * SAMPLING_RATE > len(pause) + len(speech) - 0.2 * SAMPLING_RATE, name


@pytest.mark.parametrize("voice", ["en", "zh"])
def test_speech_turned_down_by_60_db_is_found(activity: VoiceActivity, voices: dict, voice: str) -> None:
    assert activity.spoken(levelled(np.float32(0.001) * voices[voice]))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_network_says_what_the_package_says(activity: VoiceActivity, voices: dict) -> None:
    package = torch.jit.load(Path(str(files("silero_vad.data") / "silero_vad.jit")))
    speech = voices["en"][: FRAME * 60]
    expected = [package(torch.from_numpy(frame), SAMPLING_RATE).item() for frame in speech.reshape(-1, FRAME)]
    np.testing.assert_allclose(activity(speech), expected, atol=1e-4)


def test_one_sample_is_no_speech(activity: VoiceActivity) -> None:
    assert activity.spoken(np.ones(1, np.float32)) == []
    assert activity(np.ones(FRAME + 1, np.float32)).shape == (2,)

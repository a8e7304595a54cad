"""A file plays the microphone: speech makes turns, silence and noise make none. espeak-ng is the one who speaks."""

import wave

import numpy as np
import pytest
import soxr

from tritone.speech.speaking.espeak import library
from tritone_client import InvalidInput, TurnDetector, blocks_of, turns

RATE = 16_000
SENTENCES = ("Is there a red circle in the picture?", "And where is the yellow star?")


def speech(text: str) -> np.ndarray:
    espeak = library()
    audio, _ = espeak.speak(text, "en-us+steady")
    sound = soxr.resample(audio, espeak.sampling_rate, RATE)
    return (sound * 20_000).clip(-32_768, 32_767).astype(np.int16)


def silence(seconds: float, level: float = 8.0) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(int(seconds * RATE)) * level).astype(np.int16)


def file(tmp_path, *sounds: np.ndarray):
    path = tmp_path / "microphone.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(np.concatenate(sounds).tobytes())
    return path


def test_two_questions_are_two_turns_that_end_after_silence(tmp_path):
    first, second = map(speech, SENTENCES)
    path = file(tmp_path, silence(1), first, silence(1.5), second, silence(1.5))
    one, two = turns(blocks_of(path))
    assert one.start == pytest.approx(1 - 0.3, abs=0.2)
    assert len(one.audio) / RATE == pytest.approx(len(first) / RATE + 0.7 + 0.3, abs=0.5)
    assert two.start == pytest.approx(1 + len(first) / RATE + 1.5 - 0.3, abs=0.4)
    # The speech lies in the turn: its loudest stretch is the question's.
    assert np.abs(one.audio).max() == np.abs(first).max()
    assert np.abs(two.audio).max() == np.abs(second).max()


def test_the_turn_is_known_before_the_microphone_closes(tmp_path):
    sound = np.concatenate([silence(0.5), speech(SENTENCES[0]), silence(3)])
    detector, ended = TurnDetector(), None
    for place in range(0, len(sound), 1_600):
        if detector.feed(sound[place : place + 1_600]):
            ended = place / RATE
            break
    assert ended is not None
    assert ended - (len(sound) / RATE - 3) == pytest.approx(0.7, abs=0.4)


def test_who_interrupts_is_noticed(tmp_path):
    detector = TurnDetector()
    detector.feed(silence(1))
    assert not detector.is_speaking
    detector.feed(speech(SENTENCES[0])[:RATE])
    assert detector.is_speaking


@pytest.mark.parametrize("sound", [silence(5), silence(5, 0.0), silence(5, 800.0)], ids=["hum", "zero", "noise"])
def test_silence_and_noise_are_no_turns(tmp_path, sound):
    assert list(turns(blocks_of(file(tmp_path, sound)), TurnDetector(strictness=3))) == []


def test_a_click_is_no_turn(tmp_path):
    click = silence(0.06, 12_000)
    assert list(turns(blocks_of(file(tmp_path, silence(1), click, silence(2))))) == []


def test_a_speech_that_never_ends_comes_in_parts(tmp_path):
    endless = np.concatenate([speech(SENTENCES[0])] * 4)
    parts = list(turns(blocks_of(file(tmp_path, endless)), TurnDetector(max_turn_s=3.0)))
    assert len(parts) >= 3
    assert all(len(part.audio) / RATE <= 3.01 for part in parts)


def test_other_rates_and_files_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="sampling_rate is 22050"):
        TurnDetector(22_050)
    path = tmp_path / "stereo.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(b"\0" * 64)
    with pytest.raises(InvalidInput, match="mono WAV"):
        list(blocks_of(path))

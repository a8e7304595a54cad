"""A random XTTS 2, through the real loading code."""

import numpy as np
import pytest
import small_voices
from safetensors.torch import load_file, save_file

from tritone.errors import NotServed
from tritone.speech.speaking.tts import Speaker
from tritone.speech.speaking.xtts import Xtts


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xtts")
    small_voices.xtts(folder)
    return folder


@pytest.fixture(scope="module")
def xtts(voice) -> Xtts:
    return Xtts.load(voice, "cpu")


def speak(xtts: Xtts, *texts: str, speed: float = 1.0) -> list[np.ndarray]:
    return [sound.audio for sound in xtts.synthesize([(xtts.prepare(text.split()), speed) for text in texts])]


def test_a_clause_is_sound_of_finite_length_and_the_same_every_time(xtts: Xtts) -> None:
    (first,), (again,) = (speak(xtts, "One two.") for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first.dtype, first.ndim) == (np.float32, 1)
    assert np.isfinite(first).all()
    assert 0 < len(first) / xtts.sampling_rate < 2


def test_a_clause_does_not_depend_on_its_neighbours(xtts: Xtts) -> None:
    (alone,) = speak(xtts, "three")
    np.testing.assert_array_equal(speak(xtts, "One two.", "three")[1], alone)


def test_twice_as_fast_is_half_as_long(xtts: Xtts) -> None:
    (normal,), (fast,) = speak(xtts, "One two."), speak(xtts, "One two.", speed=2.0)
    assert len(fast) / len(normal) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("text", "language"), [("One two.", "en"), ("你好", "zh")])
def test_a_clause_is_read_in_the_language_of_its_script(xtts: Xtts, monkeypatch, text: str, language: str) -> None:
    read, encode = [], xtts._network.tokenizer.encode
    monkeypatch.setattr(
        xtts._network.tokenizer, "encode", lambda text, lang: read.append(lang) or encode(text, lang=lang)
    )
    (sound,) = speak(xtts, text)
    assert read == [language]
    assert len(sound)


def test_nothing_to_say_is_nothing(xtts: Xtts) -> None:
    assert xtts.prepare([",", "."]) is None


def test_it_is_a_voice_beside_others(voice) -> None:
    speaker = Speaker.load([voice], "cpu", 100, ["ru"])
    assert speaker.prepare("One two.").engine.voice.name == "random"
    assert speaker.prepare("Да.").engine.voice.name == "espeak-ng"


def test_weights_that_lack_are_named(voice, tmp_path) -> None:
    for name in ("config.json", "vocab.json", "voice.json", "speakers.safetensors"):
        (tmp_path / name).symlink_to(voice / name)
    weights = load_file(voice / "model.safetensors")
    del weights["gpt.final_norm.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(NotServed, match=r"model\.safetensors lacks 1 weights, such as gpt\.final_norm\.weight"):
        Xtts.load(tmp_path, "cpu")

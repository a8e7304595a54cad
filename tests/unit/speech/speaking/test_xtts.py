"""A random XTTS 2, through the real loading code."""

import numpy as np
import pytest
import small_voices
import torch
from safetensors.torch import load_file, save_file
from TTS.tts.configs.xtts_config import XttsArgs, XttsAudioConfig

import convert_coqui
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


def test_a_voice_as_coqui_gives_it_away_sounds_the_same_after_conversion(voice, xtts, tmp_path, monkeypatch) -> None:
    """With the configuration among the weights, in classes that have moved since, and what trained it beside them."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("config.json", "vocab.json"):
        (source / name).symlink_to(voice / name)
    weights = load_file(voice / "model.safetensors")
    shared = {"gpt.gpt_inference.lm_head.0.weight": weights["gpt.final_norm.weight"]}
    with monkeypatch.context() as then:
        for kind in (XttsArgs, XttsAudioConfig):
            then.setattr(kind, "__module__", "TTS.tts.models.xtts")
        torch.save({"config": small_voices.xtts_config(), "model": weights | shared}, source / "model.pth")
    torch.save({"codebook": torch.zeros(1)}, source / "dvae.pth")
    torch.save({"Ana": load_file(voice / "speakers.safetensors")}, source / "speakers_xtts.pth")
    convert_coqui.convert(source, tmp_path / "voice")
    converted = Xtts.load(tmp_path / "voice", "cpu")
    assert converted.voice.languages == ["en", "zh"]
    np.testing.assert_array_equal(speak(converted, "One two.")[0], speak(xtts, "One two.")[0])

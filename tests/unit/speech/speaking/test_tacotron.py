"""A random Tacotron 2 (double decoder consistency, style tokens) and vocoder, through the real loading code."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_voices import tacotron_config, without_phonemizers
from TTS.tts.models.tacotron2 import Tacotron2
from TTS.vocoder.configs import FullbandMelganConfig
from TTS.vocoder.models import setup_generator

import convert_coqui
from tritone.errors import NotServed
from tritone.speech.speaking.tacotron import Tacotron, pinyin_phonemes
from tritone.speech.speaking.tts import Speaker


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    """A voice folder with a vocoder in it."""
    folder = tmp_path_factory.mktemp("voice")
    (folder / "vocoder").mkdir()
    torch.manual_seed(0)
    config = tacotron_config()
    config.save_json(str(folder / "config.json"))
    save_file(Tacotron2(without_phonemizers(config)).state_dict(), folder / "model.safetensors")
    (folder / "voice.json").write_text('{"name": "random", "languages": ["zh"]}', encoding="utf-8")
    vocoder = FullbandMelganConfig(generator_model="fullband_melgan_generator")
    vocoder.audio.stats_path = None
    vocoder.save_json(str(folder / "vocoder" / "config.json"))
    save_file(setup_generator(vocoder).state_dict(), folder / "vocoder" / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def tacotron(voice) -> Tacotron:
    return Tacotron.load(voice, "cpu")


def test_chinese_becomes_coquis_phonemes_and_tones() -> None:
    text, owners = pinyin_phonemes(["你好", "，", "这是"])
    assert text == "ni3xaʌ3 ， dʒø4ʂʏ4"
    assert "".join(symbol for symbol, owner in zip(text, owners, strict=True) if owner == 2) == "dʒø4ʂʏ4"


def test_a_clause_is_sound_of_finite_length_and_the_same_every_time(tacotron: Tacotron) -> None:
    clause = tacotron.prepare(["你好", "世界。"])
    first, again = (tacotron.synthesize([(clause, 1.0)])[0] for _ in range(2))
    np.testing.assert_array_equal(first.audio, again.audio)
    assert np.isfinite(first.audio).all()
    assert 0 < len(first.audio) / tacotron.sampling_rate < 10  # a random network never stops by itself
    (start, end), (later, last) = first.times
    assert 0 <= start <= end <= later <= last <= len(first.audio) / tacotron.sampling_rate + 0.1


def test_a_clause_does_not_depend_on_its_neighbours(tacotron: Tacotron) -> None:
    clauses = [(tacotron.prepare(words), 1.0) for words in (["你好"], ["世界"])]
    alone = tacotron.synthesize(clauses[1:])[0]
    np.testing.assert_array_equal(tacotron.synthesize(clauses)[1].audio, alone.audio)


def test_twice_as_fast_is_half_as_long(tacotron: Tacotron) -> None:
    clause = tacotron.prepare(["你好"])
    normal, fast = tacotron.synthesize([(clause, 1.0), (clause, 2.0)])
    assert len(fast.audio) / len(normal.audio) == pytest.approx(0.5, abs=0.05)


def test_without_a_vocoder_griffin_lim_speaks(voice, tmp_path) -> None:
    for name in ("config.json", "model.safetensors", "voice.json"):
        (tmp_path / name).symlink_to(voice / name)
    plain = Tacotron.load(tmp_path, "cpu")
    (sound,) = plain.synthesize([(plain.prepare(["你"]), 1.0)])
    assert np.isfinite(sound.audio).all()
    assert len(sound.audio) > 1000


def test_nothing_to_say_is_nothing(tacotron: Tacotron) -> None:
    assert tacotron.prepare(["，", "。"]) is None


def test_it_is_a_voice_beside_others(voice) -> None:
    speaker = Speaker.load([voice], "cpu", 100, ["en"])
    assert speaker.prepare("你好。").engine.voice.name == "random"
    assert speaker.prepare("Hello.", language="en").engine.voice.name == "espeak-ng"


def test_an_unknown_vocoder_is_refused(voice, tmp_path) -> None:
    for name in ("config.json", "model.safetensors", "voice.json"):
        (tmp_path / name).symlink_to(voice / name)
    (tmp_path / "vocoder").mkdir()
    (tmp_path / "vocoder" / "config.json").write_text('{"generator_model": "wavernn"}', encoding="utf-8")
    with pytest.raises(NotServed, match="vocoder 'wavernn' is not served"):
        Tacotron.load(tmp_path, "cpu")


def test_a_pickled_voice_and_its_vocoder_sound_the_same_after_conversion(voice, tacotron: Tacotron, tmp_path) -> None:
    """As Coqui gives them away: weights in `model_file.pth`, a GAN's generator as `model_g.*` beside its critic."""
    source = tmp_path / "source"
    (source / "vocoder").mkdir(parents=True)
    for folder, prefix in (("", ""), ("vocoder", "model_g.")):
        content = json.loads((voice / folder / "config.json").read_text(encoding="utf-8"))
        content["datasets"] = [{"language": "zh-cn"}]
        (source / folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
        weights = {prefix + name: tensor for name, tensor in load_file(voice / folder / "model.safetensors").items()}
        weights |= {"model_d.weight": torch.zeros(1)} if prefix else {}
        torch.save({"model": weights}, source / folder / "model_file.pth")
    convert_coqui.convert(source, tmp_path / "voice")
    converted = Tacotron.load(tmp_path / "voice", "cpu")
    assert converted.voice.languages == ["zh"]
    clause = converted.prepare(["你好"])
    expected, sound = (engine.synthesize([(clause, 1.0)])[0] for engine in (tacotron, converted))
    np.testing.assert_array_equal(sound.audio, expected.audio)

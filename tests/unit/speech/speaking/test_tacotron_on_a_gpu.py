"""Coqui's Tacotron 2 and its vocoders on a GPU that is not there.

Whether a clause has ended is a number, which fake tensors do not have: here it never ends by itself.
"""

import numpy as np
import pytest
import torch
from fake_cuda import count_synchronisations, fake_cuda
from small_voices import tacotron_config, without_phonemizers
from TTS.tts.models.tacotron2 import Tacotron2
from TTS.vocoder.models import setup_generator

from tritone.speech.speaking import tacotron
from tritone.speech.speaking.tacotron import VOCODERS, Tacotron, Vocoder
from tritone.speech.speaking.voice import Voice

DEVICE, HOP, REDUCTION = "cuda:1", 256, 2
LIBRARYS = 1  # of a clause: Coqui makes its style on the host
OURS = 3  # symbols go there; the spectrogram and what each step looked at come back
VOCODERS_OWN = 2  # the spectrogram goes there, the sound comes back


@pytest.fixture
def card(monkeypatch):
    monkeypatch.setattr(tacotron, "LONGEST_SYMBOL_S", 0.05)  # steps of a clause: fake ones take long
    with fake_cuda(number=0) as card:
        yield card


def load(vocoder: str | None = None, attention: str = "original") -> Tacotron:
    network = Tacotron2(without_phonemizers(tacotron_config(attention)))
    return Tacotron(network, Voice(name="nobody", languages=["zh"]), vocoder and load_vocoder(vocoder), DEVICE)


def load_vocoder(kind: str) -> Vocoder:
    config = VOCODERS[kind](generator_model=kind)
    config.audio.stats_path = None
    generator = setup_generator(config)
    generator.remove_weight_norm()
    return Vocoder(config, generator, DEVICE)


@pytest.mark.parametrize("vocoder", VOCODERS)
def test_a_clause_is_spoken_in_float32_on_its_own_card(card, vocoder: str) -> None:
    voice = load(vocoder)
    card.placed.clear()
    (sound,) = voice.synthesize([(voice.prepare(["你好"]), 1.0)])
    frames = voice._network.decoder.max_decoder_steps * REDUCTION
    assert (sound.audio.dtype, sound.audio.ndim) == (np.float32, 1)
    assert len(sound.audio) >= frames * HOP  # vocoders add frames at both ends
    assert {each.device for each in card.placed} == {torch.device(DEVICE)}
    assert {each.dtype for each in card.placed if each.dtype.is_floating_point} == {torch.float32}


@pytest.mark.parametrize("attention", ["original", "dynamic_convolution"])
def test_in_coquis_own_code_the_host_waits_once_a_step_for_the_stop_token_and_once_a_clause(card, attention) -> None:
    voice = load(attention=attention)
    for words in (["你"], ["你好", "世界"]):
        clause = voice.prepare(words)
        with count_synchronisations() as waits:
            voice.synthesize([(clause, 1.0)])
        steps = voice._network.decoder.max_decoder_steps
        assert len(waits) == steps + LIBRARYS + OURS, waits.found[-10:]


def test_a_vocoder_is_a_copy_there_and_a_copy_back(card) -> None:
    vocoder = load_vocoder("hifigan_generator")
    with count_synchronisations() as waits, torch.inference_mode():
        vocoder(np.zeros((80, 5), np.float32), vocoder.sampling_rate)
    assert len(waits) == VOCODERS_OWN, waits.found

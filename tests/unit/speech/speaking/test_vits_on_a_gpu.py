"""The tiny voice's network, a VITS of the usual shape, on a GPU that is not there.

Without Coqui's own duration predictor: it chooses numbers by masks, as many as there are, which fake tensors cannot.
"""

import json

import numpy as np
import pytest
import torch
from fake_cuda import count_synchronisations, fake_cuda
from TTS.tts.configs.vits_config import VitsConfig

from tritone import checkpoints
from tritone.speech.speaking.vits import Vits, build_network
from tritone.speech.speaking.voice import Voice

FRAMES = 256  # of each symbol; and samples of each, which Coqui reads from a tensor


class Durations(torch.nn.Module):
    def forward(self, x, mask, **noise):
        return x[:, :1] * mask


@pytest.fixture
def voice():
    config = VitsConfig()
    config.from_dict(json.loads((checkpoints.path("tts") / "config.json").read_text(encoding="utf-8")))
    config.model_args.init_discriminator = False
    with fake_cuda(number=FRAMES):
        network = build_network(config)
        network.duration_predictor = Durations()
        yield Vits(network, Voice(name="nobody", languages=["en"]), "cuda:1")


def test_clauses_of_different_lengths_are_spoken_together(voice):
    clauses = [(voice.prepare(text.split()), 1.0) for text in ("Yes.", "It is out of the blue.")]
    assert voice.batched
    for (phonemes, _), sound in zip(clauses, voice.synthesize(clauses), strict=True):
        symbols = len(voice.encode(phonemes.text)[0])
        assert sound.audio.shape == (FRAMES * FRAMES * symbols,)
        assert (sound.audio.dtype, len(sound.times)) == (np.float32, phonemes.n_words)


def test_a_clause_is_thought_out_with_one_wait_for_its_durations(voice):
    phonemes = voice.prepare(["Yes."])
    with count_synchronisations() as waits, torch.inference_mode():
        frames = voice._think(phonemes, 1.0)
    assert frames.durations == [FRAMES] * len(voice.encode(phonemes.text)[0])
    assert len(waits) == 2, waits.found  # symbols go there, durations come back

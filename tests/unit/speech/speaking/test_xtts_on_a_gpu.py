"""XTTS 2 in its true width, with two layers, on a GPU that is not there.

Whether a clause has ended is a number, which fake tensors do not have: the test says how many tokens it lasts.
"""

import numpy as np
import pytest
import torch
from fake_cuda import count_synchronisations, fake_cuda
from small_voices import speaker, xtts_config, xtts_network
from transformers import GenerationMixin

from tritone.speech.speaking.voice import Voice
from tritone.speech.speaking.xtts import Xtts

WIDTH, DEVICE = 1024, "cuda:1"
A_TOKEN = 3  # the draw, its place among the others, and whether it was the last
A_CLAUSE = 20


@pytest.fixture
def card():
    with fake_cuda(number=8) as card:  # symbols of the text
        yield card


@pytest.fixture
def xtts(card, tmp_path) -> Xtts:
    network = xtts_network(xtts_config(WIDTH, 16), tmp_path / "vocab.json")
    return Xtts(network, Voice(name="nobody", languages=["en"]), speaker(WIDTH), DEVICE)


@pytest.fixture
def lasting(monkeypatch):
    """Tells for how many tokens a clause lasts."""

    def last(n_tokens: int) -> None:
        left = iter([True] * n_tokens + [False])
        monkeypatch.setattr(GenerationMixin, "_has_unfinished_sequences", lambda *_, **__: next(left))

    return last


def speak(xtts: Xtts) -> np.ndarray:
    (sound,) = xtts.synthesize([(xtts.prepare(["One", "two."]), 1.0)])
    return sound.audio


def test_a_clause_is_spoken_in_float32_on_its_own_card(card, xtts: Xtts, lasting) -> None:
    lasting(3)
    card.placed.clear()
    audio = speak(xtts)
    assert (audio.dtype, audio.ndim) == (np.float32, 1)
    assert len(audio) > 0
    assert (1, 1, WIDTH) in card.shapes(torch.float32)  # a step
    assert {each.device for each in card.placed} == {torch.device(DEVICE)}
    assert {each.dtype for each in card.placed if each.dtype.is_floating_point} == {torch.float32}


def test_in_coquis_own_code_the_host_waits_three_times_a_token_and_twenty_a_clause(xtts: Xtts, lasting) -> None:
    for n_tokens in (2, 6):
        lasting(n_tokens)
        with count_synchronisations() as waits:
            speak(xtts)
        assert len(waits) == A_CLAUSE + A_TOKEN * n_tokens, waits.found

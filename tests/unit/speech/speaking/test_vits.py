"""VITS in a batch is VITS alone; words have the durations that the network gave them."""

import numpy as np
import pytest

from tritone import checkpoints
from tritone.speech.speaking.vits import SILENT, Vits

TEXTS = ["A long sentence takes much more time than a short one does.", "Yes.", "It is out of the blue."]


@pytest.fixture(scope="module")
def voice() -> Vits:
    return Vits.load(checkpoints.path("tts"), "cpu")


def test_a_batch_sounds_as_one_by_one(voice: Vits) -> None:
    clauses = [(voice.prepare(text.split()), speed) for text, speed in zip(TEXTS, (1.0, 1.5, 0.8), strict=True)]
    assert not voice.batched  # it does not pay on a CPU
    alone = voice.synthesize(clauses)
    voice.batched = True
    try:
        together = voice.synthesize(clauses)
    finally:
        voice.batched = False
    for one, other in zip(alone, together, strict=True):
        assert one.audio.shape == other.audio.shape
        assert np.abs(one.audio).max() > 0.1
        assert np.abs(one.audio - other.audio).max() < 1e-5
        assert one.times == other.times


def test_without_the_mask_neighbours_would_be_heard(voice: Vits) -> None:
    """What `_DecoderMask` is for: the same batch without it differs where the shorter clause ends."""
    clauses = [(voice.prepare(text.split()), 1.0) for text in TEXTS[:2]]
    alone = voice.synthesize(clauses)[1].audio
    voice.batched, hide = True, voice._mask.of
    try:
        voice._mask.of = lambda lengths, device: hide([1], device)  # type: ignore[method-assign]
        together = voice.synthesize(clauses)[1].audio
    finally:
        voice.batched, voice._mask.of = False, hide  # type: ignore[method-assign]
    assert np.abs(alone - together).max() > 1e-4


def test_joined_words_share_their_sound(voice: Vits) -> None:
    (sound,) = voice.synthesize([(voice.prepare(TEXTS[2].split()), 1.0)])  # espeak says "ʌvðə"
    assert len(sound.times) == 6
    assert all(start < end for start, end in sound.times)
    assert all(before[1] <= behind[0] for before, behind in zip(sound.times, sound.times[1:], strict=False))


def test_symbols_stand_between_blanks_begin_and_end(voice: Vits) -> None:
    vocabulary = voice._network.tokenizer.characters
    ids, sources = voice.encode("ab☃")  # the snowman is no phoneme
    a, b, blank = vocabulary.char_to_id("a"), vocabulary.char_to_id("b"), vocabulary.blank_id
    assert ids == [vocabulary.bos_id, blank, a, blank, b, blank, vocabulary.eos_id]
    assert sources == [SILENT, SILENT, 0, SILENT, 1, SILENT, SILENT]

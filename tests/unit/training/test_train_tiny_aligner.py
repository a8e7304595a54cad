"""What the tiny aligner learns from: true word times, edges of words, words that it never hears."""

from itertools import islice
from random import Random

import numpy as np
import pytest

from lessons.spoken_sentences import is_held_out, sentences
from lessons.spoken_speech import Utterance
from train_tiny_aligner import BLANK, GAP, NUMBER, build_model, collate, disturb, frame_targets
from tritone.speech.alignment import Frames


def spelled(targets: list[int]) -> str:
    signs = {number: sign for sign, number in NUMBER.items()} | {BLANK: "-"}
    return "".join(signs[number] for number in targets)


def test_training_and_evaluation_share_no_held_out_word() -> None:
    trained = list(islice(sentences(1, held_out=False), 200))
    evaluated = list(islice(sentences(2, held_out=True), 50))
    assert not any(is_held_out(word) for text in trained for word in text.split())
    assert all(any(map(is_held_out, text.split())) for text in evaluated)
    assert trained == list(islice(sentences(1, held_out=False), 200))


def test_a_frame_says_the_letter_of_its_word_and_the_gap_behind() -> None:
    targets, certain = frame_targets(("Red", "sun."), np.array([[2.0, 8.0], [10.0, 13.0]]), 15)
    assert spelled(targets) == "--RREEDD|-SUN|-"
    assert [index for index, sure in enumerate(certain) if not sure] == [3, 4, 5, 6, 11]


def test_words_that_touch_have_a_gap_between_them() -> None:
    targets, _ = frame_targets(("ab", "cd"), np.array([[0.0, 4.0], [4.0, 8.0]]), 10)
    assert spelled(targets) == "AABB|CCD|-"
    assert targets[4] == GAP


def test_disturbing_moves_the_times_with_the_sound() -> None:
    audio = np.zeros(16_000, np.int16)
    audio[8_000:9_600] = 20_000  # a "word" of 0.1 s
    utterance = Utterance(audio, ("beep",), np.float32([[0.5, 0.6]]))
    for seed in range(20):
        sound, [[start, end]] = disturb(Random(seed), utterance)
        inside = np.abs(sound[int(start * 16_000) + 20 : int(end * 16_000) - 20])
        outside = np.concatenate([sound[: int(start * 16_000) - 20], sound[int(end * 16_000) + 20 :]])
        assert inside.mean() > 2 * np.abs(outside).mean()


def test_a_batch_fits_the_network() -> None:
    model = build_model()
    cut = Frames.of(model.config)
    rng = np.random.default_rng(0)
    utterances = [
        Utterance(
            (rng.standard_normal(n) * 3000).astype(np.int16), ("one", "two"), np.float32([[0.1, 0.4], [0.5, 0.9]])
        )
        for n in (16_000, 24_000)
    ]
    batch = collate(Random(0), utterances, cut)
    assert batch["targets"].shape[1] == max(batch["frames"])
    assert batch["n_letters"].tolist() == [7, 7]
    logits = model(batch["audio"]).logits
    assert logits.shape[1] == pytest.approx(max(batch["frames"]), abs=0)
    assert 1e6 < sum(parameter.numel() for parameter in model.parameters()) < 4e6

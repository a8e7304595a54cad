"""Forced alignment: crafted emissions whose best path is known, and small random networks of both kinds."""

import numpy as np
import pytest
import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

from tritone.errors import InvalidInput
from tritone.speech.alignment import Aligner, Frames

LETTERS = "ETAONIHSRDLUMWCFGYPBVK'XJQZ"
VOCABULARY = {token: number for number, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS])}


def checkpoint(folder, norm: str):
    """A small random network of wav2vec2-base's shape ("group") or of wav2vec2-large-lv60's ("layer")."""
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(VOCABULARY), conv_dim=[16] * 7, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", conv_bias=norm == "layer",
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, pad_token_id=0,
    )  # fmt: skip
    (folder / "vocab.json").write_text(str(VOCABULARY).replace("'", '"').replace('"""', '"\'"'), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), word_delimiter_token="|")
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer", do_normalize=True)
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["group", "layer"])
def aligner(request, tmp_path_factory) -> Aligner:
    return Aligner.load(checkpoint(tmp_path_factory.mktemp("aligner"), request.param), "cpu", "float32", 60.0)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(int(seconds * 16_000)).astype(np.float32) / 10


def emissions_of(spelled: str) -> torch.Tensor:
    """Log-probabilities of a network that is sure of one letter a frame; "-" is the blank."""
    logits = torch.zeros(len(spelled), len(VOCABULARY))
    for frame, letter in enumerate(spelled):
        logits[frame, VOCABULARY.get(letter, 0)] = 12.0
    return logits.log_softmax(-1)


def align(aligner: Aligner, text: str, spelled: str):
    reading = aligner.prepare(noise(0.02 * len(spelled) + 0.01), text)
    return aligner._align(reading, emissions_of(spelled))


def test_words_stand_where_their_letters_are(aligner: Aligner) -> None:
    found = align(aligner, "Hello, a world!", "--HEL-LLO---|--A-|WORLD---")
    assert [word.word for word in found.words] == ["Hello,", "a", "world!"]
    times = [time for word in found.words for time in (word.start, word.end)]
    assert times == pytest.approx([0.04, 0.18, 0.30, 0.32, 0.36, 0.46])
    assert found.matches
    assert found.score > 0.9


def test_numbers_are_spelled_as_they_are_said(aligner: Aligner) -> None:
    found = align(aligner, "It's 25 — yes", "IT'S-|TWENTY-|FIVE--|YES-")
    assert [word.word for word in found.words] == ["It's", "25", "—", "yes"]
    assert (found.words[1].start, found.words[1].end) == pytest.approx((0.12, 0.36))
    assert (found.words[2].start, found.words[2].score) == (found.words[1].end, 0.0)  # a dash is not heard
    assert found.matches


def test_accents_and_curly_apostrophes_are_letters(aligner: Aligner) -> None:
    assert align(aligner, "Café, it’s", "CAFE-|IT'S").matches


def test_another_text_does_not_match_and_says_so(aligner: Aligner) -> None:
    found = align(aligner, "Quick brown fox", "--HEL-LLO---|--A-|WORLD---")
    assert not found.matches
    assert found.score < 0.05
    assert max(word.score for word in found.words) < 0.2


def test_one_wrong_word_is_seen_at_its_word(aligner: Aligner) -> None:
    found = align(aligner, "hello big world", "HEL-LO-|BAD-|WORLD-")
    assert [word.score > 0.5 for word in found.words] == [True, False, True]


def test_a_reading_is_the_same_alone_and_in_a_crowd(aligner: Aligner) -> None:
    readings = [
        aligner.prepare(noise(seconds, seed), text)
        for seed, (seconds, text) in enumerate(
            [(3.0, "one two three"), (1.0, "four"), (3.0, "five six"), (25.0, "many")]
        )
    ]
    together = aligner.align(readings)
    for reading, among_others in zip(readings, together, strict=True):
        [alone] = aligner.align([reading])
        assert [(word.start, word.end) for word in alone.words] == [(w.start, w.end) for w in among_others.words]
        assert alone.score == pytest.approx(among_others.score, abs=1e-3)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 19.99, 20.0, 20.03, 45.5, 60.0])
def test_windows_give_every_frame_once(aligner: Aligner, seconds: float) -> None:
    frames, n_samples = aligner._frames, int(seconds * 16_000)
    own = [window.stop - window.skip for window in frames.windows(n_samples)]
    assert sum(own) == frames.count(n_samples)
    for window in frames.windows(n_samples):
        assert window.stop <= frames.count(window.last - window.first)
        assert window.last <= n_samples
    pieces = [noise(seconds)[window.first : window.last] for window in frames.windows(n_samples)]
    emissions = aligner._emissions(pieces)
    assert [len(rows) for rows in emissions] == [frames.count(len(piece)) for piece in pieces]


def test_frames_are_wav2vec2s() -> None:
    assert Frames.of(Wav2Vec2Config()) == Frames(hop=320, field=400)
    assert Frames(320, 400).count(16_000) == 49


@pytest.mark.parametrize(
    ("audio", "text", "sentence"),
    [
        (noise(1), "", "no letter that can be aligned"),
        (noise(1), "?! 你好", "no letter that can be aligned"),
        (noise(0.05), "a", r"0\.05 s long, must be 0\.1–60 s"),
        (noise(61), "a", r"61\.00 s long"),
        (np.full(16_000, np.nan, np.float32), "a", "no numbers"),
        (noise(1), "1,234,567 and 7,654,321 and 8,888,888", r"text needs \d+ frames, .* has 49"),
        (noise(1), "x" * 300_000, "text has 300,000 characters, the limit for 1.00 s of audio is 50"),
    ],
)
def test_what_cannot_be_aligned_is_refused(aligner: Aligner, audio, text: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        aligner.prepare(audio, text)

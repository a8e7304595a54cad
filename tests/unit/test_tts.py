"""The voice speaks what it is asked, the same way every time, and refuses what it cannot speak."""

import numpy as np
import pytest
import torch

from tritone import checkpoints, tts
from tritone.errors import InvalidInput, NotServed
from tritone.tts import Speaker

MAX_CHARACTERS = 200


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return Speaker.load(checkpoints.path("tts"), "cpu", MAX_CHARACTERS)


def speak(speaker: Speaker, text: str, **options: object) -> np.ndarray:
    return speaker.speak([speaker.prepare(text, **options)])[0].audio


def test_speech_is_finite_audio_of_a_plausible_length(speaker: Speaker) -> None:
    (speech,) = speaker.speak([speaker.prepare("The circle is red.")])
    assert speech.sampling_rate == 22_050
    assert speech.audio.dtype == np.float32
    assert 0.7 < len(speech.audio) / speech.sampling_rate < 2.5
    assert 0.05 < np.abs(speech.audio).max() <= 1.0


def test_a_text_sounds_the_same_alone_and_in_a_crowd(speaker: Speaker) -> None:
    torch.manual_seed(1)
    alone = speak(speaker, "The circle is red.")
    torch.manual_seed(2)
    crowd = speaker.speak([speaker.prepare(text) for text in ("Hello.", "The circle is red.", "Yes.")])
    np.testing.assert_array_equal(crowd[1].audio, alone)


def test_speaking_leaves_the_callers_random_numbers_alone(speaker: Speaker) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    speak(speaker, "Hello.")
    assert torch.equal(torch.rand(4), expected)


def test_a_sentence_sounds_the_same_inside_a_longer_text(speaker: Speaker) -> None:
    first, second = speak(speaker, "The circle is red."), speak(speaker, "There are two stars.")
    both = speak(speaker, "The circle is red. There are two stars.")
    np.testing.assert_array_equal(both, np.concatenate([first, second]))


def test_speed_changes_the_length(speaker: Speaker) -> None:
    slow, normal, fast = (len(speak(speaker, "The circle is red.", speed=speed)) for speed in (0.5, 1.0, 2.0))
    assert slow / normal == pytest.approx(2.0, rel=0.1)
    assert 0.5 <= fast / normal < 0.65  # no phoneme is shorter than a frame


def test_one_callers_speed_is_not_the_next_ones(speaker: Speaker) -> None:
    normal = speak(speaker, "Hello.")
    speeches = speaker.speak([speaker.prepare("Hello.", speed=2.0), speaker.prepare("Hello.")])
    np.testing.assert_array_equal(speeches[1].audio, normal)
    assert len(speeches[0].audio) < len(normal)


@pytest.mark.parametrize("options", [{"language": "en"}, {"language": "en-US"}, {"voice": "en_US-joe-medium"}])
def test_the_voice_and_its_language_may_be_named(speaker: Speaker, options: dict[str, str]) -> None:
    np.testing.assert_array_equal(speak(speaker, "Hello.", **options), speak(speaker, "Hello."))


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"text": ""}, "nothing to speak"),
        ({"text": "  \n"}, "nothing to speak"),
        ({"text": "?!… —"}, "nothing to speak"),
        ({"text": "a" * 201}, "201 characters, the limit is 200"),
        ({"text": "你好"}, r"'你', which the voice cannot read; voices: en_US-joe-medium \(languages: en\)"),
        ({"text": "The word 红色"}, "'红', which the voice cannot read"),
        ({"text": "привет"}, "'п', which the voice cannot read"),
        ({"text": "hi", "language": "zh"}, r"language 'zh' is not spoken; voices: en_US-joe-medium \(languages: en\)"),
        ({"text": "hi", "voice": "anna"}, "voice 'anna' is unknown; voices: en_US-joe-medium"),
        ({"text": "hi", "speed": 0.4}, r"speed is 0\.4, it must be from 0\.5 to 2"),
        ({"text": "hi", "speed": 2.1}, r"speed is 2\.1"),
        ({"text": "hi", "speed": float("nan")}, "speed is nan"),
    ],
)
def test_what_cannot_be_spoken_is_refused_with_the_reason(
    speaker: Speaker, wish: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        speaker.prepare(**wish)


def test_accents_digits_and_greek_letters_are_spoken(speaker: Speaker) -> None:
    for text in ("Déjà vu, naïve café", "5 µm ≈ 0.2 mil", "α and β", "ﬁnd"):
        assert speaker.prepare(text).sentences


def test_symbols_stand_between_blanks_begin_and_end(speaker: Speaker) -> None:
    vocabulary = speaker._network.tokenizer.characters
    ids = speaker.encode("ab☃")  # the snowman is no phoneme
    a, b, blank = vocabulary.char_to_id("a"), vocabulary.char_to_id("b"), vocabulary.blank_id
    assert ids == [vocabulary.bos_id, blank, a, blank, b, blank, vocabulary.eos_id]


def test_a_model_that_is_no_vits_is_refused(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model": "tacotron2"}', encoding="utf-8")
    with pytest.raises(NotServed, match="'tacotron2' voice; only 'vits' voices are served"):
        Speaker.load(tmp_path, "cpu", MAX_CHARACTERS)


def test_language_tags_are_reduced_to_their_language() -> None:
    assert [tts._primary(tag) for tag in ("en", "EN-us", "zh_CN", " en ")] == ["en", "en", "zh", "en"]

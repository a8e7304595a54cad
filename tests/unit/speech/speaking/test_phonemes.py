"""Phonemes are what voices were trained on: stress marks, punctuation kept, nothing of espeak's own marks."""

import pytest

from tritone.speech.speaking.phonemes import Phonemizer


@pytest.fixture(scope="module")
def phonemize() -> Phonemizer:
    return Phonemizer("en-us")


@pytest.mark.parametrize(
    ("sentence", "phonemes"),
    [
        ("Hello, world!", "həlˈoʊ, wˈɜːld!"),
        ("Is it red?", "ɪz ɪt ɹˈɛd?"),
        ("Red; blue: green.", "ɹˈɛd; blˈuː: ɡɹˈiːn."),
        ("What?!", "wˌʌt?"),
        ("Well…", "wˈɛl."),
        ('"Stop," she said.', "stˈɑːp, ʃiː sˈɛd."),
        ("Dr. Smith", "dˈɑːktɚ smˈɪθ"),
        ("It costs 1,000.", "ɪt kˈɔsts wˈʌn θˈaʊzənd."),
        ("At 3:30.", "æt θɹˈiː θˈɜːɾi."),
        ("", ""),
        ("...", ""),
        ("   ", ""),
    ],
)
def test_sentences_are_phonemised_with_their_punctuation(phonemize: Phonemizer, sentence: str, phonemes: str) -> None:
    assert phonemize(sentence) == phonemes


def test_words_of_other_languages_leave_no_flags(phonemize: Phonemizer) -> None:
    assert not set("()_") & set(phonemize("The word 你好 and déjà vu."))


def test_color_is_does_not_become_colors(phonemize: Phonemizer) -> None:
    assert phonemize("What color is it?") == "wˌʌt kˈʌlɚ ɪz ɪt?"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(RuntimeError, match="klingon"):
        Phonemizer("klingon")

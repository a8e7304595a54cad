"""espeak-ng's languages, for texts that no better voice speaks."""

from pathlib import Path

import pytest

from tritone.errors import InvalidInput
from tritone.speech.reading.scripts import language_by_script
from tritone.speech.speaking.espeak import Espeak, all_languages
from tritone.speech.speaking.tts import Speaker


@pytest.fixture(scope="module")
def robot() -> Speaker:
    return Speaker([Espeak(["all"])], 2_000)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("привет", "ru"),
        ("привіт, її", "uk"),
        ("مرحبا", "ar"),
        ("چطور", "fa"),
        ("नमस्ते", "hi"),
        ("こんにちは", "ja"),
        ("안녕하세요", "ko"),
        ("Καλημέρα", "el"),
        ("שלום", "he"),
        ("สวัสดี", "th"),
        ("გამარჯობა", "ka"),
        ("你好", "zh"),
        ("你好 hello", "zh"),
        ("α and β", ""),
        ("Bonjour à tous", ""),
        ("hello", ""),
        ("12", ""),
    ],
)
def test_the_script_tells_the_language(robot: Speaker, text: str, language: str) -> None:
    assert language_by_script(text) == language
    (speech,) = robot.speak([robot.prepare(text)])
    assert (speech.voice, len(speech.audio) > 2_000) == ("espeak-ng", True)


def test_every_language_speaks(robot: Speaker) -> None:
    for language in all_languages():
        script = robot.prepare("12", language=language)
        assert script.clauses[0].prepared.language == language
        (speech,) = robot.speak([script])
        assert len(speech.audio) > 2_000, language


def test_a_latin_text_is_read_in_the_language_that_is_named(robot: Speaker) -> None:
    lines = [robot.prepare("Bonjour mes amis", language=tag).clauses[0].prepared.language for tag in ("fr-FR", "")]
    assert lines == ["fr", "en"]


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"text": "សួស្តី"}, r"'ស', which no voice can read; voices and their languages: espeak-ng \(\d+ languages, l"),
        ({"text": "東京です"}, "'東', which no voice can read"),  # espeak-ng reads no kanji in Japanese
        ({"text": "привет", "language": "fr"}, "'п', which no voice can read in language 'fr'"),
        ({"text": "hi", "language": "x" * 5_000}, "language 'x{40}' is not spoken"),
        ({"text": "hi", "voice": "v" * 5_000}, "voice 'v{40}' is unknown"),
    ],
)
def test_a_refusal_is_short(robot: Speaker, wish: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as caught:
        robot.prepare(**wish)
    assert len(str(caught.value)) < 200


def test_the_list_in_the_docs_is_that_of_espeak() -> None:
    listed = (Path(__file__).parents[4] / "docs" / "languages.md").read_text(encoding="utf-8")
    assert f"{len(all_languages())} languages" in listed
    assert [tag for tag in all_languages() if f"`{tag}`" not in listed] == []


def test_warming_up_speaks_few_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = []
    monkeypatch.setattr(Speaker, "speak", lambda self, scripts: spoken.extend(scripts))
    Speaker.load([], "cpu", 100, ["all"])
    assert len(spoken) == 2


def test_markdown_is_spoken_without_its_marks(robot: Speaker) -> None:
    script = robot.prepare("# Title\n\nThis is **bold** 👍:\n\n```\nx = 1\n```\n\n| a | b |\n|---|---|\n")
    assert [word.text for clause in script.clauses for word in clause.words] == ["Title", "This", "is", "bold", "👍:"]
    assert script.note == "not read aloud: a code block, a table"
    with pytest.raises(InvalidInput, match=r"nothing to speak: .*; not read aloud: a code block"):
        robot.prepare("```\nx = 1\n```")
    assert [word.spoken for clause in robot.prepare("5 * 3 is **2^4**").clauses for word in clause.words] == [
        *("five", "times", "three", "is"),
        "two to the power of four",
    ]


def test_a_script_says_about_how_long_it_will_sound(robot: Speaker) -> None:
    for text in (
        "It costs $5.20, and the train leaves at 3:05 pm. " * 4,
        "图里有2个红色的圆形，占30%。" * 4,
        "привет 12 " * 9,
    ):
        script = robot.prepare(text)
        (speech,) = robot.speak([script])
        assert 0.5 < script.seconds / (len(speech.audio) / speech.sampling_rate) < 2.0
        assert robot.prepare(text, speed=2.0).seconds == pytest.approx(script.seconds / 2)

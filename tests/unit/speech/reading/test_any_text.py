"""Whatever text comes, reading it ends, costs no more than its length allows, and loses none of it."""

import random
import sys

import pysbd
import pytest

from tritone.speech.reading import clauses, markdown
from tritone.speech.reading.normalization import read
from tritone.speech.reading.scripts import ascii_digits

ALPHABETS = [
    "0123456789.,-/:%$€¥^~ ",
    "*_`#~>|[]()<>!\\$&;\n -a1",
    "IVXLC. St.Dr.No#A/B+@",
    "一二2个年月日，。：％０１２３~-",
    "٣३๓３²½①⅓零〇①㊀",
    "é ß ж ש あ 한 𝟙 👍🏽\u200d\ufe0f\u0301\u0000\u2028\u202e",
    "0123456789" * 3 + "th km m² % pm",
    "“”\"'（）() ?!…..;",
]
WORDS = [
    "1.",
    "a)",
    "Dr.",
    "i.e.",
    "U.S.",
    "**",
    "```\n",
    "| a |\n",
    "$x^2$",
    "<b>",
    "9" * 40,
    "2.0.1",
    "http://a.b",
    "第2",
]


def texts(count: int, longest: int) -> list[str]:
    generator = random.Random(20_000)
    found = []
    for _ in range(count):
        alphabet = [*generator.choice(ALPHABETS), *generator.sample(WORDS, 3)]
        found.append("".join(generator.choices(alphabet, k=generator.randint(1, longest))))
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_text_fails_and_words_join_to_it(language: str) -> None:
    for text in texts(2_000, 50):
        words = read(text, language)
        assert "".join(word.text + word.space for word in words).strip() == text.strip(), text
        parts = clauses.split(markdown.plain(text).text, language)
        assert all(part == part.strip() != "" for part in parts), text
        for part in parts:
            read(part, language)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_letter_is_lost_where_a_text_is_split(language: str) -> None:
    for text in texts(500, 300):
        assert "".join("".join(clauses.split(text, language)).split()) == "".join(text.split()), text


HOSTILE = [
    " ".join(f"{i % 26 + 1}. {chr(97 + i % 26)}" for i in range(4_000)),
    *("1", "1.", "1-", "1a", "1 ", "$1", "2个", "[", "*a ", "a@", "Dr. ", "I", "٣", "“", "- a\n"),
]


@pytest.mark.parametrize("unit", HOSTILE, ids=lambda unit: unit[:6])
def test_the_work_grows_as_the_text(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are counted, not seconds: four times the text may take about four times the calls."""
    longest = []
    segment = pysbd.Segmenter.segment
    monkeypatch.setattr(pysbd.Segmenter, "segment", lambda self, text: longest.append(len(text)) or segment(self, text))

    def calls(text: str, language: str) -> int:
        count = 0

        def note(frame, event, argument):
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(note)
        try:
            read(text, language)
            clauses.split(text, language)
        finally:
            sys.setprofile(None)
        return count

    for language in ("en", "zh"):
        read("图", "zh")  # jieba reads its dictionary first
        short, long = (calls((unit * 4_000)[:size], language) for size in (1_000, 4_000))
        assert long < 6 * short + 20_000
    assert max(longest) <= clauses.STRETCH


def test_digits_of_all_scripts_have_their_values() -> None:
    assert ascii_digits("٣४５ ½ 五。") == "345 ½ 五。"


def test_long_numbers_are_read_digit_by_digit() -> None:
    for text in ("9" * 400 + "th", "9" * 400 + " km", "$" + "9" * 5_000, "No. " + "9" * 400, "1/" + "9" * 400):
        assert read(text, "en")[0].spoken.count("nine") >= 400
        assert read(text, "zh")[-1].spoken.count("九") + read(text, "zh")[0].spoken.count("九") >= 400

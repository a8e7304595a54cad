"""Numbers, dates, units, money and abbreviations are read as people say them, and the text can be found again."""

import pytest

from tritone.speech.reading.normalization import read


def spoken(text: str, language: str) -> str:
    return ("" if language == "zh" else " ").join(word.spoken for word in read(text, language))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("It costs $5.20.", "It costs five dollars and twenty cents."),
        ("$1 and €3.5 million", "one dollar and three point five million euro"),
        ("1,000 people", "one thousand people"),
        ("3.14", "three point one four"),
        ("007", "zero zero seven"),
        ("May 3, 2024 at 3:05 pm", "May third, twenty twenty four at three oh five P M"),
        ("on 2024-12-31", "on December thirty first, twenty twenty four"),
        ("at 15:00 or 9:00", "at fifteen hundred or nine o'clock"),
        ("5 km and 1 kg", "five kilometers and one kilogram"),
        ("-5 °C", "minus five degrees Celsius"),
        ("100 km/h", "one hundred kilometers per hour"),
        ("30% of 1/2", "thirty percent of one half"),
        ("the 1st and 22nd", "the first and twenty second"),
        ("3-5 days", "three to five days"),
        ("in 1999, the 1990s", "in nineteen ninety nine, the nineteen nineties"),
        ("Dr. Smith vs. Mr. Lee", "Doctor Smith versus Mister Lee"),
        ("R & D, e.g. this", "R and D, for example this"),
        ("call 4915112345", "call four nine one five one one two three four five"),
        ("see https://example.com/a", "see example dot com"),
        ("No. 7", "number seven"),
        ("plain words stay", "plain words stay"),
    ],
)
def test_english_is_read_aloud(written: str, said: str) -> None:
    assert spoken(written, "en") == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("有2个圆形", "有两个圆形"),
        ("第12名", "第十二名"),
        ("占30%", "占百分之三十"),
        ("2024年5月3日", "二零二四年五月三日"),
        ("2024-05-03", "二零二四年五月三日"),
        ("15:05", "十五点零五分"),
        ("¥3.5", "三点五元"),
        ("$20", "二十美元"),
        ("跑了5km", "跑了五公里"),
        ("-5℃", "负五摄氏度"),
        ("1/2", "二分之一"),
        ("3-5天", "三到五天"),
        ("电话13812345678", "电话一三八一二三四五六七八"),
        ("没有数字。", "没有数字。"),
    ],
)
def test_chinese_is_read_aloud(written: str, said: str) -> None:
    assert spoken(written, "zh") == said


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("It costs $5.20, or €3.5 million — on May 3, 2024!", "en"),
        ("图里有2个红色的圆形，还有 two circles。", "zh"),
        ("5 km in 10 min (No. 7)", "en"),
    ],
)
def test_words_join_to_the_text_that_was_written(text: str, language: str) -> None:
    words = read(text, language)
    assert "".join(word.text + word.space for word in words) == text
    assert all(word.text.strip() for word in words)


def test_what_belongs_together_is_one_word() -> None:
    assert [word.text for word in read("On May 3, 2024 we ran 5 km.", "en")] == [
        "On",
        "May 3, 2024",
        "we",
        "ran",
        "5 km.",
    ]


def test_other_languages_stay_as_they_are() -> None:
    assert [word.spoken for word in read("il a 5 ans", "fr")] == ["il", "a", "5", "ans"]

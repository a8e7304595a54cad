"""Clauses are short enough to be heard soon, whole enough to be spoken well, and stay the same when split again."""

import pytest

from tritone.speech.reading import clauses as reading
from tritone.speech.reading.clauses import pause_after, pieces, speakable, split

LONG = (
    "There are two stars on the left, and a very large blue square is in the middle of the picture; "
    "Dr. Smith paid 1,000 dollars at 3:30, I think."
)
CHINESE = (
    "图里有一个红色的圆形。旁边还有两颗很大很大的黄色星星，它们都在左边，看起来非常漂亮，真的非常漂亮！“是的。”他说。"
)


@pytest.mark.parametrize(
    ("text", "language", "clauses"),
    [
        ("The circle is red. It is big!", "en", ["The circle is red.", "It is big!"]),
        ("Dr. Smith is here.", "en", ["Dr. Smith is here."]),
        ("Yes, it is.", "en", ["Yes, it is."]),
        ("你好。再见！", "zh", ["你好。", "再见！"]),
        ("  \n ", "en", []),
        ("One line\nanother", "en", ["One line", "another"]),
    ],
)
def test_sentences_are_split(text: str, language: str, clauses: list[str]) -> None:
    assert split(text, language) == clauses


def test_long_sentences_are_split_at_pauses_only() -> None:
    clauses = split(LONG, "en")
    assert " ".join(clauses) == LONG
    assert len(clauses) == 3
    assert clauses[0] == "There are two stars on the left,"
    assert "1,000 dollars at 3:30, I think." in clauses[-1]  # "I think." is too short to stand alone


def test_chinese_is_split_at_its_own_marks() -> None:
    clauses = split(CHINESE, "zh")
    assert "".join(clauses) == CHINESE
    assert clauses[0] == "图里有一个红色的圆形。"
    assert clauses[1] == "旁边还有两颗很大很大的黄色星星，"
    assert clauses[-2:] == ["“是的。”", "他说。"]


@pytest.mark.parametrize(("text", "language"), [(LONG, "en"), (CHINESE, "zh")])
def test_a_clause_is_not_split_again(text: str, language: str) -> None:
    for clause in split(text, language):
        assert split(clause, language) == [clause]


def test_sentences_are_followed_by_longer_pauses() -> None:
    assert pause_after("Yes.") == pause_after('He said "yes."') == pause_after("好。") > pause_after("Yes,")


def test_only_what_can_be_said_is_spoken() -> None:
    assert speakable("Yes.\n—\nNo.") == ["Yes.", "No."]
    assert speakable("?!") == ["?!"]  # whoever speaks it says why he cannot


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It is red, and big. ", ["It is red, ", "and big. "]),
        ("3.5 is ", ["3.5 is "]),
        ("红色的，圆形。", ["红色的，", "圆形。"]),
        ("", [""]),
    ],
)
def test_pieces_of_an_answer_are_cut_at_pauses_and_join_to_it(text: str, parts: list[str]) -> None:
    assert pieces(text) == parts


@pytest.mark.parametrize(
    ("text", "language"),
    [("9" * 500, "en"), ("a red circle " * 60, "en"), ("图片里有一个圆" * 40, "zh"), ("1" * 300, "zh")],
)
def test_no_clause_says_more_than_a_breath_holds_however_little_is_written(text, language):
    """A voice that says five hundred digits in one piece took a gigabyte, and kept it."""
    parts = split(text, language)
    said = [
        sum(reading.DIGIT if c.isdigit() else reading.HAN if "一" <= c <= "龥" else 1 for c in part) for part in parts
    ]
    assert max(said) <= reading.BREATH
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")
    assert [again for part in parts for again in split(part, language)] == parts

import pytest

from tritone.language.detokenizer import Detokenizer

TEXT = "红色, I see 3.5 circles. 好的。Bye"


def pieces(text, unit):
    """Byte by byte, as a byte-level tokenizer may cut it: one token a byte."""
    detokenizer = Detokenizer(lambda tokens: bytes(tokens).decode("utf-8", errors="replace"), unit)
    given = [detokenizer.add(byte) for byte in f" {text}".encode()]
    return [piece for piece in (*given, detokenizer.finish()) if piece]


def test_tokens_give_whole_characters_as_soon_as_they_are_whole():
    assert pieces("你好a", "token") == ["你", "好", "a"]


def test_clauses_end_at_pauses_and_a_decimal_point_is_none():
    assert pieces(TEXT, "clause") == ["红色, ", "I see 3.5 circles. ", "好的。", "Bye"]


def test_none_gives_everything_at_the_end():
    assert pieces(TEXT, "none") == [TEXT]


@pytest.mark.parametrize("unit", ["token", "clause", "none"])
@pytest.mark.parametrize("text", [TEXT, "", ".", "。。", "a, ", "😀 hi"])
def test_pieces_join_to_the_text_and_none_holds_half_a_character(unit, text):
    assert "".join(pieces(text, unit)) == text
    assert all("\ufffd" not in piece for piece in pieces(text, unit))


def test_bytes_that_never_become_a_character_are_given_at_the_end():
    detokenizer = Detokenizer(lambda tokens: bytes(tokens).decode("utf-8", errors="replace"), "token")
    assert detokenizer.add("你".encode()[0]) == ""
    assert detokenizer.finish() == "\ufffd"

"""Answers in Markdown are read without their marks; code and tables are left out, and that is said."""

import pytest

from tritone.speech.reading.markdown import Stream, note, plain


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("No marks at all, 5 people - yes.", "No marks at all, 5 people - yes."),
        ("# Title\n\nText", "Title\nText"),
        ("## 标题\n正文", "标题\n正文"),
        ("This is **bold**, *slanted*, ***both*** and ~~gone~~.", "This is bold, slanted, both and gone."),
        ("这是**重点**内容。", "这是重点内容。"),
        ("__init__ and snake_case_name", "init and snake_case_name"),
        ("im**port**ant", "important"),
        ("- one\n- two\n  - three", "one\ntwo\nthree"),
        ("* one\n* two", "one\ntwo"),
        ("1. first\n2. second", "1. first\n2. second"),
        ("> quoted\n> text", "quoted\ntext"),
        ("above\n\n---\n\nbelow", "above\nbelow"),
        ("see [the docs](https://example.com/a_b?c=d) now", "see the docs now"),
        ("see <https://example.com>", "see https://example.com"),
        ("![A red circle](x.png) is here", "A red circle is here"),
        ("call `print(x)` now", "call print(x) now"),
        ("a &amp; b &lt; c", "a & b < c"),
        ("<b>bold</b> and <br>next", "bold and \nnext"),
        ("<script>alert(1)</script>text", "text"),
        ("5 * 3 = 15 and a * b", "5 * 3 = 15 and a * b"),
        ("5*3*2", "5*3*2"),
        ("a*b*c", "a*b*c"),
        ("2**10 and 3**4", "2**10 and 3**4"),
        ("$5 and $6", "$5 and $6"),
        ("a $10^6$ b", "a 10^6 b"),
        ("$x^2 + y^2$", "x^2 + y^2"),
        (r"\(\frac{1}{2} \times 3 \leq 5\)", "1/2 × 3 ≤ 5"),
        (r"$$E = mc^{2}$$", "E = mc^2"),
        (r"\[ \sqrt{x} \]", "√ x"),
        ("C# and #1", "C# and #1"),
        ("if a < b then c > d", "if a < b then c > d"),
        ("-5 degrees", "-5 degrees"),
        ("    indented text", "indented text"),
        ("Hello *smiles* there (laughs) [music]", "Hello there "),
        ("half **open", "half open"),
        ("closed** half", "closed half"),
        ("open `code, and", "open code, and"),
        ("the end](https://example.com/x).", "the end."),
    ],
)
def test_marks_are_taken_away(written: str, read: str) -> None:
    assert plain(written).text.split() == read.split()


def test_code_and_tables_are_left_out_and_named() -> None:
    text = "Look:\n\n```python\nprint(1)\n```\n\nand\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nx\n```\nDone."
    assert plain(text).text.split("\n") == ["Look:", "and", "Done."]
    assert plain(text).note == "not read aloud: 2 code blocks, a table"
    assert plain("Nothing is missing.").note == ""
    assert plain("![](x.png) *laughs* Yes.").note == (
        "not read aloud: a picture without a description, a stage direction"
    )
    assert note(["picture without a description"] * 2) == "not read aloud: 2 pictures without a description"


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_code_and_tables_go_on_from_piece_to_piece(size: int) -> None:
    text = "Look, here:\n```python\nx = 1, y\n# no title\n```\nThen | so.\n\n"
    text += "| a, b | c |\n|---|---|\n| 1, 2 | 3 |\n\nDone."
    stream, lines = Stream(), text.splitlines(keepends=True)
    pieces = [line[a : a + size] for line in lines for a in range(0, len(line), size)]
    if size < 5:  # a line's first mark is not cut: pieces end at pauses
        pieces = lines
    fed = [stream.feed(piece) for piece in pieces]
    assert "".join("".join(part.text for part in fed).split()) == "Look,here:Then|so.Done."
    assert [kind for part in fed for kind in part.left_out] == ["code block", "table"]


def test_a_fence_that_nobody_closes_hides_the_rest() -> None:
    stream = Stream()
    assert stream.feed("Yes:\n").text.strip() == "Yes:"
    assert stream.feed("```\n").left_out == ("code block",)
    assert [stream.feed(piece).text for piece in ("a, ", "b\n", "c")] == ["", "", ""]


def test_emphasis_over_several_pieces_loses_its_marks() -> None:
    stream = Stream()
    assert [
        stream.feed(piece).text.strip() for piece in ("**bold, ", "still bold** ", "and [a, ", "link](https://e.com) ")
    ] == ["bold,", "still bold", "and [a,", "link"]

"""`tritone ask`: what is sent, and what comes to standard output, to standard error and as JSON."""

import json
import sys

import pytest

from tritone_client import Overloaded

COUNTS = {"prompt_tokens": 9, "completion_tokens": 4}


def pieces(*texts, reason="stop"):
    last = len(texts) - 1
    return [
        {"text_output": text, "finish_reason": reason if number == last else "", **COUNTS}
        for number, text in enumerate(texts)
    ]


def red(request):
    return pieces("它是", "红色的。")


def test_an_answer_to_a_question_about_pictures(tritone, tmp_path):
    cat = tmp_path / "猫.png"
    cat.write_bytes(b"a cat")
    run = tritone(red, "ask", "它是什么颜色？", cat, "-", stdin=b"a dog\xff")
    assert (run.code, run.said, run.about) == (0, "它是红色的。\n", "")
    assert run.requests[0].model == "llava"
    assert run.sent() == {
        "text_input": ["它是什么颜色？".encode()],
        "image_bytes": [b"a cat", b"a dog\xff"],
        "messages": [b"[]"],
    }
    assert run.transport.closed


def test_pieces_are_written_as_they_come(tritone):
    seen = []

    def slow(request):
        for piece in pieces("It ", "is ", "red."):
            seen.append(sys.stdout.buffer.getvalue().decode())
            yield piece

    assert tritone(slow, "ask", "?").said == "It is red.\n"
    assert seen == ["", "It ", "It is "]


def test_options_are_sent_under_the_servers_names(tritone):
    run = tritone(
        red, "ask", "Colour?", "--max-tokens", 7, "--temperature", 0.5, "--top-p", 0.25, "--top-k", 3, "--seed", 11,
        "--repetition-penalty", 1.5,
        "--stop", "。", "--stop", "\n", "--adapter", "pirate", "--system", "简短。",
    )  # fmt: skip
    sent = run.sent()
    assert json.loads(sent.pop("messages")[0]) == [{"role": "system", "content": "简短。"}]
    assert sent == {
        "text_input": [b"Colour?"], "max_tokens": [7], "temperature": [0.5], "top_p": [0.25], "top_k": [3],
        "seed": [11], "repetition_penalty": [1.5], "stop": ["。".encode(), b"\n"], "adapter": [b"pirate"],
    }  # fmt: skip


def test_as_json_it_is_one_object_in_readable_chinese(tritone):
    run = tritone(red, "ask", "?", "--json")
    assert json.loads(run.said) == {
        "text": "它是红色的。",
        "finish_reason": "stop",
        **COUNTS,
        "image_tokens": 0,
        "logprobs": [],
    }
    assert "它是红色的。" in run.said
    assert run.said.count("\n") == 1


def test_an_answer_that_was_cut_off_says_so_beside_it(tritone):
    run = tritone(lambda request: pieces("It is", reason="length"), "ask", "?", "--max-tokens", 2)
    assert run.said == "It is\n"
    assert run.about == "(cut off after 4 tokens: --max-tokens allows more)\n"


def test_a_question_from_standard_input(tritone):
    run = tritone(red, "ask", "-", stdin="它是什么颜色？\n".encode())
    assert run.sent()["text_input"] == ["它是什么颜色？".encode()]


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (["-", "-"], b"?", "standard input (-) is named twice, but can be read once: name a file"),
        (["-"], b"caf\xe9", "standard input is no UTF-8: byte 0xe9 at offset 3"),
        ([], b"", 'there is no question: tritone ask "What is this?" cat.png, or --chat'),
        (["?", "nowhere/猫.png"], b"", "image file 'nowhere/猫.png' cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_asked_is_said_without_a_request(tritone, arguments, stdin, sentence):
    run = tritone(red, "ask", *arguments, stdin=stdin)
    assert (run.code, run.about, run.said, run.requests) == (2, f"tritone: {sentence}\n", "", [])


def test_a_chat_remembers_what_was_said_and_shown(tritone, tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"a picture")
    run = tritone(red, "ask", "What is it?", picture, "--chat", stdin="\n什么颜色？\nAnd now?".encode())
    assert run.said == "它是红色的。\n" * 3
    messages = json.loads(run.sent(2)["messages"][0])
    question = [{"type": "image"}, {"type": "text", "text": "What is it?"}]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert [messages[0]["content"], messages[1]["content"]] == [question, "它是红色的。"]
    assert messages[2]["content"] == [{"type": "text", "text": "什么颜色？"}]
    assert [run.sent(turn)["image_bytes"] for turn in range(3)] == [[b"a picture"]] * 3


def test_a_chat_goes_on_after_an_error_and_ends_with_its_code(tritone):
    def full_at_first(request):
        if request.text("text_input") == "first":
            raise Overloaded("all 4 slots are taken; try again in 3 s")
        return pieces("Red.")

    run = tritone(full_at_first, "ask", "--chat", stdin=b"first\nsecond\n")
    assert (run.code, run.said) == (4, "Red.\n")
    assert run.about == "tritone: all 4 slots are taken; try again in 3 s\n"
    assert json.loads(run.sent(1)["messages"][0]) == []

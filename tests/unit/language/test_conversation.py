"""Conversations in OpenAI's shape: what their parts may be, what counts of them, and who the question is."""

import base64
import json

import pytest

from tritone.errors import InvalidInput
from tritone.language import conversation
from tritone.language.conversation import File, Message, TextPart

PNG = b"\x89PNG\r\n\x1a\n and the rest of a picture"
URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
PICTURE = {"type": "image_url", "image_url": {"url": URL, "detail": "low"}}
SOUND = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF\0").decode(), "format": "wav"}}
PLACE = {"type": "image"}


def say(text: str) -> dict:
    return {"type": "text", "text": text}


def user(*parts: dict) -> dict:
    return {"role": "user", "content": list(parts)}


def read(*turns: dict, most: int = 1_000) -> list[Message]:
    return conversation.read(json.dumps(turns), most)


def test_openais_chat_is_read_with_its_newer_name_for_the_system() -> None:
    turns = read(
        {"role": "developer", "content": "Be short."},
        {**user(say("图里有什么？"), PICTURE), "name": "小王"},
        {"role": "assistant", "content": [say("A circle.")]},
        {"role": "system", "content": [say("Be kind.")]},
    )
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "system"]
    assert [turn.texts for turn in turns] == [["Be short."], ["图里有什么？"], ["A circle."], ["Be kind."]]


@pytest.mark.parametrize(
    ("turn", "sentence"),
    [
        ({"role": "tool", "content": "x"}, "messages at 0.role: Input should be 'user', 'system' or 'assistant'"),
        ({"role": "user"}, "messages at 0.content: Field required"),
        ({"role": "user", "content": None}, "messages at 0.content: Input should be a valid string"),
        (user({"type": "video"}), "messages at 0.content.0: Input tag 'video' found using 'type' does not match"),
        (user(say("x"), {"type": "text"}), "messages at 0.content.1.text.text: Field required"),
        (user({"type": "image_url", "image_url": URL}), "messages at 0.content.0.image_url.image_url: Input should be"),
        (user({"type": "input_audio"}), "messages at 0.content.0.input_audio.input_audio: Field required"),
    ],
)
def test_what_is_no_such_conversation_is_refused_with_its_place(turn: dict, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(turn)
    assert str(caught.value).startswith(sentence)


def test_pictures_come_in_the_order_of_the_turns_wherever_they_were_sent() -> None:
    history = read(user(PLACE, say("One."), PICTURE), {"role": "assistant", "content": "Yes."}, user(PICTURE, PLACE))
    turns = conversation.with_question(history, " And this? ", 3)
    plain, pictures = conversation.shown(turns, [b"a file", b"second", b"third"])
    assert pictures == [
        File("image_bytes", b"a file"),
        File("messages at 0.content.2.image_url", URL.encode()),
        File("messages at 2.content.0.image_url", URL.encode()),
        File("image_bytes", b"second"),
        File("image_bytes", b"third"),
    ]
    assert [[part.type for part in turn.parts] for turn in plain] == [
        ["image", "text", "image"],
        ["text"],
        ["image", "image"],
        ["image", "text"],
    ]
    assert plain[-1].texts == ["And this?"]
    assert conversation.decoded(pictures[:2], 100) == [
        File("image_bytes", b"a file"),
        File("messages at 0.content.2.image_url", PNG),
    ]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://example.com/a.png", "is a URL, and this server fetches none"),
        ("data:image/png,abc", "is a data URL without ';base64'"),
        (URL[:-1], "is broken base64"),
        ("data:;base64," + "A" * 400, "has 300 bytes, the limit is 100 bytes"),
    ],
)
def test_a_picture_that_cannot_be_had_is_named_by_its_place(url: str, sentence: str) -> None:
    turns = read(user(say("What is it?"), {"type": "image_url", "image_url": {"url": url}}))
    with pytest.raises(InvalidInput) as caught:
        conversation.decoded(conversation.shown(turns, [])[1], 100)
    assert str(caught.value).startswith(f"messages at 0.content.1.image_url {sentence}")


def test_without_a_question_the_last_turn_is_it_and_shows_the_pictures_that_are_left() -> None:
    history = read({"role": "system", "content": "Be short."}, user(say("这是"), say("什么？"), PICTURE))
    turns = conversation.with_question(history, None, 1)
    assert [part.type for part in turns[-1].parts] == ["image", "text", "text", "image_url"]
    assert turns[0].texts == ["Be short."]


@pytest.mark.parametrize(
    ("turns", "sentence"),
    [
        ([], "text_input is missing, and messages do not end with a user's turn"),
        ([user(say("Hello")), {"role": "assistant", "content": "Hi."}], "messages do not end with a user's turn"),
        ([user(PICTURE)], "the last turn of messages has no words"),
        ([user(PICTURE, say(" \n"))], "the last turn of messages has no words"),
    ],
)
def test_a_conversation_without_a_question_is_refused(turns: list, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        conversation.with_question(read(*turns), None, 0)


def test_media_do_not_count_as_characters_and_words_do() -> None:
    large = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    spoken = {"type": "input_audio", "input_audio": {"data": "UklG" * 250_000, "format": "wav"}}
    turns = read(user(say("字" * 60), large, spoken), {"role": "assistant", "content": "x" * 40}, most=100)
    conversation.check_characters(turns, 100)
    with pytest.raises(InvalidInput, match="text_input and messages have 101 characters, the limit is 100"):
        conversation.check_characters([*turns, Message(role="user", content="!")], 100)


def test_media_whose_slashes_are_escaped_do_not_count_either() -> None:
    """As PHP writes JSON."""
    turn = user({"type": "input_audio", "input_audio": {"data": "a/bc" * 2_000}}, say("Well?"))
    [read_turn] = conversation.read(json.dumps([turn]).replace("/", r"\/"), 100)
    assert conversation.sounds([read_turn])[0].data == b"a/bc" * 2_000


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([{"role": "user", "content": ""}] * 1_000),
        json.dumps([{"role": "user", "content": "x", "y": [0] * 10_000}]),
        '["' + r"\"" * 5_000 + '"]',
        json.dumps(["data:"] * 1_000),
    ],
)
def test_json_that_is_long_beside_its_media_is_not_even_read(text: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"have \d+ or more characters of JSON beside their media, the limit is 1600"
    ):
        conversation.read(text, 100)


def test_a_word_that_looks_like_a_file_counts_as_a_word() -> None:
    turns = read(user(say("data:" + "A" * 100_000)), most=100)
    with pytest.raises(InvalidInput, match="have 100005 characters, the limit is 100"):
        conversation.check_characters(turns, 100)


def test_who_cannot_hear_names_the_model_that_can() -> None:
    with pytest.raises(InvalidInput) as caught:
        conversation.shown(read(user(say("Listen:"), SOUND)), [])
    assert str(caught.value) == ("messages at 0.content.1.input_audio: llava cannot hear; ask voice_assistant_stream")


def test_what_was_said_is_replaced_by_its_words_in_the_order_of_the_turns() -> None:
    turns = read(user(SOUND, PICTURE), {"role": "assistant", "content": "A star."}, user(say("And:"), SOUND))
    assert [sound.name for sound in conversation.sounds(turns)] == [
        "messages at 0.content.0.input_audio",
        "messages at 2.content.1.input_audio",
    ]
    heard = conversation.heard(turns, iter(["What is it?", "什么颜色？"]))
    assert heard[0].texts == ["What is it?"]
    assert heard[2].parts == [TextPart(type="text", text="And:"), TextPart(type="text", text="什么颜色？")]
    assert conversation.sounds(heard) == []
    assert conversation.read(conversation.written(heard), 1_000) == heard

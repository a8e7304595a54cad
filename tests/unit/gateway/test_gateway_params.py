"""Errors of the server name the field that the caller himself wrote."""

import base64

import openai
import pytest
from mock_tritone import answers, png

from tritone_client import InvalidInput

ASKED = [{"role": "user", "content": "它是什么颜色？"}]
RED = "data:image/png;base64," + base64.b64encode(png()).decode()
ALOUD = {"modalities": ["text", "audio"], "audio": {"voice": "joe", "format": "wav"}}
SOUND = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF....").decode(), "format": "wav"}}


def refusing(sentence):
    def handler(request):
        raise InvalidInput(sentence)

    return handler


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("wish", "sentence", "param"),
    [
        ({"max_tokens": 4096}, "max_tokens is 4096, must be 1 to 512", "max_tokens"),
        ({"max_completion_tokens": 4096}, "max_tokens is 4096, must be 1 to 512", "max_completion_tokens"),
        ({"max_completion_tokens": 4096, **ALOUD}, "max_tokens is 4096, must be 1 to 512", "max_completion_tokens"),
        ({}, "image_bytes[1] is no picture", "messages"),
        ({}, "the prompt's 5000 tokens and max_tokens 256 exceed the 4096 of the model", "messages"),
        ({"messages": [{"role": "user", "content": [SOUND]}]}, "audio_bytes is no sound", "messages"),
        (ALOUD, "speed is 9.0, must be 0.25 to 4", "audio"),
    ],
)
def test_a_chat_hears_of_its_own_fields(serve, wish, sentence, param, stream):
    sdk = serve(refusing(sentence)).sdk
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(**{"model": "llava", "messages": ASKED, "stream": stream, **wish})
    assert (caught.value.param, caught.value.body["message"]) == (param, sentence)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("wish", "sentence", "param"),
    [
        ({"max_output_tokens": 4096}, "max_tokens is 4096, must be 1 to 512", "max_output_tokens"),
        ({}, "the 9 pictures have 900 pixels or more together, the limit is 800 pixels", "input"),
        ({}, "text_input has 20000 characters, the limit is 16000", "input"),
        ({}, "messages have 20000 characters, the limit is 16000", "input"),
        ({}, "image_bytes[1] is no picture", "input"),  # the second picture need not be the second item
        ({"input": [{"role": "user", "content": [SOUND]}]}, "audio_bytes is no sound", "input"),
        ({"text": {"format": {"type": "json_object"}}}, "response_format is '{}', must be …", "text.format"),
    ],
)
def test_a_response_hears_of_its_own_fields(serve, wish, sentence, param, stream):
    sdk = serve(refusing(sentence)).sdk
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(**{"model": "llava", "input": "它是什么颜色？", "stream": stream, **wish})
    assert (caught.value.param, caught.value.body["message"]) == (param, sentence)


def test_items_are_numbered_as_the_caller_has_them(serve):
    def blind(request):
        if request.model == "clip_image":
            raise InvalidInput("the picture is broken")
        return answers(request)

    gateway = serve(blind)
    answer = gateway.http.post("/v1/embeddings", json={"model": "clip", "input": ["红", RED]})
    assert answer.json()["error"]["param"] == "input[1]"
    answer = gateway.http.post("/v1/rank", json={"query": "红", "documents": ["绿", RED]})
    assert answer.json()["error"]["param"] == "documents[1]"

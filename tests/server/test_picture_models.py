"""Each real model.py that looks at pictures, with the tiny checkpoints, under a fake `pb_utils`."""

import base64
import io
import json
import time

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils
from PIL import Image
from server.asking import INVALID, UNAVAILABLE, message, plug, png


def test_pictures_keep_their_pixels_and_a_bad_one_fails_alone(serve):
    decoder = serve("image_decoder")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    good, bad = decoder.execute(
        decoder.request(image_bytes=[file.getvalue()]), decoder.request(image_bytes=[b"\x89PNG"])
    )
    assert np.array_equal(good["image"], pixels)
    assert bad.error().code() == INVALID


@pytest.mark.parametrize("name", ["image_decoder", "clip_image_processor"])
def test_pictures_may_come_as_text_and_a_broken_one_fails_alone(serve, name):
    model, file = serve(name), png(("red", "circle"))
    [output] = model.outputs[:1]
    texts = [file, base64.b64encode(file), b"data:;base64," + base64.encodebytes(file)]
    broken = [base64.b64encode(file)[:-1], b"https://example.com/cat.png", b"data:image/png,x"]
    [right, *same], errors = (
        model.execute(*(model.request(image_bytes=[each]) for each in each_kind)) for each_kind in (texts, broken)
    )
    assert all(np.array_equal(right[output], other[output]) for other in same)
    sentences = ["broken base64 of", "a URL, and this server fetches none", "a data URL without ';base64'"]
    for error, sentence in zip(errors, sentences, strict=True):
        assert error.error().code() == INVALID
        assert message(error).startswith(f"image_bytes is {sentence}")


def test_the_size_of_text_is_held_against_the_models_own_limit(serve):
    decoder = serve("image_decoder", max_bytes="1000")
    text = base64.b64encode(bytes(1_001))
    [response] = decoder.execute(decoder.request(image_bytes=[text]))
    assert message(response) == "image_bytes has 1,001 bytes, the limit is 1,000 bytes"


def chat(*parts):
    return json.dumps([{"role": "developer", "content": "Be short."}, {"role": "user", "content": list(parts)}])


def test_openais_messages_alone_are_a_question_to_the_unary_face(serve):
    plug(llava=serve("llava"))
    face = serve("llava_answer")
    url = "data:image/jpeg;base64," + base64.b64encode(png(("yellow", "star"))).decode()
    picture = {"type": "image_url", "image_url": {"url": url, "detail": "high"}}
    sound = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}
    ask = {"type": "text", "text": "What color is it?"}
    answers = face.execute(
        face.request(messages=[chat(picture, ask)]),
        face.request(messages=[chat(picture, sound)]),
        face.request(messages=[chat(picture, ask)], text_input=["图里的星形是什么颜色？"]),
        face.request(),
    )
    [seen], [unheard], [chinese], [unasked] = answers
    assert "yellow" in seen["text_output"][0].decode()
    assert "黄" in chinese["text_output"][0].decode()
    assert message(unheard).startswith("the last turn of messages has no words")
    assert message(unasked).startswith("text_input is missing, and messages do not end with a user's turn")
    [[deaf]] = face.execute(face.request(messages=[chat(sound, ask)]))
    assert message(deaf) == "messages at 1.content.0.input_audio: llava cannot hear; ask voice_assistant_stream"
    assert {response.error().code() for response in (unheard, unasked, deaf)} == {INVALID}


def test_llava_streams_pieces_that_join_to_the_whole_answer(serve):
    llava = serve("llava")
    picture = png(("red", "circle"))
    inputs = {"text_input": ["What color is the circle?"], "image_bytes": [[picture]]}
    pieces, clauses, whole = llava.execute(
        llava.request(**inputs),
        llava.request(**inputs, stream_unit=["clause"]),
        llava.request(**inputs, stream_unit=["none"]),
    )
    answer = whole[0]["text_output"][0].decode()
    assert answer == "The circle is red."
    for responses in (pieces, clauses):
        assert "".join(piece["text_output"][0].decode() for piece in responses) == answer
        assert [piece["finish_reason"][0] for piece in responses[-1:]] == [b"stop"]
        assert all(piece["finish_reason"][0] == b"" for piece in responses[:-1])
    assert len(pieces) > len(whole) == 1


def test_llava_answers_in_json_and_tells_how_likely_its_words_were(serve):
    llava, answer = serve("llava"), serve("llava_answer")
    plug(llava=llava)
    schema = {"enum": ["The circle is blue.", "The circle is red.", "圆形是绿色的。"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    inputs = {
        "text_input": ["What color is the circle?"],
        "image_bytes": [[png(("red", "circle"))]],
        "response_format": [json.dumps(wanted)],
        "logprobs": [True],
        "top_logprobs": [2],
    }
    [pieces] = llava.execute(llava.request(**inputs))
    [whole] = answer.execute(answer.request(**inputs))
    for responses in (pieces, whole):
        text = "".join(piece["text_output"][0].decode() for piece in responses)
        assert json.loads(text) == "The circle is red."
        told = [token for piece in responses for token in json.loads(piece["logprobs_content"][0])]
        assert b"".join(bytes(token["bytes"]) for token in told).decode() == text
        assert {len(token["top_logprobs"]) for token in told} == {2}
        assert {int(piece["image_tokens"][0]) for piece in responses} == {64}
    [refused], [silent] = llava.execute(
        llava.request(text_input=["Hello."], response_format=['{"type": "xml"}']),
        llava.request(text_input=["Hello."], stream_unit=["none"]),
    )
    assert refused.error().code() == INVALID
    assert "response_format at the start: Input tag 'xml'" in message(refused)
    assert (silent["logprobs_content"][0], silent["image_tokens"][0]) == (b"", 0)


def test_llava_shows_its_engine_on_the_metrics_page(serve):
    llava = serve("llava")
    shown = pb_utils.MetricFamily.shown
    llava.execute(llava.request(text_input=["Hello."], max_tokens=[2]))
    deadline = time.monotonic() + 5
    while (
        shown["tritone_llava_tokens_total", "llava_0"].value() < 2
        or shown["tritone_llava_slots_active", "llava_0"].value()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert shown["tritone_llava_slots", "llava_0"].value() == 16


def test_llavas_door_follows_its_slots_where_these_follow_from_memory(serve):
    assert serve("llava", slots="3", at_once="0").model.triton._entrance.door.at_once == 3


def test_llava_remembers_the_picture_of_an_earlier_turn(serve):
    llava = serve("llava")
    history = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What shape is this?"}]},
        {"role": "assistant", "content": "The shape is a square."},
    ]
    request = llava.request(
        text_input=["What color is it?"],
        messages=[json.dumps(history)],
        image_bytes=[[png(("blue", "square"))]],
        stream_unit=["none"],
    )
    [[response]] = llava.execute(request)
    assert "blue" in response["text_output"][0].decode()


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"text_input": ["  "]}, "empty"),
        ({"text_input": ["x" * 16001]}, "16001"),
        ({"max_tokens": [0]}, "max_tokens is 0"),
        ({"max_tokens": [513]}, "512"),
        ({"temperature": [-1.0]}, "temperature is -1"),
        ({"temperature": [float("nan")]}, "temperature is nan"),
        ({"top_p": [0.0]}, "top_p is 0"),
        ({"seed": [-5]}, "seed is -5"),
        ({"messages": ["{"]}, "messages"),
        ({"messages": ['[{"role": "boss", "content": "x"}]']}, "messages at 0.role"),
        ({"messages": ['[{"role": "user", "content": [{"type": "image"}]}]']}, "1 pictures"),
        ({"image_bytes": [[b"junk"]]}, "picture"),
        ({"stream_unit": ["word"]}, "word"),
        ({"text_input": ["look at <image>"]}, "<image>"),
    ],
)
def test_a_bad_question_fails_alone_with_its_value_and_final(serve, inputs, named):
    llava = serve("llava")
    good = llava.request(text_input=["Hello."], max_tokens=[2])
    bad = llava.request(**{"text_input": ["Hello."], **inputs})
    [[*_, last], [refused]] = llava.execute(good, bad)
    assert not last.has_error()
    assert refused.error().code() == INVALID
    assert named in message(refused)


def test_the_unary_face_gives_the_whole_answer_and_its_models_own_errors(serve):
    plug(llava=serve("llava"))
    face = serve("llava_answer")
    good, bad = face.execute(
        face.request(text_input=["What shape is this?"], image_bytes=[[png(("green", "star"))]], seed=[2**40]),
        face.request(text_input=[""]),
    )
    assert "star" in good[0]["text_output"][0].decode()
    assert good[0]["finish_reason"][0] == b"stop"
    assert bad[0].error().code() == INVALID
    assert message(bad[0]).startswith("text_input is empty")


def test_a_full_face_refuses_at_once(serve):
    plug(llava=serve("llava"))
    face = serve("llava_answer", max_in_flight="1")
    answers = face.execute(*(face.request(text_input=["Hello."]) for _ in range(3)))
    codes = [response.error().code() if response.has_error() else None for [response] in answers]
    assert codes == [None, UNAVAILABLE, UNAVAILABLE]


def test_captions_of_many_users_meet_in_one_batch_and_a_bad_one_fails_alone(serve):
    tokenizer, encoder = serve("clip_tokenizer"), serve("clip_text_encoder")
    texts = ["a red circle", "一个红色的圆形", "a yellow star", " "]
    *tokens, blank = tokenizer.execute(*(tokenizer.request(text=[text]) for text in texts))
    assert "empty" in message(blank)
    assert [int(row["token_count"][0]) for row in tokens] == [5, 9, 5]
    assert not any(row["truncated"][0] for row in tokens)
    broken = encoder.request(input_ids=[np.full(77, -1, np.int32)])
    english, bad, chinese, star = encoder.execute(
        encoder.request(input_ids=[tokens[0]["input_ids"]]),
        broken,
        *(encoder.request(input_ids=[row["input_ids"]]) for row in tokens[1:]),
    )
    assert "-1" in message(bad)
    assert english["text_embeds"] @ chinese["text_embeds"] > english["text_embeds"] @ star["text_embeds"] + 0.2


def test_a_picture_lies_closest_to_its_caption_and_a_bad_one_fails_alone(serve):
    processor, encoder = serve("clip_image_processor"), serve("clip_image_encoder")
    tokenizer, reader = serve("clip_tokenizer"), serve("clip_text_encoder")
    files = [png(("red", "circle")), b"no picture", png(("blue", "square"))]
    red, bad, blue = processor.execute(*(processor.request(image_bytes=[file]) for file in files))
    assert bad.error().code() == INVALID
    requests = [encoder.request(pixel_values=[row["pixel_values"]]) for row in (red, blue)]
    seen = [row["image_embeds"] for row in encoder.execute(*requests)]
    [ids] = tokenizer.execute(tokenizer.request(text=["a red circle"]))
    [text] = reader.execute(reader.request(input_ids=[ids["input_ids"]]))
    assert seen[0] @ text["text_embeds"] > seen[1] @ text["text_embeds"] + 0.2

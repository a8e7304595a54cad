"""LLaVA's requests against their limits, and what a caller's options do to the answer."""

import asyncio
import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from tritone import checkpoints
from tritone.errors import InvalidInput
from tritone.language.llava import Limits, Llava
from tritone.media import image as images
from tritone.media.image import encode_png
from tritone.vision.shapes import draw_scene, render

LIMITS = Limits(max_characters=2000, max_pictures=2, max_image_bytes=2**20, max_pixels=10**6, max_tokens=96)


@pytest.fixture(scope="module")
def llava():
    llava = Llava.load(checkpoints.path("llava"), "cpu", LIMITS)
    yield llava
    llava.close()


def answer(llava, *args, **options):
    async def collect():
        return [piece async for piece in llava.stream(llava.prepare(*args, **options))]

    return asyncio.run(collect())


def text(pieces):
    return "".join(piece.text for piece in pieces)


def test_a_seed_draws_the_same_words_and_another_seed_others(llava):
    def say(seed):
        return text(answer(llava, "Tell me a story.", temperature=2.0, seed=seed, max_tokens=20))

    assert say(1) == say(1)
    assert len({say(seed) for seed in range(6)}) > 1


def test_max_tokens_cuts_and_says_so(llava):
    pieces = answer(llava, "What can you do?", max_tokens=3, stream_unit="none")
    assert [(piece.finish_reason, piece.completion_tokens) for piece in pieces] == [("length", 3)]


DESCRIBE = "Describe the picture."


@pytest.fixture(scope="module")
def picture():
    scene = draw_scene(Random(3), pairs=[("purple", "heart"), ("black", "cross")])
    return encode_png(np.asarray(render(scene, 128)))


@pytest.mark.parametrize("unit", ["token", "clause", "none"])
def test_a_stop_string_ends_the_answer_and_no_part_of_it_is_said(llava, picture, unit):
    whole = text(answer(llava, DESCRIBE, [picture]))
    stop = whole[12:17]
    pieces = answer(llava, DESCRIBE, [picture], stop=["never said", stop], stream_unit=unit)
    assert text(pieces) == whole[: whole.index(stop)]
    assert pieces[-1].finish_reason == "stop"
    assert pieces[-1].completion_tokens < answer(llava, DESCRIBE, [picture])[-1].completion_tokens


def test_the_beginning_of_a_stop_string_is_said_once_it_is_none(llava, picture):
    whole = text(answer(llava, DESCRIBE, [picture]))
    assert text(answer(llava, DESCRIBE, [picture], stop=[whole[-4:] + "!"])) == whole


def test_several_pictures_a_picture_of_an_earlier_turn_and_none_at_all(llava, picture):
    red = encode_png(np.asarray(render(draw_scene(Random(5), pairs=[("red", "star")]), 128)))
    history = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What shape is this?"}]},
        {"role": "assistant", "content": "The shape is a star."},
    ]
    assert "red" in text(answer(llava, "What color is it?", [red], json.dumps(history)))
    assert text(answer(llava, "What color is the star?", [picture, red])) != ""
    assert "hello" in text(answer(llava, "Hello!")).lower()


def url(file):
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(file).decode()}}


def shape(colour, name):
    return encode_png(np.asarray(render(draw_scene(Random(5), pairs=[(colour, name)]), 128)))


def test_openais_messages_alone_are_a_question_about_their_picture(llava):
    def ask(words, *pictures, **inputs):
        turn = {"role": "user", "content": [{"type": "text", "text": words}, *map(url, pictures)]}
        return text(answer(llava, messages=json.dumps([{"role": "developer", "content": "Look."}, turn]), **inputs))

    assert "red" in ask("What color is it?", shape("red", "star"))
    assert "绿" in ask("图里的星形是什么颜色？", shape("green", "star"))
    assert "blue" in ask("What color is it?", image_bytes=[base64.b64encode(shape("blue", "star"))])


def test_pictures_of_messages_and_of_image_bytes_reach_the_network_in_the_order_of_the_turns(llava):
    red, blue = shape("red", "star"), shape("blue", "star")
    both = [{"role": "user", "content": [{"type": "image"}, url(blue), {"type": "text", "text": "What?"}]}]
    chat = llava.prepare(image_bytes=[red], messages=json.dumps(both))
    files = llava.prepare("What?", [red, blue])
    assert torch.equal(chat.prompt.pixel_values, files.prompt.pixel_values)
    assert chat.prompt.picture_tokens == 128


@pytest.mark.parametrize(
    ("pictures", "sentence"),
    [
        ([b"a"] * 2, "image_bytes and messages hold 3 pictures, the limit is 2"),
        ([b"no picture"], "messages at 0.content.1.image_url is no readable PNG"),
        ([bytes(2**20 + 1)], "messages at 0.content.1.image_url has 1,048,577 bytes, the limit is 1,048,576 bytes"),
        (
            [encode_png(np.zeros((1_001, 1_000, 3), np.uint8))],
            "the picture has 1,000×1,001 pixels, the limit is 1,000,000",
        ),
    ],
)
def test_a_picture_of_messages_is_held_against_the_limits_of_image_bytes(llava, pictures, sentence):
    turn = {"role": "user", "content": [{"type": "text", "text": "What?"}, *map(url, pictures)]}
    extra = {"image_bytes": [b"c"]} if len(pictures) > 1 else {}
    with pytest.raises(InvalidInput, match=sentence):
        llava.prepare(messages=json.dumps([turn]), **extra)


def test_media_do_not_count_as_characters(llava):
    noise = encode_png(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    turn = {"role": "user", "content": [url(noise), {"type": "text", "text": "好"}]}
    assert len(base64.b64encode(noise)) > LIMITS.max_characters
    assert llava.prepare("what " * 100, messages=json.dumps([turn])).prompt.picture_tokens == 64
    with pytest.raises(InvalidInput, match="text_input and messages have 2001 characters, the limit is 2000"):
        llava.prepare("x" * 2_000, messages=json.dumps([turn]))


@pytest.mark.parametrize("data", [b"https://example.com/cat.png", b"iVBORw0KGgoAAAANSUhEU", b"data:,x"])
def test_text_that_is_no_picture_names_the_input(llava, data):
    with pytest.raises(InvalidInput, match=r"^image_bytes is (a URL, and this|broken base64|a data URL)"):
        llava.prepare("What?", [data])


def test_a_conversation_is_written_in_the_chat_template(llava):
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]},
        {"role": "assistant", "content": "A star."},
    ]
    picture = encode_png(np.full((8, 8, 3), 255, np.uint8))
    chat = llava.prepare("Where?", [picture, picture], json.dumps(messages))
    written = llava.processor.tokenizer.decode(chat.prompt.input_ids).replace("<image>" * 64, "<image>")
    assert written == ("<s>USER: <image>\nwhat is this ASSISTANT: A star.</s>USER: <image>\nwhere ASSISTANT:")
    assert chat.prompt.pixel_values.shape == (2, 3, 64, 64)
    assert chat.prompt.picture_tokens == 128


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"text_input": "x" * 2001}, "2001 characters, the limit is 2000"),
        ({"text_input": "x", "image_bytes": [b"a"] * 3}, "3 pictures, the limit is 2"),
        ({"text_input": "x", "max_tokens": 97}, "max_tokens is 97, must be 1 to 96"),
        ({"text_input": "\n \t"}, "empty"),
        ({"text_input": "你 " * 990}, "exceed the 1024 of the model"),
        ({"text_input": "x", "messages": json.dumps([{"role": "user", "content": "</s>"}])}, "</s>"),
        ({"text_input": "x", "top_k": -1}, "top_k is -1"),
        ({"text_input": "x", "repetition_penalty": 0.0}, "repetition_penalty is 0"),
        ({"text_input": "x", "stop": [""]}, "0 characters, must be 1 to 100"),
        ({"text_input": "x", "stop": ["."] * 17}, "17 strings, the limit is 16"),
        ({"text_input": "x", "adapter": "../llava"}, "'../llava', the adapters of this server are: none"),
    ],
)
def test_a_request_over_a_limit_names_the_value_and_the_limit(llava, request_, sentence):
    with pytest.raises(InvalidInput, match=sentence):
        llava.prepare(**request_)


def test_a_picture_of_one_pixel_is_looked_at(llava):
    assert text(answer(llava, "What color is it?", [encode_png(np.zeros((1, 1, 3), np.uint8))]))


def test_the_pictures_of_a_request_share_a_budget_that_is_checked_before_any_is_decoded(llava, monkeypatch):
    limits = replace(LIMITS, max_total_pixels=1_500_000)
    monkeypatch.setattr(llava, "limits", limits)
    monkeypatch.setattr(images, "decode", lambda *_, **__: pytest.fail("a picture was decoded"))
    large = encode_png(np.zeros((1000, 1000, 3), np.uint8))
    with pytest.raises(InvalidInput, match="the 2 pictures have 2,000,000 pixels or more together, the limit is 1,500"):
        llava.prepare("x", [large, large])


def test_one_picture_at_a_time_is_in_memory(llava, picture, monkeypatch):
    at_once, most, decode = [], [], images.decode

    def watched(*args, **options):
        at_once.append(1)
        most.append(len(at_once))
        time.sleep(0.05)
        pixels = decode(*args, **options)
        at_once.pop()
        return pixels

    monkeypatch.setattr(images, "decode", watched)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: llava.prepare("x", [picture, picture]), range(4)))
    assert most == [1] * 8


def test_several_pictures_are_what_the_processor_makes_of_them_together(llava):
    noise = np.random.default_rng(0)
    pictures = [Image.fromarray(noise.integers(0, 256, (*size, 3), np.uint8)) for size in ((400, 600), (900, 70))]
    theirs = llava.processor(text=["<image><image>x"], images=pictures, return_tensors="pt", add_special_tokens=False)
    prompt = llava.prepare("x", [encode_png(np.asarray(picture)) for picture in pictures]).prompt
    assert torch.equal(prompt.pixel_values, theirs["pixel_values"])
    assert prompt.picture_tokens == int((theirs["input_ids"] == llava.processor.image_token_id).sum())


def test_pictures_are_resized_as_pillow_images_are(llava):
    picture = render(draw_scene(Random(1)), 200)
    ours = llava.prepare("x", [encode_png(np.asarray(picture))]).prompt.pixel_values
    theirs = llava.processor.image_processor(Image.fromarray(np.asarray(picture)), return_tensors="pt")["pixel_values"]
    assert torch.equal(ours, theirs)

"""LLaVA's own loop against transformers' `generate`, and its requests against their limits."""

import asyncio
import json
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from shape_questions import ask
from tritone import checkpoints
from tritone.errors import InvalidInput
from tritone.image import encode_png
from tritone.llava import Limits, Llava, Sampling, choose
from tritone.shapes import draw_scene, render

LIMITS = Limits(max_characters=2000, max_pictures=2, max_image_bytes=2**20, max_pixels=10**6, max_tokens=96)


@pytest.fixture(scope="module")
def llava():
    return Llava.load(checkpoints.path("llava"), "cpu", "auto", LIMITS)


def answer(llava, *args, **options):
    async def collect():
        return [piece async for piece in llava.stream(llava.prepare(*args, **options))]

    return asyncio.run(collect())


def text(pieces):
    return "".join(piece.text for piece in pieces)


def test_greedy_answers_are_those_of_transformers_generate(llava):
    model = LlavaForConditionalGeneration.from_pretrained(checkpoints.path("llava"), dtype=torch.float32).eval()
    processor = LlavaProcessor.from_pretrained(checkpoints.path("llava"))
    random = Random(0)
    for number in range(20):
        scene = draw_scene(random)
        picture = render(scene, 128)
        question = ask(random, scene, ("en", "zh")[number % 2]).question
        content = [{"type": "image"}, {"type": "text", "text": question}]
        prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(text=[prompt], images=[picture], return_tensors="pt", add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        tokens = model.generate(**inputs, max_new_tokens=96, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        expected = processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        pieces = answer(llava, question, [encode_png(np.asarray(picture))])
        assert text(pieces) == expected
        assert pieces[-1].completion_tokens == len(tokens)
        assert pieces[-1].prompt_tokens == inputs["input_ids"].shape[1]


def test_a_seed_draws_the_same_words_and_another_seed_others(llava):
    def say(seed):
        return text(answer(llava, "Tell me a story.", temperature=2.0, seed=seed, max_tokens=20))

    assert say(1) == say(1)
    assert len({say(seed) for seed in range(6)}) > 1


def test_max_tokens_cuts_and_says_so(llava):
    pieces = answer(llava, "What can you do?", max_tokens=3, stream_unit="none")
    assert [(piece.finish_reason, piece.completion_tokens) for piece in pieces] == [("length", 3)]


def test_a_conversation_is_written_in_the_chat_template(llava):
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]},
        {"role": "assistant", "content": "A star."},
    ]
    picture = encode_png(np.full((8, 8, 3), 255, np.uint8))
    chat = llava.prepare("Where?", [picture, picture], json.dumps(messages))
    written = llava.processor.tokenizer.decode(chat.inputs["input_ids"][0]).replace("<image>" * 64, "<image>")
    assert written == ("<s>USER: <image>\nWhat is this? ASSISTANT: A star.</s>USER: <image>\nWhere? ASSISTANT:")
    assert chat.inputs["pixel_values"].shape == (2, 3, 64, 64)


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"text_input": "x" * 2001}, "2001 characters, the limit is 2000"),
        ({"text_input": "x", "image_bytes": [b"a"] * 3}, "3 pictures, the limit is 2"),
        ({"text_input": "x", "max_tokens": 97}, "max_tokens is 97, must be 1 to 96"),
        ({"text_input": "\n \t"}, "empty"),
        ({"text_input": "你 " * 900}, "exceed the 1024 of the model"),
        ({"text_input": "x", "messages": json.dumps([{"role": "user", "content": "</s>"}])}, "</s>"),
    ],
)
def test_a_request_over_a_limit_names_the_value_and_the_limit(llava, request_, sentence):
    with pytest.raises(InvalidInput, match=sentence):
        llava.prepare(**request_)


def test_a_picture_of_one_pixel_is_looked_at(llava):
    assert text(answer(llava, "What color is it?", [encode_png(np.zeros((1, 1, 3), np.uint8))]))


def test_leaving_a_stream_leaves_the_turn_to_the_next(llava):
    async def leave_and_ask():
        stream = llava.stream(llava.prepare("What can you do?"))
        await anext(stream)
        await stream.aclose()
        return [piece async for piece in llava.stream(llava.prepare("Hello."))]

    assert asyncio.run(asyncio.wait_for(leave_and_ask(), 30))[-1].finish_reason == "stop"


def test_the_nucleus_holds_the_likeliest_tokens_only():
    logits = torch.log(torch.tensor([0.1, 0.5, 0.15, 0.25]))
    generator = torch.Generator().manual_seed(0)
    drawn = {choose(logits, Sampling(1.0, 0.6, 0), generator) for _ in range(200)}
    assert drawn == {1, 3}
    assert {choose(logits, Sampling(1.0, 0.01, 0), generator) for _ in range(20)} == {1}
    assert choose(logits, Sampling(0.0, 1.0, 0), generator) == 1


def test_frequencies_follow_the_temperature():
    logits = torch.tensor([0.0, 1.0])
    generator = torch.Generator().manual_seed(0)
    for temperature in (0.5, 1.0, 2.0):
        hits = sum(choose(logits, Sampling(temperature, 1.0, 0), generator) for _ in range(4000)) / 4000
        assert hits == pytest.approx(torch.sigmoid(torch.tensor(1 / temperature)).item(), abs=0.03)


def test_pictures_are_resized_as_pillow_images_are(llava):
    picture = render(draw_scene(Random(1)), 200)
    ours = llava.prepare("x", [encode_png(np.asarray(picture))]).inputs["pixel_values"]
    theirs = llava.processor.image_processor(Image.fromarray(np.asarray(picture)), return_tensors="pt")["pixel_values"]
    assert torch.equal(ours, theirs)

"""Log-probabilities of the tiny LLaVA's answers: against transformers' own logits, alone and in a crowd."""

import asyncio
import json
from random import Random

import numpy as np
import pytest
import torch
from fakes.asking_an_engine import tiny_llava
from fakes.other_tokenizers import sentencepiece
from transformers import LlavaForConditionalGeneration

from lessons.shape_questions import ask
from tritone import checkpoints
from tritone.errors import InvalidInput
from tritone.language.choosing.grammar import Vocabulary
from tritone.language.choosing.logprobs import Content, TokenLogprob
from tritone.language.llava import Limits
from tritone.media.image import encode_png
from tritone.vision.shapes import draw_scene, render

LIMITS = Limits(max_characters=2000, max_pictures=2, max_image_bytes=2**20, max_pixels=10**6, max_tokens=60)
NEAR = 2e-4  # fp32, whose last bits depend on how many rows a pass has


@pytest.fixture(scope="module")
def llava():
    with tiny_llava(LIMITS) as llava:
        yield llava


@pytest.fixture(scope="module")
def questions():
    """English and Chinese, about random pictures."""
    random, found = Random(4), []
    for number in range(8):
        scene = draw_scene(random)
        question = ask(random, scene, ("en", "zh")[number % 2]).question
        found.append({"text_input": question, "image_bytes": [encode_png(np.asarray(render(scene, 128)))]})
    return found


def together(llava, requests):
    async def one(request):
        return [piece async for piece in llava.stream(llava.prepare(**request))]

    async def run():
        return await asyncio.gather(*map(one, requests))

    return asyncio.run(run())


def content(pieces):
    return [token for piece in pieces for token in json.loads(piece.logprobs_content)]


def text(pieces):
    return "".join(piece.text for piece in pieces)


def said(tokens):
    return b"".join(bytes(token["bytes"]) for token in tokens).decode("utf-8")


WISH = {"logprobs": True, "top_logprobs": 5}


@pytest.mark.parametrize("options", [{}, {"repetition_penalty": 1.5}], ids=["plain", "penalty"])
def test_they_are_of_the_logits_that_generate_has_before_its_penalties(llava, questions, options):
    model = LlavaForConditionalGeneration.from_pretrained(checkpoints.path("llava"), dtype=torch.float32).eval()
    for request, pieces in zip(
        questions, together(llava, [{**each, **WISH, **options} for each in questions]), strict=True
    ):
        prompt = llava.prepare(**request).prompt
        theirs = model.generate(
            input_ids=prompt.input_ids[None],
            attention_mask=torch.ones_like(prompt.input_ids[None]),
            pixel_values=prompt.pixel_values,
            do_sample=False,
            max_new_tokens=60,
            output_logits=True,
            return_dict_in_generate=True,
            **options,
        )
        tokens = theirs.sequences[0, len(prompt.input_ids) :].tolist()
        values = torch.stack(theirs.logits)[:, 0].log_softmax(-1)
        assert tokens[-1] in llava._eos
        found = content(pieces)
        assert len(found) == len(tokens) - 1  # the end of text is no part of the answer
        for token, row, each in zip(tokens, values, found, strict=False):
            assert each["logprob"] == pytest.approx(row[token].item(), abs=NEAR)
            likeliest = row.topk(5)
            assert [other["logprob"] for other in each["top_logprobs"]] == pytest.approx(
                likeliest.values.tolist(), abs=NEAR
            )
            names = [llava._vocabulary.written(number)[0].strip() for number in likeliest.indices.tolist()]
            assert each["top_logprobs"][0]["token"].strip() == names[0]
            assert {other["token"].strip() for other in each["top_logprobs"]} == set(names)


def test_they_are_the_same_alone_and_in_a_crowd_in_which_each_asks_for_another_number(llava, questions):
    numbers = [{"top_logprobs": 20}, {"top_logprobs": 1}, {}, {"top_logprobs": 0}]
    requests = [{**each, "logprobs": True, **numbers[n % 4]} for n, each in enumerate(questions)]
    silent = [{**each, "temperature": 1.0, "seed": n} for n, each in enumerate(questions)]
    crowd = together(llava, [*requests, *silent])
    for n, request in enumerate(requests):
        [alone] = together(llava, [request])
        found, expected = content(crowd[n]), content(alone)
        assert [token["token"] for token in found] == [token["token"] for token in expected]
        assert [token["logprob"] for token in found] == pytest.approx([t["logprob"] for t in expected], abs=NEAR)
        assert {len(token["top_logprobs"]) for token in found} == {(20, 1, 0, 0)[n % 4]}
    for pieces in crowd[len(requests) :]:
        assert {piece.logprobs_content for piece in pieces} == {""}


@pytest.mark.parametrize("unit", ["token", "clause", "none"])
def test_the_tokens_of_each_piece_are_its_text(llava, questions, unit):
    for pieces in together(llava, [{**each, **WISH, "stream_unit": unit} for each in questions]):
        assert said(content(pieces)) == text(pieces)
        for piece in pieces:
            tokens = json.loads(piece.logprobs_content)
            assert bool(tokens) == bool(piece.text)
            for token in tokens:
                assert set(token) == {"token", "bytes", "logprob", "top_logprobs"}
                assert token["logprob"] <= 0


def test_each_clause_brings_the_tokens_that_begin_in_it(llava):
    request = {"text_input": "Hello!", **WISH, "stream_unit": "clause"}
    [pieces] = together(llava, [request])
    assert len(pieces) > 1
    before = ""
    for piece in pieces[:-1]:
        before += piece.text
        tokens = [token for each in pieces[: pieces.index(piece) + 1] for token in json.loads(each.logprobs_content)]
        assert said(tokens).startswith(before)  # the last may reach into the next clause
        assert len(said(tokens[:-1])) < len(before)


def test_what_a_stop_string_cuts_off_has_none(llava, questions):
    request = questions[0]
    [whole] = together(llava, [{**request, **WISH}])
    stop = text(whole)[-6:-2]
    [cut] = together(llava, [{**request, **WISH, "stop": [stop]}])
    assert text(cut) == text(whole)[: text(whole).index(stop)]
    assert said(content(cut)).startswith(text(cut))
    assert len(said(content(cut)[:-1])) < len(text(cut))


def test_under_a_grammar_they_are_of_what_the_network_would_have_said(llava, questions):
    """A mark that is forced upon it is unlikely, and a word of its own is among the likeliest."""
    [pieces] = together(llava, [{**questions[0], **WISH, "response_format": '{"type": "json_object"}'}])
    space, brace, *_ = content(pieces)
    assert (space["token"], brace["token"]) == ("", "{")
    assert brace["logprob"] < -3
    assert brace["top_logprobs"][0]["logprob"] > -1
    assert "{" not in {other["token"] for other in brace["top_logprobs"]}


def test_bytes_of_a_character_that_is_spread_over_tokens_are_told_one_by_one():
    tokenizer = sentencepiece()
    known = Vocabulary(tokenizer, len(tokenizer), [tokenizer.eos_token_id])
    writer = Content(known.written)
    ids = [tokenizer.convert_tokens_to_ids(word) for word in ("▁The", "<0xE7>", "<0xBB>", "<0xBF>", "▁")]
    for number in ids:
        writer.add(TokenLogprob(number, -0.5, ((tokenizer.eos_token_id, -1.0),)))
    found = json.loads(writer.give("The绿"))
    assert [(each["token"], each["bytes"]) for each in found] == [
        ("The", list(b"The")),  # without the space before an answer
        ("\\xe7", [0xE7]),
        ("\\xbb", [0xBB]),
        ("\\xbf", [0xBF]),
    ]
    assert found[0]["top_logprobs"] == [{"token": "</s>", "bytes": None, "logprob": -1.0}]
    assert [each["token"] for each in json.loads(writer.give("", rest=True))] == [" "]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs is 21, must be 0 to 20"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs is -1, must be 0 to 20"),
        ({"top_logprobs": 3}, "top_logprobs is 3, which takes logprobs true"),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused(llava, options, sentence):
    with pytest.raises(InvalidInput, match=sentence):
        llava.prepare("x", **options)


def test_the_pictures_tokens_are_counted_among_those_of_the_prompt(llava, questions):
    [one], [none] = together(
        llava, [{**each, "stream_unit": "none"} for each in (questions[0], {"text_input": "Hello!"})]
    )
    assert (one.image_tokens, none.image_tokens) == (64, 0)
    assert one.prompt_tokens > 64

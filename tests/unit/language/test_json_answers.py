"""The tiny LLaVA answers in JSON: what it sees, alone and in a crowd, and what others notice of it.

It has never seen a quotation mark. Where the schema lets it say its own sentences it follows the picture; after a bare
word in quotes it does not (27 of 27 pictures against 3).
"""

import asyncio
import json
from random import Random

import jsonschema
import numpy as np
import pytest
import torch
from fakes.asking_an_engine import tiny_llava

from tritone.errors import InvalidInput
from tritone.language.choosing.grammar import Grammar
from tritone.language.choosing.sampling import Sampler, Sampling, choose
from tritone.language.llava import Limits
from tritone.media.image import encode_png
from tritone.vision.shapes import CHINESE, COLOURS, draw_scene, render

LIMITS = Limits(max_characters=2000, max_pictures=2, max_image_bytes=2**20, max_pixels=10**6, max_tokens=96)
QUESTION, CHINESE_QUESTION = "What color is the circle?", "圆形是什么颜色？"
SENTENCES = [f"The circle is {colour}." for colour in COLOURS]
CHINESE_SENTENCES = [f"圆形是{CHINESE[colour]}的。" for colour in COLOURS]


def json_schema(schema):
    return json.dumps({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}})


def thing(**properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@pytest.fixture(scope="module")
def plain():
    with tiny_llava(LIMITS) as llava:
        yield llava


@pytest.fixture(scope="module")
def graphed():
    """Its steps are graphs, by a stand-in for CUDA's."""
    with tiny_llava(LIMITS, graphed=True) as llava:
        yield llava


@pytest.fixture(params=["plain", "graphed"])
def llava(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def circles():
    """A picture of a circle in each colour."""
    scenes = {colour: draw_scene(Random(2), pairs=[(colour, "circle")]) for colour in COLOURS}
    return {colour: encode_png(np.asarray(render(scene, 128))) for colour, scene in scenes.items()}


async def one(llava, request):
    return [piece async for piece in llava.stream(llava.prepare(**request))]


def together(llava, requests):
    """The pieces of all answers, or what went wrong, asked for at once."""

    async def run():
        return await asyncio.gather(*(one(llava, request) for request in requests), return_exceptions=True)

    return asyncio.run(run())


def text(pieces):
    return "".join(piece.text for piece in pieces)


def asked(circles, colour, schema, question=QUESTION, **options):
    return {
        "text_input": question,
        "image_bytes": [circles[colour]],
        "response_format": json_schema(schema),
        **options,
    }


def test_the_choice_follows_the_picture(llava, circles):
    answers = together(llava, [asked(circles, colour, {"enum": SENTENCES}) for colour in COLOURS])
    assert [json.loads(text(pieces)) for pieces in answers] == SENTENCES
    assert {pieces[-1].finish_reason for pieces in answers} == {"stop"}


def test_in_chinese_and_in_an_object_too(llava, circles):
    schema = thing(答案={"enum": CHINESE_SENTENCES}, 肯定={"type": "boolean"})
    answers = together(llava, [asked(circles, colour, schema, CHINESE_QUESTION) for colour in COLOURS])
    found = [json.loads(text(pieces)) for pieces in answers]
    assert [each["答案"] for each in found] == CHINESE_SENTENCES
    for each in found:
        jsonschema.validate(each, schema)
    assert text(answers[0]).startswith('{"答案": "圆形是红色的。", "肯定": ')


def test_what_is_not_allowed_is_not_said(llava, circles):
    [pieces] = together(llava, [asked(circles, "red", {"enum": SENTENCES[1:]})])
    assert json.loads(text(pieces)) in SENTENCES[1:]


def test_any_object_and_any_text(llava, circles):
    request = {"text_input": QUESTION, "image_bytes": [circles["red"]]}
    formats = ['{"type": "json_object"}', '{"type": "text"}', ""]
    drawn = {"temperature": 1.0, "seed": 3}
    found, worded, plain = together(llava, [{**request, "response_format": each, **drawn} for each in formats])
    assert isinstance(json.loads(text(found)), dict)
    assert text(worded) == text(plain) != ""


def many(circles):
    """Requests of every kind: greedy and drawn, with and without a grammar, each with its own."""
    shape = thing(shape={"enum": ["circle", "square", "星形"]}, count={"type": "integer", "minimum": 0, "maximum": 9})
    kinds = [{"enum": SENTENCES}, shape, None, thing(答案={"enum": CHINESE_SENTENCES}), None, {"type": "boolean"}]
    ways = [{}, {"temperature": 1.5, "top_p": 0.9}, {"temperature": 1.0, "top_k": 40}, {"repetition_penalty": 1.3}]
    for number in range(18):
        request = asked(circles, list(COLOURS)[number % 9], kinds[number % 6], seed=number, **ways[number % 4])
        if kinds[number % 6] is None:
            del request["response_format"]
        yield {**request, "max_tokens": 60}, kinds[number % 6]


def test_answers_are_the_same_alone_and_in_a_crowd(llava, circles):
    requests = [request for request, _ in many(circles)]
    alone = [text(asyncio.run(one(llava, request))) for request in requests]
    crowd = [text(pieces) for pieces in together(llava, requests)]
    assert crowd == alone
    for answer, (_, schema) in zip(crowd, many(circles), strict=True):
        if schema:
            jsonschema.validate(json.loads(answer), schema)


def test_a_seed_draws_the_same_json_and_another_seed_another(plain, circles):
    schema = {"type": "string", "maxLength": 20}
    requests = [asked(circles, "red", schema, seed=seed, temperature=2.0) for seed in (1, 2, 3, 1)]
    first, *others, again = [text(pieces) for pieces in together(plain, requests)]
    assert first == again
    assert len({first, *others}) == 3


def test_at_max_tokens_json_is_cut_and_the_reason_is_length(llava, circles):
    [pieces] = together(llava, [asked(circles, "red", {"enum": SENTENCES}, max_tokens=3)])
    assert (pieces[-1].finish_reason, pieces[-1].completion_tokens) == ("length", 3)
    assert '"The circle is red."'.startswith(text(pieces))
    with pytest.raises(json.JSONDecodeError):
        json.loads(text(pieces))


def test_clauses_and_stop_strings_cut_json_as_any_text(plain, circles):
    request = asked(circles, "red", thing(a={"enum": SENTENCES}, b={"enum": CHINESE_SENTENCES}))
    ways = [{"stream_unit": "none"}, {"stream_unit": "clause"}, {"stop": [', "b"']}]
    [whole], clauses, cut = together(plain, [{**request, **way} for way in ways])
    assert json.loads(whole.text)["a"] == "The circle is red."
    assert text(clauses) == whole.text
    assert len(clauses) > 1
    assert text(cut) == '{"a": "The circle is red."'


def test_a_request_that_cannot_be_kept_to_fails_alone(plain, circles):
    kinds = [{"type": "object", "properties": {"a": {"type": "string"}, f"k{n}": {}}} for n in range(800)]
    requests = [
        asked(circles, "red", {"enum": SENTENCES}),
        asked(circles, "red", {"type": "colour"}),  # refused as it is prepared
        asked(circles, "red", {"anyOf": kinds, "type": "object"}),  # fails at its third token
        {"text_input": QUESTION, "image_bytes": [circles["blue"]]},
    ]
    good, refused, failed, free = together(plain, requests)
    assert (text(good), text(free)) == ('"The circle is red."', "The circle is blue.")
    assert isinstance(refused, InvalidInput)
    assert str(refused) == "response_format cannot be kept to: Invalid type: colour"
    assert isinstance(failed, InvalidInput)
    assert "items; max is 2000" in str(failed)
    assert plain.engine.statistics.active == 0


def test_a_grammar_changes_no_bit_of_a_neighbour(plain):
    grammar = Grammar(plain._vocabulary, '{"type": "object"}')
    size = plain.engine.decoder.vocabulary
    logits = torch.randn(3, size, generator=torch.Generator().manual_seed(0))
    wishes = [{"temperature": 1.0, "seed": 5, "top_logprobs": 3}, {}, {"repetition_penalty": 1.2}]

    def samplers(held):
        prompt = torch.tensor([1, 9])
        sampling = [Sampling(**wish, grammar=grammar if row == held else None) for row, wish in enumerate(wishes)]
        return [Sampler(each, prompt, size, torch.device("cpu")) for each in sampling]

    free, beside = (logits.clone(), samplers(None)), (logits.clone(), samplers(1))
    first, second = choose(*free), choose(*beside)
    assert (first[0], first[2]) == (second[0], second[2])
    assert torch.equal(free[0][[0, 2]], beside[0][[0, 2]])
    assert free[1][0].logprob == beside[1][0].logprob
    assert plain._vocabulary.written(second[1])[0].strip() in ("{", "")


def test_a_network_that_is_not_finite_is_told_where_the_grammar_allows_nothing_of_it(plain):
    grammar, size = Grammar(plain._vocabulary, '{"type": "object"}'), plain.engine.decoder.vocabulary
    logits = torch.zeros(1, size)
    logits[0, 900] = torch.nan
    sampler = Sampler(Sampling(grammar=grammar), torch.tensor([1]), size, torch.device("cpu"))
    assert choose(logits, [sampler]) == [-1]
    assert sampler.fault is None

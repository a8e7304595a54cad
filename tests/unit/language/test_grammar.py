"""Answers that must be JSON: what is wanted, and which tokens may come, with tokenizers of both kinds."""

import json
from random import Random

import jsonschema
import pytest
import torch
from fakes.other_tokenizers import sentencepiece
from transformers import LlavaProcessor

from tritone import checkpoints
from tritone.errors import InvalidInput
from tritone.language.choosing import grammar as grammar_module
from tritone.language.choosing.grammar import Grammar, Vocabulary, allowed
from tritone.language.choosing.response_format import MAX_BYTES, schema_of
from tritone.language.detokenizer import Detokenizer

CPU = torch.device("cpu")
THING = {
    "type": "object",
    "properties": {
        "颜色": {"enum": ["红色", "蓝色", "青"]},
        "shapes": {"type": "array", "items": {"enum": ["circle", "星形"]}, "minItems": 1, "maxItems": 3},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "note": {"anyOf": [{"type": "string", "maxLength": 6}, {"type": "null"}]},
        "big": {"type": "boolean"},
    },
    "required": ["颜色", "shapes", "count", "note", "big"],
    "additionalProperties": False,
}


def byte_level():
    return LlavaProcessor.from_pretrained(checkpoints.path("llava")).tokenizer


@pytest.fixture(scope="module", params=[byte_level, sentencepiece])
def tokenizer(request):
    return request.param()


@pytest.fixture(scope="module")
def known(tokenizer):
    """The vocabulary of a network that has some more logits than there are tokens, as LLaVA's have."""
    return Vocabulary(tokenizer, len(tokenizer) + 7, [tokenizer.eos_token_id])


def may(progress, size):
    return allowed([progress], size, CPU)[0].nonzero()[:, 0].tolist()


# ---- what is wanted


def json_schema(schema, **more):
    return json.dumps({"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, **more}})


def test_the_three_formats_of_openai():
    assert schema_of("") == schema_of('{"type": "text"}') == ""
    assert json.loads(schema_of('{"type": "json_object"}')) == {"type": "object"}
    assert json.loads(schema_of(json_schema(THING, strict=True, description="一个东西"))) == THING
    assert list(json.loads(schema_of(json_schema(THING)))["properties"]) == list(THING["properties"])  # in their order


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("{", "response_format at the start: Invalid JSON"),
        ('"json"', "response_format at the start: Input should be an object"),
        ('{"type": "xml"}', "response_format at the start: Input tag 'xml' found .* 'text', 'json_object'"),
        ('{"type": "json_object", "schema": {}}', r"at json_object.schema: Extra inputs are not permitted"),
        ('{"type": "json_schema", "json_schema": {"schema": {}}}', r"at json_schema.json_schema.name: Field required"),
        (json_schema([]), r"at json_schema.json_schema.schema: Input should be an object"),
        (json_schema({"enum": ["色" * 30_000]}), f"response_format has 180,0.. bytes, the limit is {MAX_BYTES:,}"),
    ],
)
def test_what_is_no_response_format_is_refused_with_its_place(wanted, sentence):
    with pytest.raises(InvalidInput, match=sentence):
        schema_of(wanted)


# ---- which tokens may come


def walk(tokenizer, known, schema, seed, most=2000):
    """Any answer that is allowed: its text as callers get it, and its bytes as llguidance has them."""
    random, tokens = Random(seed), []
    progress, size = Grammar(known, json.dumps(schema)).begin(), len(tokenizer) + 7
    detokenizer = Detokenizer(lambda ids: tokenizer.decode(ids, skip_special_tokens=True), "token")
    text = ""
    while (token := random.choice(may(progress, size))) != tokenizer.eos_token_id:
        text += detokenizer.add(token)
        tokens.append(token)
        assert progress.take(token)
        assert len(tokens) < most
    return text + detokenizer.finish(), b"".join(known.written(token)[1] for token in tokens)


def test_whatever_is_allowed_is_json_of_the_schema_to_the_reader(tokenizer, known):
    answers = [walk(tokenizer, known, THING, seed) for seed in range(40)]
    for text, data in answers:
        jsonschema.validate(json.loads(text), THING)
        assert text == data.decode("utf-8").lstrip(" ")
        assert "\n" not in text
    assert len({json.loads(text)["颜色"] for text, _ in answers}) == 3


def test_the_end_of_text_may_come_where_the_json_is_whole_and_no_other_special_token_ever(tokenizer, known):
    eos, size = tokenizer.eos_token_id, len(tokenizer) + 7
    progress = Grammar(known, '{"type": "integer"}').begin()
    [one] = known.tokens.tokenize_bytes(b"1")
    assert eos not in may(progress, size)
    progress.take(one)
    assert eos in may(progress, size)  # and another digit
    assert one in may(progress, size)
    progress.take(eos)
    assert may(progress, size) == [eos]
    for schema in ({"type": "string"}, {}):
        assert set(may(Grammar(known, json.dumps(schema)).begin(), size)).isdisjoint(tokenizer.all_special_ids)


@pytest.mark.parametrize("many", [2, 24], ids=["threads", "one thread"])
def test_each_answer_has_its_own_place_in_a_grammar(tokenizer, known, many, monkeypatch):
    monkeypatch.setattr(grammar_module, "MANY", many)
    size = len(tokenizer) + 7
    grammar = Grammar(known, json.dumps({"enum": ["ab", "cd"]}))
    answers = [grammar.begin() for _ in range(5)]
    for progress, text in zip(answers, (b"", b'"', b'"a', b'"c', b' "cd"'), strict=True):
        assert all(progress.take(token) for token in known.tokens.tokenize_bytes(text))
    together = allowed(answers, size, CPU)
    assert together.shape == (5, size)
    for row, progress in zip(together, answers, strict=True):
        assert row.nonzero()[:, 0].tolist() == may(progress, size)
    texts = [{known.written(token)[0][:1] for token in may(progress, size)} for progress in answers]
    assert texts[1:] == [{"a", "c"}, {"b"}, {"d"}, {"<"}]  # the last: the end of text


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "colour"}, "Invalid type: colour"),
        ({"not": {"type": "string"}}, r'Unimplemented keys: \["not"\]'),
        ({"type": "string", "pattern": "(("}, "unclosed group"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, r"minimum \(5\) is greater than maximum \(3\)"),
        ({"$ref": "#"}, "no JSON is like that"),
        ({"$ref": "http://127.0.0.1/schema.json"}, "Default retriever does not fetch resources"),
    ],
)
def test_a_schema_that_cannot_be_kept_to_is_refused_with_the_reason(known, schema, reason):
    with pytest.raises(InvalidInput, match=f"response_format cannot be kept to: .*{reason}"):
        Grammar(known, json.dumps(schema))


def test_schemas_that_unfold_without_end_cost_little(tokenizer, known):
    """Each definition is twice the next: a billion at the end."""
    more = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)} | {"d30": {"const": 1}}
    progress = Grammar(known, json.dumps({"$ref": "#/$defs/d0", "$defs": more})).begin()
    assert {known.written(token)[0].strip() for token in may(progress, len(tokenizer))} == {"1", ""}


def test_a_schema_that_becomes_too_much_on_the_way_is_told_there(tokenizer, known):
    """800 kinds of object whose keys begin alike."""
    kinds = [{"type": "object", "properties": {"a": {"type": "string"}, f"k{n}": {}}} for n in range(800)]
    size = len(tokenizer)
    progress = Grammar(known, json.dumps({"anyOf": kinds})).begin()
    assert progress.fault is None
    for token in known.tokens.tokenize_bytes(b'{"'):
        allowed([progress, Grammar(known, "{}").begin()], size, CPU)
        if not progress.take(token):
            break
    assert "response_format cannot be kept to: " in str(progress.fault)
    assert "items; max is 2000" in str(progress.fault)


def test_a_tokenizer_that_llguidance_cannot_read_refuses_what_needs_it():
    class Unknown:
        eos_token_id = 2

        def __len__(self):
            return 10

    with pytest.raises(InvalidInput, match=r"cannot read the checkpoint's tokenizer \(Only fast"):
        Vocabulary(Unknown(), 10, [2]).check()

"""/v1/embeddings and /v1/rank, with OpenAI's SDK in front and a mock of the server behind."""

import base64

import numpy as np
import openai
import pytest
from mock_tritone import answers, png

from tritone_client import InvalidInput

RED = "data:image/png;base64," + base64.b64encode(png()).decode()
BARE = base64.b64encode(png()).decode()
PICTURE = [1, 0, 0, 0]


def test_the_sdk_asks_for_base64_and_reads_numbers(gateway):
    found = gateway.sdk.embeddings.create(model="clip", input=["a", "红色", "abc"])
    assert [each.embedding for each in found.data] == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert [each.index for each in found.data] == [0, 1, 2]
    assert (found.object, found.model) == ("list", "clip")


def test_numbers_come_where_they_are_asked_for(gateway):
    found = gateway.sdk.embeddings.create(model="clip", input="a", encoding_format="float")
    assert found.data[0].embedding == [0, 1, 0, 0]


def test_base64_is_little_endian_float32(gateway):
    body = {"model": "clip", "input": "a", "encoding_format": "base64"}
    raw = gateway.http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(raw), "<f4").tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    "picture",
    [
        RED,
        {"type": "image_url", "image_url": {"url": RED}},
        {"type": "input_image", "image_url": RED},
        {"image": RED},
        {"image": BARE},
    ],
)
def test_pictures_come_in_every_usual_spelling_and_keep_their_place(gateway, picture):
    inputs = ["a", picture, {"text": "ab"}, {"type": "text", "text": "abc"}]
    found = gateway.http.post("/v1/embeddings", json={"model": "clip", "input": inputs}).json()["data"]
    assert [each["embedding"] for each in found] == [[0, 1, 0, 0], PICTURE, [0, 0, 1, 0], [0, 0, 0, 1]]
    pictures = [request for request in gateway.transport.requests if request.model == "clip_image"]
    assert pictures[-1].inputs["image_bytes"][0, 0] == png()


def test_one_picture_need_not_be_a_list(gateway):
    found = gateway.http.post("/v1/embeddings", json={"model": "clip", "input": {"image": RED}}).json()
    assert [each["embedding"] for each in found["data"]] == [PICTURE]


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input[0]"),
        ({"input": []}, "input"),
        ({"input": ["a", " "]}, "input[1]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": ["a", {"image": "https://example.org/a.png"}]}, "input[1]"),
        ({"input": "a", "dimensions": 3}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "task": "retrieval"}, "task"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_its_place(gateway, wish, param):
    answer = gateway.http.post("/v1/embeddings", json={"model": "clip", **wish})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_the_models_own_dimensions_are_taken(gateway):
    assert len(gateway.sdk.embeddings.create(model="clip", input="a", dimensions=4).data[0].embedding) == 4


def test_tokens_are_counted(gateway):
    assert gateway.sdk.embeddings.create(model="clip", input=["a", "b", RED]).usage.prompt_tokens == 6


def test_a_text_that_would_be_cut_is_refused_unless_its_beginning_is_wanted(serve):
    def long(request):
        return {**answers(request), "truncated": request.text("text") == "long", "token_count": 77}

    http = serve(long).http
    answer = http.post("/v1/embeddings", json={"model": "clip", "input": ["a", "long"]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input[1]")
    assert "77 tokens" in answer.json()["error"]["message"]
    answer = http.post("/v1/embeddings", json={"model": "clip", "input": ["a", "long"], "truncate": True})
    assert len(answer.json()["data"]) == 2
    for wish, place in (({"query": "a", "documents": ["红", "long"]}, "documents[1]"), ({"query": "long"}, "query")):
        wish = {"documents": ["红"], **wish}
        error = http.post("/v1/rank", json=wish).json()["error"]
        said = f"{place} is longer than the 77 tokens that the model reads; with truncate true its beginning counts"
        assert (error["param"], error["code"], error["message"]) == (place, "context_length_exceeded", said)
        ranked = http.post("/v1/rank", json={**wish, "truncate": True}).json()["results"]
        assert len(ranked) == len(wish["documents"])


def test_an_item_that_the_server_cannot_read_is_named_by_its_place(serve):
    def broken(request):
        if request.model == "clip_image":
            raise InvalidInput("the picture is broken")
        return answers(request)

    http = serve(broken).http
    answer = http.post("/v1/embeddings", json={"model": "clip", "input": ["a", RED]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input[1]")
    answer = http.post("/v1/rank", json={"query": {"image": RED}, "documents": ["a"]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "query")


def test_another_model_has_no_embeddings(gateway):
    with pytest.raises(openai.NotFoundError):
        gateway.sdk.embeddings.create(model="text-embedding-3-small", input="a")


def test_documents_are_ranked_best_first(serve):
    def near(request):
        if request.model == "clip_image":
            return {"image_embeds": np.array([0.6, 0.8, 0, 0], np.float32)}
        return answers(request)

    gateway = serve(near)
    body = {"model": "clip", "query": "a", "documents": ["abcd", {"image": RED}, "a"]}
    ranked = gateway.http.post("/v1/rank", json=body).json()["results"]
    assert ranked == [
        {"index": 2, "relevance_score": 1.0},
        {"index": 1, "relevance_score": pytest.approx(0.8)},
        {"index": 0, "relevance_score": 0.0},
    ]
    best = gateway.http.post("/v1/rank", json={**body, "query": {"image": RED}, "top_n": 1}).json()["results"]
    assert [each["index"] for each in best] == [1]

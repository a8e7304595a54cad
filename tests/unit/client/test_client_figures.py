"""What the server tells beside an answer: likelihoods, figures of segments, tokens, and what it has."""

import json

import pytest

from tritone_client import Client, MockTransport

ANSWER = {"text_output": "Red.", "finish_reason": "stop", "prompt_tokens": 9, "completion_tokens": 2}
LIKELY = [{"token": "Red", "bytes": [82], "logprob": -0.5, "top_logprobs": []}]
TIMES = {"word": [], "word_start": [], "word_end": []}
HEARD = {
    **{"text": "你好。", "language": "zh", "duration": 1.5, **TIMES},
    **{"segment_start": [0.0], "segment_end": [1.5], "segment_text": ["你好。"], "segment_tokens": ["[1, 2]"]},
    **{"segment_seek": [50], "segment_temperature": [0.5], "segment_avg_logprob": [-0.25]},
    **{"segment_compression_ratio": [1.5], "segment_no_speech_prob": [0.125]},
}


def client_of(outputs):
    transport = MockTransport(lambda request: outputs)
    return Client(transport=transport), transport.requests


def test_an_answer_tells_how_likely_its_tokens_were_and_how_many_were_of_pictures():
    client, requests = client_of({**ANSWER, "image_tokens": 4, "logprobs_content": json.dumps(LIKELY)})
    answer = client.ask("?", logprobs=True, top_logprobs=0, response_format={"type": "json_object"})
    assert (answer.image_tokens, answer.logprobs) == (4, tuple(LIKELY))
    assert requests[0].inputs["logprobs"][0, 0]
    assert json.loads(requests[0].text("response_format")) == {"type": "json_object"}


def test_an_answer_without_them_has_none():
    client, _ = client_of({**ANSWER, "image_tokens": 0, "logprobs_content": ""})
    assert client.ask("?").logprobs == ()


def test_segments_have_the_figures_of_whisper():
    client, requests = client_of(HEARD)
    [segment] = client.transcribe(b"RIFF", temperature=0.5).segments
    assert (segment.text, segment.tokens, segment.seek, segment.temperature) == ("你好。", (1, 2), 50, 0.5)
    assert (segment.avg_logprob, segment.compression_ratio, segment.no_speech_prob) == (-0.25, 1.5, 0.125)
    assert requests[0].inputs["temperature"][0, 0] == 0.5


def test_texts_and_pictures_are_embedded_in_any_order_with_their_tokens():
    def handler(request):
        if request.model == "clip_image":
            return {"image_embeds": [0.0, 1.0]}
        return {"text_embeds": [1.0, 0.0], "token_count": 5, "truncated": request.text("text") == "long"}

    found = Client(transport=MockTransport(handler)).embed_each(["a", b"png", "long"])
    assert [each.vector.tolist() for each in found] == [[1, 0], [0, 1], [1, 0]]
    assert [(each.token_count, each.truncated) for each in found] == [(5, False), (0, False), (5, True)]


def test_the_catalog_is_read_as_it_is():
    facts = {"tts": {"voices": [{"name": "中文", "languages": ["zh"]}]}}
    client, requests = client_of({"catalog": json.dumps(facts)})
    assert client.catalog() == facts
    assert requests[0].text("model") == ""


@pytest.mark.parametrize("told", ["[", "5"])
def test_a_catalog_that_is_none_is_the_servers_fault(told):
    client, _ = client_of({"catalog": told})
    with pytest.raises(Exception, match="cannot be read"):
        client.catalog()

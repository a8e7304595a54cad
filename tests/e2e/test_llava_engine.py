"""LLaVA's engine behind the real server: its gauges, callers who leave, and a crowd of every kind of request."""

import io
import json
import queue
import re
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

import numpy as np
import pytest
import tritonclient.grpc

from tritone.vision.shapes import draw_scene, render
from tritone_client import Client, InvalidInput, Overloaded, RequestTimedOut

pytestmark = pytest.mark.e2e
QUESTION = "What color is the circle?"
# Found by search: with these seeds the tiny model repeats itself and never stops, without and with the picture; the
# first says a clause early. `test_an_endless_answer_is_endless` says when they must be searched for again.
ENDLESS = {"temperature": 2.0, "repetition_penalty": 0.4, "seed": 4, "max_tokens": 512}
ENDLESS_WITH_PICTURE = {**ENDLESS, "seed": 66}


@pytest.fixture(scope="module")
def client(server):
    with Client(server.grpc, retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def red():
    file = io.BytesIO()
    render(draw_scene(Random(1), pairs=[("red", "circle"), ("blue", "star")]), 128).save(file, "PNG")
    return file.getvalue()


def metrics(server):
    """The engine's numbers on the server's metrics page, of all instances together."""
    page = urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10).read().decode()
    numbers = Counter()
    for name, value in re.findall(r'^tritone_llava_(\w+)\{model="llava",[^}]*\} (\S+)$', page, re.MULTILINE):
        numbers[name] += float(value)
    return numbers


def wait_for(condition, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def idle(server):
    now = metrics(server)
    return now["slots_active"] == now["queued"] == 0


def test_an_endless_answer_is_endless(client, red):
    """What other tests take for granted when they leave in the middle."""
    assert client.ask("Tell me a story.", **ENDLESS).completion_tokens == ENDLESS["max_tokens"]
    assert client.ask("Tell me a story.", red, **ENDLESS_WITH_PICTURE).completion_tokens == ENDLESS["max_tokens"]


def test_a_client_that_disconnects_frees_its_slot(server, client):
    wait_for(lambda: idle(server))
    before = metrics(server)
    assert before["slots"] == 16
    for _ in range(3):
        with Client(server.grpc, retries=0) as leaver:
            stream = leaver.ask_stream("Tell me a story.", **ENDLESS)
            next(stream)
            stream.close()
    wait_for(lambda: metrics(server)["cancelled_total"] == before["cancelled_total"] + 3)
    wait_for(lambda: idle(server))
    assert metrics(server)["tokens_total"] - before["tokens_total"] < 3 * 512


def test_the_gauge_counts_answers_in_progress(server):
    with Client(server.grpc, retries=0) as client, ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(client.ask, "Tell me a story.", **ENDLESS) for _ in range(6)]
        seen = 0.0
        while not all(answer.done() for answer in answers):
            seen = max(seen, metrics(server)["slots_active"])
        assert seen >= 2
    wait_for(lambda: idle(server))


def test_two_hundred_mixed_requests_at_concurrency_16_are_all_answered(server, client, red):
    """Right, wrong, too long, cancelled, timed out: each gets its own answer or its own error.

    Long answers came before, so the door may expect such of these callers too; who is refused does as he is told.
    """
    alone = {
        question: client.ask(question, red).text for question in (QUESTION, "Describe the picture.", "图里有几个图形？")
    }
    sampled = client.ask("Tell me a story.", temperature=1.5, seed=7, max_tokens=40).text
    before = metrics(server)

    def right(number):
        question = list(alone)[number % 3]
        return client.ask(question, red).text == alone[question]

    def streamed(number):
        question = list(alone)[number % 3]
        return "".join(chunk.text for chunk in client.ask_stream(question, red, unit="clause")) == alone[question]

    def drawn(number):
        return client.ask("Tell me a story.", temperature=1.5, seed=7, max_tokens=40).text == sampled

    def invalid(number):
        bad = [{"image": b"no picture"}, {"max_tokens": 0}, {"adapter": "nobody"}, {"top_k": -1}, {"stop": [""]}]
        with pytest.raises(InvalidInput):
            client.ask("What?", **bad[number % len(bad)])
        return True

    def too_long(number):
        with pytest.raises(InvalidInput, match=r"exceed the 1024|the limit is 16000"):
            client.ask(("x " * 900, "x" * 17_000)[number % 2])
        return True

    def cancelled(number):
        stream = client.ask_stream("Tell me a story.", red, **ENDLESS_WITH_PICTURE)
        next(stream)
        stream.close()
        return True

    def timed_out(number):
        with pytest.raises(RequestTimedOut):
            client.ask("Tell me a story.", red, timeout_s=0.15, **ENDLESS_WITH_PICTURE)
        return True

    kinds = [right, streamed, right, drawn, invalid, right, too_long, cancelled, streamed, timed_out]

    def patient(number):
        while True:
            try:
                return kinds[number % len(kinds)](number)
            except Overloaded as refusal:
                time.sleep(refusal.retry_after_s or 0.1)

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(patient, range(200)))
    assert results == [True] * 200
    wait_for(lambda: idle(server))
    after = metrics(server)
    assert after["failed_total"] == before["failed_total"] == 0
    assert after["finished_total"] - before["finished_total"] >= 120
    assert client.ask(QUESTION, red).text == alone[QUESTION]


def infer(server, model, types, **inputs):
    """All responses of a model, each output's one value by name."""
    asked = []
    for name, value in inputs.items():
        array = np.array([[value]], {"BOOL": bool, "INT32": np.int32}.get(types.get(name), object))
        asked.append(tritonclient.grpc.InferInput(name, [1, 1], types.get(name, "BYTES")))
        asked[-1].set_data_from_numpy(array)
    found = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: found.put(error or result))
        client.async_stream_infer(model, asked, enable_empty_final_response=True)
        while True:
            result = found.get(timeout=30)
            if isinstance(result, Exception):
                raise result
            response = result.get_response()
            if response.outputs:
                yield {each.name: result.as_numpy(each.name)[0] for each in response.outputs}
            if response.parameters["triton_final_response"].bool_param:
                return


def test_answers_in_json_with_log_probabilities_by_every_door(server, red):
    schema = {"enum": ["The circle is blue.", "The circle is red.", "圆形是红色的。"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    asked = {"text_input": QUESTION.encode(), "image_bytes": red, "response_format": json.dumps(wanted).encode()}
    types = {"logprobs": "BOOL", "top_logprobs": "INT32"}
    for model in ("llava", "llava_answer"):
        responses = list(infer(server, model, types, **asked, logprobs=True, top_logprobs=3))
        text = "".join(response["text_output"][0].decode() for response in responses)
        assert json.loads(text) == "The circle is red."
        told = [token for response in responses for token in json.loads(response["logprobs_content"][0])]
        assert b"".join(bytes(token["bytes"]) for token in told).decode() == text
        assert responses[-1]["image_tokens"][0] == 64
    aloud = list(infer(server, "voice_assistant_stream", types, **asked))
    assert json.loads("".join(row["text_output"][0].decode() for row in aloud)) == "The circle is red."


def test_caption_and_chat(client, red):
    assert "red circle" in client.caption(red)
    assert "红色" in client.caption(red, language="zh")
    chat = client.chat()
    assert "red" in chat.ask(QUESTION, red).text
    assert "blue" in "".join(chunk.text for chunk in chat.ask_stream("What color is the star?"))
    assert len(chat.messages) == 4


def test_options_reach_the_model_through_its_unary_face(client, red):
    whole = client.ask("Describe the picture.", red)
    cut = client.ask("Describe the picture.", red, stop=[whole.text[8:14]])
    assert (cut.text, cut.finish_reason) == (whole.text[:8], "stop")
    with pytest.raises(InvalidInput, match="adapters of this server are: none"):
        client.converse(text="Hello.", adapter="nobody")

"""What is sent again, how often, and until when; several addresses."""

import threading
import time

import pytest
import tenacity
from fake_triton import PATIENCE_S

from tritone_client import (
    Error,
    InferenceFailed,
    InvalidInput,
    ModelNotReady,
    Overloaded,
    RequestTimedOut,
    ServerUnavailable,
)
from tritone_client.transports import retrying
from tritone_client.transports.retrying import Budget

FULL = "UNAVAILABLE: model 'llava' has 64 requests in flight, its limit"


@pytest.fixture
def at_once(monkeypatch):
    """Without the waits that nobody asked for."""
    monkeypatch.setattr(retrying, "_backoff", tenacity.wait_none())


def ask(client, question, **options):
    return client.ask(question, **options).text


def ask_stream(client, question, **options):
    return "".join(chunk.text for chunk in client.ask_stream(question, **options))


@pytest.fixture(params=[ask, ask_stream], ids=["unary", "stream"])
def asked(request):
    return request.param


@pytest.mark.usefixtures("at_once")
def test_what_was_refused_is_sent_again_until_it_goes_through(connect, triton, asked):
    triton.refusals = [FULL, f"{FULL}; try again in 0.1 s"]
    assert asked(connect(triton.url), "你好", request_id="number 4") in ("你好", "one two")
    assert triton.ids == ["number 4"] * 3


@pytest.mark.usefixtures("at_once")
def test_the_last_refusal_is_the_callers(connect, triton, asked):
    triton.refusals = [FULL] * 5
    with pytest.raises(Overloaded, match="its limit"):
        asked(connect(triton.url, retries=3), "Hello")
    assert len(triton.requests) == 4


def test_nothing_is_sent_again_where_nobody_wants_it(connect, triton, asked):
    triton.refusals = [FULL]
    with pytest.raises(Overloaded):
        asked(connect(triton.url, retries=0), "Hello")
    assert len(triton.requests) == 1


@pytest.mark.usefixtures("at_once")
def test_the_server_says_how_long_to_wait(connect, triton, asked):
    triton.refusals = [f"{FULL}; try again in 0.5 s"]
    start = time.monotonic()
    asked(connect(triton.url), "Hello")
    assert time.monotonic() - start >= 0.5


def test_who_may_not_wait_that_long_is_told_at_once(connect, triton, asked):
    triton.refusals = [f"{FULL}; try again in 30 s"]
    with pytest.raises(Overloaded, match="try again in 30 s"):
        asked(connect(triton.url, timeout_s=20), "Hello")
    assert len(triton.requests) == 1


@pytest.mark.usefixtures("at_once")
def test_all_tries_have_one_deadline(connect, triton, asked):
    triton.refusals = [f"{FULL}; try again in 0.5 s"]
    with pytest.raises(RequestTimedOut):
        asked(connect(triton.url), "wait", timeout_s=1.5)
    first, second = triton.timeouts
    assert first == 1_500_000
    assert second <= 1_000_000


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("INTERNAL: model 'llava' failed (ValueError); the server's log says where", InferenceFailed),
        ("INTERNAL: Stub process 'llava_0_0' is not healthy.", ModelNotReady),  # perhaps this very request killed it
        ("UNAVAILABLE: Request for unknown model: 'llava' is not found", ModelNotReady),
        ("UNAVAILABLE: Socket closed", ServerUnavailable),  # nobody knows whether it was done
        ("INVALID_ARGUMENT: max_tokens is 0, must be 1 to 512", InvalidInput),
    ],
)
def test_what_may_have_begun_or_cannot_succeed_is_not_sent_again(connect, triton, asked, sentence, kind):
    triton.refusals = [sentence] * 2
    with pytest.raises(Error) as caught:
        asked(connect(triton.url), "Hello")
    assert type(caught.value) is kind
    assert len(triton.requests) == 1


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "sentence",
    [
        "UNAVAILABLE: Request for unknown model: 'llava' version 1 is not at ready state",
        "UNAVAILABLE: model 'llava' is being restarted and is not ready; try again in 0.1 s",
    ],
)
def test_a_model_that_will_be_ready_is_asked_again(connect, triton, asked, sentence):
    triton.refusals = [sentence]
    assert asked(connect(triton.url), "Hello") in ("Hello", "one two")


def test_a_stream_is_not_asked_for_again_behind_its_first_part(connect, triton):
    chunks = connect(triton.url).ask_stream(FULL)
    assert next(chunks).text == "one "
    with pytest.raises(Overloaded):
        next(chunks)
    assert len(triton.requests) == 1


def test_a_request_that_reached_nobody_is_sent_again(connect, triton, serving, asked):
    port = int(triton.url.split(":")[-1])
    serving.stop(triton)
    with pytest.raises(ServerUnavailable) as caught:
        asked(connect(triton.url, retries=0), "Hello")
    assert not caught.value.was_sent
    starting = threading.Timer(0.3, lambda: serving(port=port))
    starting.start()
    assert asked(connect(triton.url, retries=20), "Hello") in ("Hello", "one two")
    starting.join()


def test_a_server_that_refuses_nearly_all_gets_no_more_of_it():
    budget = Budget(tokens=10, ratio=0.1)
    assert [budget.take() for _ in range(6)] == [True] * 4 + [False] * 2  # 10 tokens, and more than half must be left
    for _ in range(30):  # three tokens
        budget.give()
    assert budget.take()
    assert not budget.take()


@pytest.mark.usefixtures("at_once")
def test_the_budget_is_the_whole_clients(connect, triton):
    triton.refusals = [FULL] * 1000
    client = connect(triton.url, retries=10)
    for _ in range(20):
        with pytest.raises(Overloaded):
            client.ask("Hello")
    # Of 100 tokens more than half must be left: 4 calls with all tries, 1 with 6, and 15 with one; without, 220.
    assert len(triton.requests) == 4 * 11 + 6 + 15


@pytest.mark.parametrize("retries", [-1, 1.5, True])
def test_a_number_of_retries_that_is_none_is_refused(connect, retries):
    with pytest.raises(InvalidInput, match=f"retries is {retries}"):
        connect("localhost:8001", retries=retries)


def test_several_addresses_are_asked_in_turn(connect, triton, fellow, asked):
    client = connect([triton.url, fellow.url])
    for number in range(10):
        asked(client, str(number))
    assert (len(triton.requests), len(fellow.requests)) == (5, 5)


def test_an_address_that_is_gone_is_passed_over(connect, triton, fellow, serving, asked):
    client = connect([triton.url, fellow.url], retries=0)
    assert client.is_ready()
    serving.stop(fellow)
    for number in range(6):
        assert asked(client, str(number)) in (str(number), "one two")
    assert len(triton.requests) == 6
    assert client.is_ready()
    assert client.is_ready("llava")
    serving.stop(triton)
    with pytest.raises(ServerUnavailable, match="no answer from"):
        asked(client, "Hello")
    assert not client.is_ready()


def test_closing_a_stream_cancels_it_also_where_addresses_take_turns(connect, triton, fellow):
    chunks = connect([triton.url, fellow.url]).ask_stream("wait")
    next(chunks)
    assert triton.busy.wait(PATIENCE_S)
    chunks.close()
    assert triton.left.wait(PATIENCE_S)

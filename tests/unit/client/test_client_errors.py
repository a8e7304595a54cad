"""What the server says went wrong, as the client's errors: by status, by sentence, in streams."""

import re

import grpc
import httpx
import pytest

import tritone_client
from tritone_client import (
    Cancelled,
    Error,
    InferenceFailed,
    InvalidInput,
    ModelNotReady,
    NotServed,
    Overloaded,
    RequestTimedOut,
    ServerUnavailable,
)
from tritone_client.transports.errors import map_bare_error, map_error


@pytest.mark.parametrize(
    ("status", "sentence", "kind"),
    [
        ("INVALID_ARGUMENT", "max_tokens is 0, must be 1 to 512", InvalidInput),
        ("NOT_FOUND", "Request for unknown model: 'llava_answer' is not found", ModelNotReady),
        ("UNAVAILABLE", "'llava_answer' version 1 is not at ready state", ModelNotReady),
        ("INTERNAL", "Stub process 'llava_answer_0_0' is not healthy.", ModelNotReady),
        ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped accepting new requests", ModelNotReady),
        ("UNAVAILABLE", "model 'llava' has 64 requests in flight, its limit; try again in 1.5 s", Overloaded),
        ("UNAVAILABLE", "Exceeds maximum queue size", Overloaded),
        ("UNAVAILABLE", "Request timeout expired", RequestTimedOut),
        ("UNAVAILABLE", "the request's deadline of 0.2 s has passed", RequestTimedOut),
        ("UNAVAILABLE", "no healthy upstream", ServerUnavailable),
        ("UNAVAILABLE", "This protocol is restricted, expecting header 'triton-grpc-protocol-key'", NotServed),
        ("UNIMPLEMENTED", "this checkpoint speaks English only", NotServed),
        ("INTERNAL", "model 'llava' failed (ValueError); the server's log says where", InferenceFailed),
        ("CANCELLED", "the request was cancelled", Cancelled),
    ],
)
def test_the_servers_status_becomes_our_error_with_its_sentence(client, status, sentence, kind):
    for ask in (lambda **k: client.ask(**k), lambda **k: list(client.ask_stream(**k))):
        with pytest.raises(Error) as caught:
            ask(question=f"{status}: {sentence}", request_id="number 2")
        assert type(caught.value) is kind
        assert str(caught.value).removeprefix(f"no answer from {client.url}: ") == sentence
        assert caught.value.request_id == "number 2"
        assert caught.value.model in ("llava", "llava_answer")


@pytest.mark.parametrize(
    ("status", "sentence", "kind"),
    [
        ("RESOURCE_EXHAUSTED", "too many requests", Overloaded),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)", InvalidInput),
        # The sentence of an error was longer than gRPC's headers may be: what went wrong is not known.
        ("RESOURCE_EXHAUSTED", "received metadata size exceeds hard limit (20000 vs. 16384)", InferenceFailed),
        ("PERMISSION_DENIED", "closed", NotServed),
    ],
)
def test_grpcs_own_status_becomes_our_error(client, status, sentence, kind):
    with pytest.raises(Error, match=re.escape(sentence)) as caught:
        client.ask(f"{status}: {sentence}")
    assert type(caught.value) is kind


def test_a_call_that_breaks_under_a_stream_is_no_error_of_the_model(client):
    with pytest.raises(ServerUnavailable, match=r"no answer from .*: (Socket|peer) closed") as caught:
        list(client.ask_stream("the call: Socket closed"))
    assert isinstance(caught.value.__cause__, (grpc.RpcError, httpx.TransportError))


def test_an_error_inside_a_stream_comes_after_what_was_answered(client):
    chunks = client.ask_stream("INTERNAL: something broke", request_id="number 3")
    assert next(chunks).text == "one "
    with pytest.raises(InferenceFailed, match="something broke") as caught:
        next(chunks)
    assert (caught.value.model, caught.value.request_id) == ("llava", "number 3")


# Sentences of server 2.51's core, as it wrote them into streams.
@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("Request for unknown model: 'nope' is not found", ModelNotReady),
        ("Request for unknown model: 'llava' has no available versions", ModelNotReady),
        ("Request for unknown model: 'llava' version 1 is not at ready state", ModelNotReady),
        ("Stub process 'llava_0_0' is not healthy.", ModelNotReady),
        ("Server is stopping, scheduler for model has stopped accepting new inference requests", ModelNotReady),
        (
            "[request id: t] expected number of inputs between 1 and 12 but got 0 inputs for model 'llava'. Got "
            "input(s) [], but missing required input(s) ['text_input']. Please provide all required input(s).",
            InvalidInput,
        ),
        ("unexpected inference input 'zzz' for model 'llava'", InvalidInput),
        ("unexpected inference output 'zzz' for model 'llava'", InvalidInput),
        (
            "[request id: t] inference input 'text_input' data-type is 'INT32', but model 'llava' expects 'BYTES'",
            InvalidInput,
        ),
        (
            "[request id: t] unexpected shape for input 'text_input' for model 'llava'. Expected [-1,1], got [1,2]. "
            "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension",
            InvalidInput,
        ),
        ("[request id: t] inference request batch-size must be <= 1 for 'llava'", InvalidInput),
        (
            "[request id: t] input byte size mismatch for input 'max_tokens' for model 'llava'. Expected 4, got 3",
            InvalidInput,
        ),
        (
            "incomplete string data for inference input 'text_input', expecting string of length 9 but only 2 bytes "
            "available",
            InvalidInput,
        ),
        (
            "[request id: t] expected 1 string elements for inference input 'text_input' for model 'llava', got 0",
            InvalidInput,
        ),
        ("unable to find data for input tensor 'text_input' for model 'llava' in request.", InvalidInput),
        (
            "failed to get model version from specified version string 'x' (details: stol), version should be an "
            "integral value > 0",
            InvalidInput,
        ),
        ("invalid value type for 'timeout' parameter, expected int64_param.", InvalidInput),
        (
            "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter for tensor 'x'",
            InvalidInput,
        ),
        ("Exceeds maximum queue size", Overloaded),
        ("model 'llava' already has 64 requests in flight, its limit; try again in 0.4 s", Overloaded),
        ("This protocol is restricted, expecting header 'triton-grpc-protocol-key'", NotServed),
        ("the request was cancelled", Cancelled),
        ("max_tokens is 0, must be 1 to 512", InferenceFailed),  # a model that does not know `status`: not to be told
    ],
)
def test_a_bare_sentence_inside_a_stream_is_told_by_its_words(client, triton, sentence, kind):
    triton.codes = False
    with pytest.raises(Error) as caught:
        list(client.ask_stream(f"INTERNAL: {sentence}"))
    assert type(caught.value) is kind
    assert str(caught.value) == sentence


def test_the_status_stands_before_the_sentence_also_inside_an_ensemble():
    message = "in ensemble 'assistant', INVALID_ARG: voice is 'nobody'\nthe voices are: joe"
    assert map_bare_error(message) == (InvalidInput, "in ensemble 'assistant', voice is 'nobody'\nthe voices are: joe")


def test_a_sentence_that_only_begins_like_a_status_is_left_whole():
    assert map_bare_error("UNHEARD_OF: words") == (InferenceFailed, "UNHEARD_OF: words")


@pytest.mark.parametrize(
    ("sentence", "kind", "after"),
    [
        ("model 'llava' already has 64 requests in flight, its limit; try again in 1.5 s", Overloaded, 1.5),
        ("model 'llava' is being restarted and is not ready; try again in 20.0 s", ModelNotReady, 20.0),
        ("Exceeds maximum queue size", Overloaded, None),
        ("Request for unknown model: 'llava' is not at ready state", ModelNotReady, None),
    ],
)
def test_a_refusal_says_when_to_try_again(client, sentence, kind, after):
    for ask in (lambda question: client.ask(question), lambda question: list(client.ask_stream(question))):
        with pytest.raises(kind) as caught:
            ask(f"UNAVAILABLE: {sentence}")
        assert caught.value.retry_after_s == after


def test_every_grpc_status_has_an_error():
    kinds = {code: map_error(code.name, "")[0] for code in grpc.StatusCode if code is not grpc.StatusCode.OK}
    assert all(issubclass(kind, Error) and kind is not Error for kind in kinds.values())


def test_every_error_of_the_tree_can_happen():
    tree = {value for value in vars(tritone_client).values() if isinstance(value, type) and issubclass(value, Error)}
    happening = {map_error(code.name, "")[0] for code in grpc.StatusCode if code is not grpc.StatusCode.OK}
    assert tree - {Error} == happening | {ServerUnavailable}

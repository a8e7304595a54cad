"""Promises of the server with its own models (docs/promises.md): killed processes, callers who leave, strangers."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc
from e2e import throwaway
from e2e.test_llava_engine import ENDLESS, idle, metrics, wait_for
from tritonclient.utils import InferenceServerException

from tritone_client import Client, Error, ModelNotReady, Overloaded, RequestTimedOut

pytestmark = pytest.mark.e2e
# The bound is 15 s and the time of loading, which is a fifth of this on a quiet machine.
BACK_WITHIN_S = 90
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def client(server):
    with Client(server.grpc, timeout_s=PATIENCE_S, retries=0) as client:
        yield client


def outcome(call):
    """The answer, or the error."""
    try:
        return call()
    except Error as error:
        return error


def kill(server, *models):
    for model in models:
        for stub in throwaway.stubs(server.process, model):
            stub.kill()


def back(call, right):
    """Wait until a call is answered rightly."""
    wait_for(lambda: right(outcome(call)), within_s=BACK_WITHIN_S)


def draw(client, steps=20):
    return client.generate_image("a red circle", num_inference_steps=steps, seed=3).image.pixels


def test_a_killed_face_does_not_freeze_the_model_it_was_asking(server, client):
    """The worst fault seen: its child waited for ever to send to it, and nobody got a picture any more."""
    expected = draw(client)

    def is_right(answer):
        return not isinstance(answer, Error) and np.array_equal(answer, expected)

    with ThreadPoolExecutor(3) as pool, Client(server.grpc, timeout_s=20, retries=0) as users:
        drawing = [pool.submit(outcome, lambda: draw(users, steps=100)) for _ in range(3)]
        time.sleep(1.5)
        kill(server, "text_to_image")
        # Triton leaves these without an owner; what ends them is their own deadline.
        silent = [future.result() for future in drawing]
    assert all(isinstance(answer, Error) for answer in silent)
    back(lambda: draw(client), is_right)
    pictures = list(client.generate_image_stream("a red circle", num_inference_steps=20, seed=3))[-1]
    assert np.array_equal(pictures.image.pixels, expected)


def test_callers_of_a_face_hear_at_once_that_its_model_was_killed_and_when_to_try_again(server, client):
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(outcome, lambda: client.ask("Tell me a story.", **ENDLESS)) for _ in range(4)]
        wait_for(lambda: metrics(server)["slots_active"] >= 2)
        started = time.monotonic()
        kill(server, "llava")
        answers = [future.result() for future in asked]
    told = [answer for answer in answers if isinstance(answer, Error)]
    assert told
    assert not any(isinstance(answer, RequestTimedOut) for answer in told), told
    assert all(isinstance(answer, (Overloaded, ModelNotReady)) and "try again in" in str(answer) for answer in told)
    assert time.monotonic() - started < PATIENCE_S
    back(lambda: client.ask("Hello.", max_tokens=5), lambda answer: not isinstance(answer, Error))


def test_four_killed_at_once_are_all_back(server, client):
    kill(server, "whisper", "tts", "clip_text_encoder", "sd_unet")
    back(lambda: client.speak("One."), lambda answer: not isinstance(answer, Error))
    back(lambda: np.asarray(client.embed_text("a red circle")).shape, lambda answer: not isinstance(answer, Error))
    back(lambda: draw(client), lambda answer: not isinstance(answer, Error))
    spoken = client.speak("The circle is red.")
    back(lambda: client.transcribe(spoken.wav).text, lambda answer: "circle is red" in str(answer))


def test_nobody_computes_for_a_caller_who_left_the_unary_face(server):
    """Before its child's first response, which for a face is the whole answer."""
    wait_for(lambda: idle(server))
    before = metrics(server)
    with Client(server.grpc, timeout_s=0.4, retries=0) as leaver, pytest.raises(RequestTimedOut):
        leaver.ask("Tell me a story.", **ENDLESS)
    wait_for(lambda: idle(server))
    after = metrics(server)
    assert after["tokens_total"] - before["tokens_total"] < ENDLESS["max_tokens"] / 2
    assert after["finished_total"] == before["finished_total"]


def test_a_crowd_that_leaves_at_once_frees_everything(server, client):
    with ThreadPoolExecutor(60) as pool, Client(server.grpc, timeout_s=1.5, retries=0) as leavers:
        gone = list(pool.map(lambda _: outcome(lambda: leavers.ask("Tell me a story.", **ENDLESS)), range(60)))
    assert any(isinstance(answer, RequestTimedOut) for answer in gone)
    wait_for(lambda: idle(server), within_s=15)
    assert client.ask("Hello.", max_tokens=5).text


@pytest.mark.parametrize(
    ("model", "name", "shape"),
    [("sd_vae_decoder", "latents", (1, 4, 64, 64)), ("whisper", "input_features", (1, 80, 3000))],
)
def test_networks_are_for_the_pipelines_alone(server, model, name, shape):
    with tritonclient.grpc.InferenceServerClient(server.grpc) as raw:
        tensor = tritonclient.grpc.InferInput(name, shape, "FP32")
        tensor.set_data_from_numpy(np.zeros(shape, np.float32))
        with pytest.raises(InferenceServerException, match="for this server's own pipelines alone"):
            raw.infer(model, [tensor], client_timeout=30, parameters={"token": "a guess"})


def test_a_stranger_cannot_cancel_anothers_request_by_its_id(server, client):
    with ThreadPoolExecutor(1) as pool:
        victim = pool.submit(client.ask, "Tell me a story.", **{**ENDLESS, "max_tokens": 60}, request_id="mine")
        with tritonclient.grpc.InferenceServerClient(server.grpc) as raw:
            tensor = tritonclient.grpc.InferInput("text_input", [1, 1], "BYTES")
            tensor.set_data_from_numpy(np.array([[b"Hi."]], np.object_))
            for _ in range(5):
                raw.infer("llava_answer", [tensor], client_timeout=30, parameters={"cancel": "mine"})
        assert victim.result().finish_reason == "length"

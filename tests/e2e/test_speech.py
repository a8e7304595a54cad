"""Speech on the real server: streamed, interrupted, and in a language that only the second voice speaks."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import numpy as np
import pytest
import tritonclient.grpc
from e2e.test_assistant import BAD_SOUNDS, QUESTION, words
from e2e.test_llava_engine import ENDLESS, idle, metrics, wait_for

from tritone.vision.shapes import draw_scene, render
from tritone_client import InvalidInput, heard

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def picture() -> bytes:
    file = io.BytesIO()
    render(draw_scene(Random(1), pairs=[("red", "circle"), ("blue", "star")]), 256).save(file, "PNG")
    return file.getvalue()


def test_a_turn_is_streamed_in_order_and_says_what_the_unary_assistant_says(client, picture):
    question = client.speak(QUESTION).wav
    chunks = list(client.converse_stream(question, picture))
    assert words(chunks[0].transcript) == words(QUESTION)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    text = "".join(chunk.text for chunk in chunks)
    assert text == client.converse(question, picture).text
    sound = np.concatenate([chunk.speech.audio for chunk in chunks if chunk.speech])
    assert words(client.transcribe(sound, sampling_rate=22_050).text) == words(text)
    times = [time for chunk in chunks if chunk.speech for word in chunk.speech.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1] <= len(sound) / 22_050
    assert heard(chunks, times[1]) == text.split()[0]


@pytest.fixture
def spoken(server):
    """How many requests `tts` has had so far: clauses to speak, and those that take a clause back."""
    triton = tritonclient.grpc.InferenceServerClient(server.grpc)

    def count() -> int:
        [model] = triton.get_inference_statistics("tts").model_stats
        return model.inference_stats.success.count

    return count


def test_an_interrupted_answer_stops_within_a_clause_and_the_next_is_answered(client, picture, spoken):
    chunks = client.converse_stream(text="Describe the picture.", image=picture, max_tokens=200)
    next(chunk for chunk in chunks if chunk.speech)
    chunks.close()
    at_close = spoken()
    assert "red" in client.ask("What color is the circle?", picture).text
    time.sleep(3)
    assert spoken() - at_close <= 3


def test_an_interrupted_answer_leaves_the_engine_idle(server, client):
    wait_for(lambda: idle(server))
    before = metrics(server)
    # Not aloud: while its first clause is spoken, the tiny model thinks its whole answer.
    chunks = client.converse_stream(text="Tell me a story.", aloud=False, **ENDLESS)
    assert next(chunk for chunk in chunks if chunk.text).finish_reason is None
    chunks.close()
    wait_for(lambda: idle(server), within_s=3)  # a second, and slack for a busy machine
    wait_for(lambda: metrics(server)["cancelled_total"] == before["cancelled_total"] + 1)
    assert metrics(server)["finished_total"] == before["finished_total"]
    assert metrics(server)["tokens_total"] - before["tokens_total"] < ENDLESS["max_tokens"]


def test_an_interrupted_speech_stops_within_a_clause(client, spoken):
    text = " ".join(f"This is sentence number {number}." for number in range(30))
    before = spoken()
    chunks = client.speak_stream(text)
    next(chunks)
    chunks.close()
    time.sleep(3)
    stopped = spoken()
    assert stopped - before <= 6  # of 30: the first, what was under way, and what took that back
    time.sleep(1)
    assert spoken() <= stopped + 1  # the watchdog's canary is one


def test_a_chinese_answer_is_heard(client, picture):
    reply = client.converse(text="图里有几个图形？", image=picture)
    assert reply.text
    assert reply.speech_error == ""
    assert reply.speech.duration > 0.5
    assert "".join(word.text for word in reply.speech.words) == reply.text
    assert client.speak(reply.text).voice == "espeak-ng"


def test_a_text_answer_arrives_without_sound(client):
    chunks = list(client.converse_stream(text="Hello!", aloud=False))
    assert "hello" in words("".join(chunk.text for chunk in chunks))
    assert all(chunk.speech is None for chunk in chunks)


def test_a_long_text_is_spoken_in_order(client):
    text = "One is first. Two is second. Three is third."
    chunks = list(client.speak_stream(text))
    assert [chunk.text for chunk in chunks] == ["One is first.", "Two is second.", "Three is third."]
    whole = client.speak(text, response_format="opus")
    assert whole.encoded.startswith(b"OggS")
    np.testing.assert_array_equal(np.concatenate([chunk.speech.audio for chunk in chunks]), whole.audio)


@pytest.mark.parametrize(
    ("manner", "said"), [({"speed": 9.0}, "speed is 9, it must be"), ({"voice": "nobody"}, "'nobody' is unknown")]
)
def test_a_manner_of_speaking_that_there_is_not_is_refused_before_anything_is_thought(client, manner, said):
    with pytest.raises(InvalidInput, match=said):
        list(client.converse_stream(text="Hi.", **manner))


def test_a_bad_question_is_refused(client):
    with pytest.raises(InvalidInput, match="audio_bytes"):
        list(client.converse_stream(b"no sound"))


def test_a_recording_is_aligned_with_its_text(client):
    text = "The circle is red, and there are 25 stars."
    speech = client.speak(text)
    alignment = client.align(speech.wav, text)
    assert " ".join(word.text for word in alignment.words) == text
    assert alignment.matches
    errors = [abs(a.start - b.start) for a, b in zip(alignment.words, speech.words, strict=True)]
    assert np.median(errors) < 0.05
    assert not client.align(speech.wav, "Somebody says that nothing is here").matches
    assert client.align(client.speak("Hi.").wav, "Hi.").duration == pytest.approx(
        client.speak("Hi.").duration, abs=0.05
    )


@pytest.mark.parametrize("name", ["empty", "NaN"])
def test_a_bad_sound_or_text_cannot_be_aligned_and_harms_no_neighbour(client, name):
    sound, sentence = BAD_SOUNDS[name]
    good = client.speak("Good morning.").wav
    with ThreadPoolExecutor(3) as pool:
        neighbour = pool.submit(client.align, good, "Good morning.")
        bad_sound, bad_text = pool.submit(client.align, sound, "Hello."), pool.submit(client.align, good, "?!")
        with pytest.raises(InvalidInput, match=sentence):
            bad_sound.result()
        with pytest.raises(InvalidInput, match="no letter"):
            bad_text.result()
        assert [word.text for word in neighbour.result().words] == ["Good", "morning."]

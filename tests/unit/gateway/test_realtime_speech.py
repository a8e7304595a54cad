"""/v1/realtime: a microphone, turns, interruptions, and what was heard of an answer; a mock of the server behind."""

import base64
import json
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from mock_tritone import answers, heard, reply, tone
from realtime_caller import calling, kinds

from tritone_client import InferenceFailed
from tritone_gateway.realtime import sound

SPEECH = Path(__file__).parents[3] / "docs" / "demo_answer.wav"  # "The circle is red.", 1.2 s
SILENCE = bytes(48_000)  # 1 s
NO_TURNS = {"input": {"turn_detection": None}}
WHISPER = {"model": "whisper-1"}


@pytest.fixture(scope="module")
def speech():
    """PCM at 24 kHz."""
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    return (soxr.resample(samples, rate, 24_000) * 32767).astype("<i2").tobytes()


@pytest.fixture
def start(serve):
    """`start(handler, **settings)` is a session that has begun, and the gateway that it is one of."""
    opened = []

    def begin(handler=answers, **settings):
        gateway = serve(handler, **settings)
        session = calling(gateway.url)
        caller = session.__enter__()
        opened.append(session)
        caller.next()
        return caller, gateway

    yield begin
    for session in opened:
        session.__exit__(None, None, None)


def clauses(*texts, seconds=1.0):
    """An answer whose words take equally long; every letter is a word where it is Chinese."""
    begin, rows = 0.0, [reply(0, "")]
    for number, text in enumerate(texts, 1):
        words = text.split() if " " in text else list(text)
        step = seconds / len(words)
        starts = [begin + step * place for place in range(len(words))]
        row = reply(number, text, "stop" if number == len(texts) else "")
        times = {"word": words, "word_start": starts, "word_end": [start + step for start in starts]}
        rows.append(row | times | {"audio": tone(seconds)})
        begin += seconds
    rows[0] |= {"audio": np.zeros(0, np.float32), "word": [], "word_start": [], "word_end": []}
    return rows


def saying(rows):
    return lambda request: rows if request.model == "voice_assistant_stream" else answers(request)


def sound_of(events):
    return b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")


def pitch(samples, rate):
    return float(np.argmax(np.abs(np.fft.rfft(samples.astype(float)))) * rate / len(samples))


def test_speech_is_found_committed_understood_and_answered(start, speech):
    caller, gateway = start()
    caller.speak(SILENCE + speech + SILENCE)
    events = caller.until("response.done")
    names = kinds(events)
    assert names[:5] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    begun, ended, committed, added = events[:4]
    assert len({begun["item_id"], ended["item_id"], committed["item_id"], added["item"]["id"]}) == 1
    assert begun["audio_start_ms"] == pytest.approx(1000 - 300 + 60, abs=150)
    assert ended["audio_end_ms"] == pytest.approx(1000 + 1230 + 500, abs=250)
    assert gateway.asked.text("text_input") == heard()["text"]
    item = caller.retrieve(committed["item_id"])
    assert item["content"][0]["transcript"] == heard()["text"]
    kept = len(base64.b64decode(item["content"][0]["audio"])) / 48
    assert kept == pytest.approx(ended["audio_end_ms"] - begun["audio_start_ms"], abs=2)


def test_silence_is_no_turn_and_hardly_any_of_it_is_kept(start):
    caller, _ = start()
    caller.speak(SILENCE * 5)
    caller.send("input_audio_buffer.commit")
    item = caller.until("conversation.item.done")[-1]["item"]["id"]
    assert kinds(caller.seen)[1:] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert len(base64.b64decode(caller.retrieve(item)["content"][0]["audio"])) / 48 < 450


def test_without_turn_detection_the_caller_commits_and_asks(start, speech):
    caller, gateway = start()
    caller.update(audio=NO_TURNS)
    caller.speak(speech)
    assert caller.told("input_audio_buffer.clear")["type"] == "input_audio_buffer.cleared"
    assert caller.told("input_audio_buffer.commit")["error"]["code"] == "input_audio_buffer_commit_empty"
    caller.speak(speech)
    caller.send("input_audio_buffer.commit")
    events = caller.until("conversation.item.done")
    assert events[0]["previous_item_id"] is None
    assert [request.model for request in gateway.transport.requests].count("voice_assistant_stream") == 0
    caller.answer()
    assert gateway.asked.text("text_input") == heard()["text"]


def test_a_buffer_has_an_end(start):
    caller, _ = start(realtime={"max_buffer_s": 2})
    caller.update(audio=NO_TURNS)
    caller.speak(SILENCE * 3, piece=48_000)
    said = caller.next()["error"]
    assert said["code"] == "input_audio_buffer_full"
    assert "3.0 s of sound, the limit is 2" in said["message"]


def test_words_come_while_they_are_said_and_are_told_once(start, speech):
    """Each version has a word more; the whole is what was told."""
    words = ["The", "circle", "is", "red", "and", "the", "square", "is", "blue."]
    versions = iter(range(3, 99))

    def handler(request):
        if request.model != "transcribe":
            return answers(request)
        return heard(" ".join(words[: next(versions)]))

    caller, _ = start(handler, realtime={"partial_s": 0.1})
    caller.update(audio={"input": {"transcription": WHISPER | {"language": "en", "prompt": "Shapes."}}})
    for place in range(0, len(speech), 4800):
        caller.speak(speech[place : place + 4800])
        time.sleep(0.05)
    caller.speak(SILENCE)
    events = caller.until("conversation.item.input_audio_transcription.completed")
    name = "conversation.item.input_audio_transcription.delta"
    deltas = [event["delta"] for event in events if event["type"] == name]
    assert len(deltas) >= 2
    stopped = kinds(events).index("input_audio_buffer.speech_stopped")
    assert name in kinds(events)[:stopped]
    assert "".join(deltas) == events[-1]["transcript"]
    assert events[-1]["usage"]["type"] == "duration"


def test_speech_that_cannot_be_heard_is_told_and_the_session_lives_on(start, speech):
    def handler(request):
        if request.model == "transcribe":
            raise InferenceFailed("the ear is broken")
        return answers(request)

    caller, _ = start(handler)
    caller.update(audio={"input": {"transcription": WHISPER}})
    caller.speak(speech + SILENCE)
    events = caller.until("response.done")
    [failed] = [e for e in events if e["type"] == "conversation.item.input_audio_transcription.failed"]
    assert failed["error"]["message"] == "the ear is broken"
    assert events[-1]["response"]["status"] == "failed"


def test_a_transcription_session_answers_nothing(serve, speech):
    gateway = serve()
    with calling(gateway.url, "intent=transcription") as caller:
        session = caller.next()["session"]
        assert (session["type"], session["object"]) == ("transcription", "realtime.transcription_session")
        caller.speak(speech + SILENCE)
        events = caller.until("conversation.item.input_audio_transcription.completed")
        assert events[-1]["transcript"] == heard()["text"]
        caller.send("response.create")
        assert "answers nothing" in caller.next()["error"]["message"]
    assert {request.model for request in gateway.transport.requests} == {"transcribe"}


def test_speech_interrupts_an_answer_and_the_server_stops(start, slow, speech):
    caller, _ = start(transport=slow)
    caller.say("Tell me a story.")
    caller.send("response.create")
    caller.until("response.output_audio.delta")
    caller.speak(speech)
    events = caller.until("response.done")
    names = kinds(events)
    assert names[names.index("input_audio_buffer.speech_started") + 1 :] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    done = events[-1]["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
    assert done["output"][0]["status"] == "incomplete"
    assert slow.left.wait(5)


def test_an_answer_can_be_cancelled_and_there_is_one_at_a_time(start, slow):
    caller, _ = start(transport=slow)
    caller.say("Tell me a story.")
    caller.send("response.create")
    first = caller.until("response.output_audio.delta")[0]["response"]["id"]
    caller.send("response.create")
    error = caller.next()["error"]
    assert error["code"] == "conversation_already_has_active_response"
    assert first in error["message"]
    caller.send("response.cancel", response_id="other")
    assert caller.next()["error"]["code"] == "response_cancel_not_active"
    caller.send("response.cancel")
    done = caller.until("response.done")[-1]["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
    assert slow.left.wait(5)
    slow.go_on.set()
    assert caller.answer(instructions="Go on.")[-1]["response"]["status"] == "completed"


@pytest.mark.parametrize(
    ("texts", "cut_ms", "kept"),
    [
        (("The circle is red.", " It is big."), 1100, "The circle is red."),
        (("The circle is red.", " It is big."), 1400, "The circle is red. It"),
        (("The circle is red.", " It is big."), 700, "The circle is"),
        (("The circle is red.", " It is big."), 0, ""),
        (("圆是红的。", "它很大。"), 520, "圆是红"),
        (("圆是红的。", "它很大。"), 1500, "圆是红的。它很"),
    ],
)
def test_truncation_leaves_what_was_heard_in_words_in_sound_and_for_the_model(start, texts, cut_ms, kept):
    caller, gateway = start(saying(clauses(*texts)))
    caller.say("What do you see?")
    item = caller.answer()[-1]["response"]["output"][0]
    assert item["content"][0]["transcript"] == "".join(texts)
    place = {"item_id": item["id"], "content_index": 0}
    told = caller.told("conversation.item.truncate", audio_end_ms=cut_ms, **place)
    assert (told["type"], told["audio_end_ms"]) == ("conversation.item.truncated", cut_ms)
    left = caller.retrieve(item["id"])["content"][0]
    assert left["transcript"] == kept
    assert len(base64.b64decode(left.get("audio", ""))) == cut_ms * 48
    caller.say("Go on.")
    caller.answer()
    told = json.loads(gateway.asked.text("messages"))[1:] if "messages" in gateway.asked.inputs else []
    assert [turn["content"][0]["text"] for turn in told] == ([kept] if kept else [])
    behind = caller.told("conversation.item.truncate", audio_end_ms=cut_ms + 101, **place)
    assert f"audio_end_ms is {cut_ms + 101}, the sound has {cut_ms} ms" in behind["error"]["message"]


def test_a_voice_that_does_not_know_its_words_is_cut_by_their_length(start):
    rows = clauses("abcd efgh", "ijkl")
    for row in rows:
        row |= {"word": [], "word_start": [], "word_end": []}
    caller, _ = start(saying(rows))
    caller.say("What do you see?")
    item = caller.answer()[-1]["response"]["output"][0]["id"]
    caller.told("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=600)
    assert caller.retrieve(item)["content"][0]["transcript"] == "abcd"


def test_only_what_the_model_speaks_is_truncated(start):
    caller, _ = start()
    item = caller.say("Hello.")
    said = caller.told("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=0)
    assert "nothing spoken by the model" in said["error"]["message"]


@pytest.mark.parametrize("law", ["audio/pcmu", "audio/pcma"])
def test_telephones_speak_and_are_spoken_to_in_their_own_law(start, speech, law):
    caller, gateway = start()
    caller.update(audio={"input": {"format": {"type": law}}, "output": {"format": {"type": law}}})
    narrow = soxr.resample(np.frombuffer(SILENCE + speech + SILENCE, "<i2").astype(np.float32) / 32768, 24_000, 8_000)
    caller.speak(sound.encoded((narrow * 32767).astype(np.int16), law), piece=800)
    events = caller.until("response.done")
    spoken = sound.linear(sound_of(events), law)
    assert len(spoken) == 4_000  # 0.5 s
    assert pitch(spoken, 8_000) == pytest.approx(440, abs=5)
    [asked] = [request for request in gateway.transport.requests if request.model == "transcribe"][-1:]
    assert asked.inputs["audio_bytes"][0, 0][:4] == b"RIFF"
    assert events[0]["type"] == "input_audio_buffer.speech_started"


def test_clauses_meet_without_a_click(start):
    caller, _ = start(saying(clauses("one two", "three four", "five six")))
    caller.say("Count.")
    samples = np.frombuffer(sound_of(caller.answer()), "<i2").astype(float)
    assert len(samples) == 72_000
    steps = np.abs(np.diff(samples))
    assert steps.max() < 1.2 * np.median(np.sort(steps)[-1000:])  # each clause is a whole number of waves


def test_an_idle_session_speaks_up(start, speech):
    caller, gateway = start()
    caller.update(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 1000}}})
    caller.say("Hello.")
    caller.answer()
    events = caller.until("response.done")
    assert kinds(events)[:4] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert gateway.asked.text("text_input") == "…"

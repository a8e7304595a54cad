"""What realtime sessions hear: the end of a turn by its sound, words that are stable, laws of telephones."""

import asyncio
import gc
import io
import socket
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from mock_tritone import answers, heard, reply, tone
from realtime_caller import PATIENCE_S, calling, kinds
from transformers import WhisperFeatureExtractor

from tritone_client import AsyncClient, MockTransport
from tritone_gateway.context import Context
from tritone_gateway.door.access import UNLIMITED, Caller
from tritone_gateway.realtime import sound
from tritone_gateway.realtime.listening import ear, smart_turn
from tritone_gateway.realtime.listening.activity import VoiceActivity
from tritone_gateway.realtime.listening.hearing import Hearing
from tritone_gateway.realtime.words import agreed, continued, spread, words_of

SPEECH = Path(__file__).parents[3] / "docs" / "demo_answer.wav"
LAST_WORD_MS = 1080  # where it ends


@pytest.fixture(scope="module")
def speech():
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    return (soxr.resample(samples, rate, 24_000) * 32767).astype("<i2").tobytes()


def test_features_of_a_turn_are_whispers():
    audio = np.random.default_rng(0).normal(size=70_000).astype(np.float32)
    padded = np.concatenate([np.zeros(128_000 - 70_000, np.float32), audio])
    extract = WhisperFeatureExtractor(chunk_length=8)
    theirs = extract(padded, sampling_rate=16_000, do_normalize=True, return_tensors="np").input_features[0]
    np.testing.assert_allclose(smart_turn.log_mel(audio), theirs, atol=1e-4)


class Opinion:
    """In the place of Smart Turn: says how likely it is that a turn is over."""

    def __init__(self, likely):
        self.likely, self.asked, self.thread = likely, [], ThreadPoolExecutor(1)

    def complete(self, samples):
        self.asked.append(len(samples) / 16_000)
        return self.likely


@pytest.fixture
def semantic(serve, speech, tmp_path, monkeypatch):
    """`semantic(0.4, "auto", 3.0)` says for how many ms a turn was silent before it was over, or None: it was not."""
    (tmp_path / smart_turn.FILE).write_bytes(b"")

    def ended_after(likely, eagerness, silence_s):
        opinion = Opinion(likely)
        monkeypatch.setattr(ear, "smart_turn", lambda folder: opinion)
        with calling(serve(realtime={"smart_turn": tmp_path}).url) as caller:
            caller.next()
            detection = {"type": "semantic_vad", "eagerness": eagerness, "create_response": False}
            assert caller.update(audio={"input": {"turn_detection": detection}})
            caller.speak(speech + bytes(2 * round(24_000 * silence_s)))
            caller.send("input_audio_buffer.clear")
            events = caller.until("input_audio_buffer.cleared")
        assert all(1.2 < seconds < 1.8 for seconds in opinion.asked)
        ends = [e["audio_end_ms"] for e in events if e["type"] == "input_audio_buffer.speech_stopped"]
        return ends[0] - LAST_WORD_MS if ends else None

    return ended_after


@pytest.mark.parametrize(
    ("likely", "eagerness", "least_ms", "most_ms"),
    [
        (0.9, "low", 100, 500),
        (0.4, "high", 100, 500),
        (0.4, "auto", 3900, 4300),
        (0.6, "low", 7900, 8300),
        (0.1, "high", 1900, 2300),
    ],
)
def test_a_turn_is_over_when_it_sounds_so_or_has_been_silent_for_long(semantic, likely, eagerness, least_ms, most_ms):
    assert semantic(likely, eagerness, most_ms / 1000 - 0.5) is None
    assert least_ms < semantic(likely, eagerness, most_ms / 1000 + 0.1) < most_ms


def test_without_the_model_semantic_turns_are_refused_and_it_is_said_how_to_get_it(serve, tmp_path):
    with calling(serve(realtime={"smart_turn": tmp_path}).url) as caller:
        caller.next()
        detection = {"type": "semantic_vad", "eagerness": "high"}
        caller.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
        refused = caller.next()["error"]
        assert (refused["code"], refused["param"]) == (
            "smart_turn_missing",
            "session.audio.input.turn_detection.type",
        )
        assert "fetch_checkpoints.py --only smart_turn" in refused["message"]
        assert caller.update()["audio"]["input"]["turn_detection"]["type"] == "server_vad"


@pytest.mark.parametrize(
    "text", ["The circle is red.", " Ein Kreis", "圆是红的。很大。", "红色 circle 很大", "ありがとう", ""]
)
def test_words_join_to_the_text(text):
    assert "".join(words_of(text)) == text


def test_only_what_two_versions_agree_on_is_told():
    assert agreed("The circle is", "The circle is red") == "The circle is"
    assert agreed("The circle", "The circus is") == "The"
    assert agreed("圆是红", "圆是红的。") == "圆是红"
    assert agreed("圆是", "远是红的。") == ""
    assert agreed("", "The circle") == ""


def test_the_end_of_a_text_is_told_where_its_beginning_was_right():
    assert continued("The circle is", "The circle is red.") == " red."
    assert continued("the circle, is", "The circle is red.") == " red."  # but for capitals and marks
    assert continued("The circus", "The circle is red.") is None
    assert continued("圆是，", "圆是红的。") == "红的。"


def test_words_without_times_take_as_long_as_they_are():
    words = spread("ab cdef。", 1.0, 2.0)
    assert [(word.text, round(word.start, 2), round(word.end, 2)) for word in words] == [
        ("ab", 1.0, 1.29),
        ("cdef。", 1.29, 2.0),
    ]


def hear(texts, tell=None, listen=None):
    """Who hears a text more at a time, and what the server was asked."""
    transport = MockTransport(listen or (lambda request: heard(next(texts))))
    client = AsyncClient(transport=transport, retries=0)
    here = Context(client, None, None, None, Caller("", UNLIMITED, None), "r", {}, None, client)
    object.__setattr__(here, "settings", type("Settings", (), {"timeout_s": 5}))
    return Hearing(here, {}, 0.5, tell), transport


def test_what_was_heard_in_the_pause_is_not_heard_again():
    async def run():
        hearing, transport = hear(iter(["The circle is red."]))
        samples = np.zeros(32_000, np.int16)
        hearing.grow(lambda: samples, len(samples), 200.0)
        text = await hearing.end(np.zeros(40_000, np.int16), speech_end=30_000)
        return text, len(transport.requests)

    assert asyncio.run(run()) == ("The circle is red.", 1)


def test_what_was_said_behind_the_pause_is_heard():
    async def run():
        hearing, transport = hear(iter(["The circle", "The circle is red."]))
        samples = np.zeros(32_000, np.int16)
        hearing.grow(lambda: samples, len(samples), 200.0)
        await asyncio.sleep(0.1)
        return await hearing.end(np.zeros(64_000, np.int16), speech_end=60_000), len(transport.requests)

    assert asyncio.run(run()) == ("The circle is red.", 2)


def test_a_transcript_that_turns_out_otherwise_is_told_whole_at_the_end():
    async def run():
        told = []

        async def tell(delta):
            told.append(delta)

        hearing, _ = hear(iter(["The circus is", "The circus is red", "The circle is red."]), tell)
        for size in (16_000, 32_000):
            hearing.grow(lambda size=size: np.zeros(size, np.int16), size, 0.0)
            await asyncio.sleep(0.1)
        return await hearing.end(np.zeros(64_000, np.int16), speech_end=60_000), told

    assert asyncio.run(run()) == ("The circle is red.", ["The circus is"])


@pytest.mark.parametrize("space", [" ", ""])
def test_long_speech_is_told_as_it_is_said_and_heard_again_only_from_its_last_words(space):
    """A word each half second, which the samples have as their numbers."""
    lengths = []

    def listen(request):
        samples, _ = soundfile.read(io.BytesIO(request.inputs["audio_bytes"][0, 0]), dtype="int16")
        lengths.append(len(samples) / 16_000)
        first, last = int(samples[0]), int(samples[-1])
        names = [f"w{n}" if space else chr(0x4E00 + n) for n in range(first, last + 1)]
        at = 0.5 * np.arange(len(names))
        return heard(space.join(names)) | {"word": names, "word_start": at, "word_end": at + 0.5}

    async def run():
        told = []

        async def tell(delta):
            told.append(delta)

        hearing, _ = hear(None, tell, listen)
        speech = (np.arange(60 * 16_000) // 8_000).astype(np.int16)
        for size in range(16_000, len(speech) + 1, 16_000):
            hearing.grow(lambda size=size: speech[:size], size, 0.0)
            while hearing._task is not None and not hearing._task.done():
                await asyncio.sleep(0.001)
        return await hearing.end(speech, speech_end=len(speech)), told

    text, told = asyncio.run(run())
    assert text == space.join(f"w{n}" if space else chr(0x4E00 + n) for n in range(120)) == "".join(told)
    assert len(told) > 50
    assert max(lengths) < 15


@pytest.mark.parametrize(("law", "loudest"), [("audio/pcmu", 32_124), ("audio/pcma", 32_256)])
def test_laws_are_those_of_g711(law, loudest):
    samples = np.array([0, 1_000, -1_000, 32_767, -32_768], np.int16)
    there_and_back = sound.linear(sound.encoded(samples, law), law)
    assert np.abs(there_and_back[:3].astype(int) - samples[:3]).max() <= 32
    assert there_and_back[3:].tolist() == [loudest, -loudest]


def test_sound_is_the_same_however_it_is_cut():
    pcm = (tone(1.0) * 32767).astype("<i2").tobytes()
    whole = sound.Decoder("audio/pcm").feed(pcm)
    decoder = sound.Decoder("audio/pcm")
    cut = np.concatenate([decoder.feed(pcm[place : place + 333]) for place in range(0, len(pcm), 333)])
    size = min(len(whole), len(cut))
    assert size > 9_000
    assert np.abs(whole[:size].astype(int) - cut[:size]).max() <= 1


def test_a_caller_who_reads_nothing_is_cut_off(serve):
    """His answer waits where it is made, and he loses his session, which others may have then."""
    rows = [reply(0, ""), *(reply(n, "word ") | {"audio": tone(10.0)} for n in range(1, 400)), reply(400, "", "stop")]
    gateway = serve(
        lambda request: rows if request.model == "voice_assistant_stream" else answers(request),
        stuck_after_s=0.5,
        realtime={"sessions": 1},
    )
    with calling(gateway.url, max_queue=1) as caller:
        caller.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.next()
        caller.say("Tell me everything.")
        caller.send("response.create")
        gone = threading.Event()
        for _ in range(PATIENCE_S * 10):
            if "tritone_gateway_realtime_sessions 0.0" in gateway.http.get("/metrics").text:
                gone.set()
                break
            gone.wait(0.1)
        assert gone.is_set()


def test_a_session_that_has_ended_holds_no_detector(serve, speech, monkeypatch):
    """Each takes megabytes that Python's collector does not see."""
    alive = weakref.WeakSet()

    class Watched(VoiceActivity):
        def __init__(self):
            super().__init__()
            alive.add(self)

    monkeypatch.setattr(ear, "VoiceActivity", Watched)
    url = serve().url
    gc.disable()
    try:
        for _ in range(3):
            with calling(url) as caller:
                caller.next()
                caller.speak(speech)
                caller.until("input_audio_buffer.speech_started")
                assert len(alive) >= 1
        end = time.monotonic() + PATIENCE_S
        while alive:
            assert time.monotonic() < end
    finally:
        gc.enable()


def test_sessions_do_not_hear_each_other(serve):
    """Eight at a time over one server: each is answered what it asked."""

    def handler(request):
        return [reply(0, ""), reply(1, f"You said {request.text('text_input')}.", "stop")]

    url = serve(handler).url

    def talk(number):
        with calling(url) as caller:
            caller.next()
            said = []
            for turn in range(5):
                caller.say(f"数 {number} {turn}")
                said.append(caller.answer()[-1]["response"]["output"][0]["content"][0]["transcript"])
            return said, set(kinds(caller.seen))

    with ThreadPoolExecutor(8) as pool:
        for number, (said, seen) in enumerate(pool.map(talk, range(8))):
            assert said == [f"You said 数 {number} {turn}." for turn in range(5)]
            assert "error" not in seen

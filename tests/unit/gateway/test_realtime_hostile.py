"""What a hurried, careless or hostile caller does to a realtime session, and what it does to those after it."""

import asyncio
import base64
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from mock_tritone import answers
from realtime_caller import calling, kinds

from tritone_client import AsyncClient, Overloaded
from tritone_gateway.catalog import Catalogue
from tritone_gateway.context import Context
from tritone_gateway.door.access import UNLIMITED, Caller
from tritone_gateway.door.keys import KeyFile
from tritone_gateway.door.passes import Passes
from tritone_gateway.metrics import Metrics
from tritone_gateway.realtime.configuration import Configuration
from tritone_gateway.realtime.events import Outgoing
from tritone_gateway.realtime.session import Session, checked
from tritone_gateway.settings import Limits, Settings

SPEECH = Path(__file__).parents[3] / "docs" / "demo_answer.wav"  # "The circle is red.", 1.2 s
BY_HAND = {"input": {"turn_detection": None}}
SOUND = bytes(24_000)  # 0.5 s


@pytest.fixture(scope="module")
def speech():
    """PCM at 24 kHz."""
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    return (soxr.resample(samples, rate, 24_000) * 32767).astype("<i2").tobytes()


def talk(script, transport):
    """Run `script(session, told)` on a session without a socket; `told` are the events so far."""

    async def run():
        settled = Settings()
        client = AsyncClient(transport=transport, retries=0)
        caller = Caller("", UNLIMITED, None)
        here = Context(
            client, settled, Metrics(), Catalogue(client, settled.aliases), caller, "r", {}, Passes(), client
        )
        told = []

        async def send(text):
            told.append(json.loads(text))

        session = Session(Configuration("realtime", "llava", checked(here)), Outgoing(send), here)
        try:
            await script(session, told)
        finally:
            await session.end()
        return told

    return asyncio.run(run())


def event(kind, **fields):
    return json.dumps({"type": kind, **fields})


def commit(caller, sound=SOUND):
    """A turn that is committed by hand; its id."""
    caller.speak(sound)
    caller.send("input_audio_buffer.commit")
    return caller.until("conversation.item.done")[-1]["item"]["id"]


def test_a_turn_that_could_not_be_heard_fails_its_own_answer_and_no_later_one(serve):
    full = [True]

    def handler(request):
        if full and request.model == "transcribe":
            raise Overloaded("too much to do", retry_after_s=1)
        return answers(request)

    gateway = serve(handler)
    with calling(gateway.url) as caller:
        caller.next()
        caller.update(audio=BY_HAND)
        commit(caller)
        failed = caller.answer()[-1]["response"]
        assert failed["status_details"]["error"]["code"] == "server_overloaded"
        full.clear()
        caller.say("你还在吗？")
        assert caller.answer()[-1]["response"]["status"] == "completed"
        assert gateway.asked.text("text_input") == "你还在吗？"


def test_an_answer_that_is_cancelled_before_it_begins_is_told_from_its_beginning_to_its_end(slow):
    async def script(session, told):
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]}
        await session.handle(event("conversation.item.create", item=item))
        told.clear()
        await session.handle(event("response.create"))
        await session.handle(event("response.cancel"))

    told = talk(script, slow)
    assert (told[0]["type"], told[-1]["type"]) == ("response.created", "response.done")
    assert told[-1]["response"]["status"] == "cancelled"
    assert told[0]["response"]["id"] == told[-1]["response"]["id"]


def test_the_second_of_two_spoken_turns_can_be_deleted(gateway):
    with calling(gateway.url) as caller:
        caller.next()
        caller.update(audio=BY_HAND)
        first, second = commit(caller), commit(caller)
        deleted = caller.told("conversation.item.delete", item_id=second)
        assert (deleted["type"], deleted.get("item_id")) == ("conversation.item.deleted", second)
        assert caller.retrieve(first)["id"] == first


def spoken(sound=SOUND, **more):
    """An item of sound."""
    content = [{"type": "input_audio", "audio": base64.b64encode(sound).decode()}]
    return {"type": "message", "role": "user", "content": content, **more}


def test_the_words_of_a_sound_that_was_put_in_are_told_of_its_item(gateway):
    with calling(gateway.url) as caller:
        caller.next()
        caller.update(audio={"input": {"transcription": {"model": "whisper"}}})
        caller.send("conversation.item.create", item=spoken())
        events = caller.until("conversation.item.input_audio_transcription.completed")
        assert {each.get("item_id") or each["item"]["id"] for each in events} == {events[0]["item"]["id"]}


def test_a_sound_that_is_refused_is_not_listened_to_and_one_that_is_taken_counts_for_the_key(serve, tmp_path):
    secret = KeyFile(tmp_path / "keys.json").add("ada", Limits(audio_seconds=1))
    gateway = serve(keys=tmp_path / "keys.json")
    with calling(gateway.url, additional_headers={"Authorization": f"Bearer {secret}"}) as caller:
        caller.next()
        caller.say("你好")
        refused = caller.told("conversation.item.create", item=spoken(), previous_item_id="nobody")
        assert refused["error"]["code"] == "item_not_found"
        caller.send("conversation.item.create", item=spoken())
        caller.until("conversation.item.done")
        caller.answer()
        refused = caller.told("conversation.item.create", item=spoken())
        assert refused["error"]["code"] == "rate_limit_exceeded"
        assert "1 audio seconds a minute" in refused["error"]["message"]
    assert [request.model for request in gateway.transport.requests].count("transcribe") == 1


@pytest.mark.parametrize(("form", "second"), [("audio/pcm", 48_000), ("audio/pcmu", 8_000), ("audio/pcma", 8_000)])
def test_what_is_committed_is_all_that_was_sent_to_the_last_word(gateway, form, second):
    """The resampler holds back up to 0.1 s, which neither is lost nor belongs to the next turn."""
    with calling(gateway.url) as caller:
        caller.next()
        caller.update(audio={"input": {"turn_detection": None, "format": {"type": form}}})
        for seconds in (0.5, 0.2, 0.1):
            item = commit(caller, bytes(round(seconds * second)))
            kept = len(base64.b64decode(caller.retrieve(item)["content"][0]["audio"])) / second
            assert kept == pytest.approx(seconds, abs=0.001)


def test_half_a_sample_is_not_taken_over_into_what_comes_next(gateway):
    quiet = np.full(24_000, 256, "<i2").tobytes()  # bytes 0, 1: shifted by one they are 1, 0
    with calling(gateway.url) as caller:
        caller.next()
        caller.update(audio=BY_HAND)
        caller.speak(b"\x00\x01\x00", piece=3)
        caller.told("input_audio_buffer.clear")
        item = commit(caller, quiet)
        samples = np.frombuffer(base64.b64decode(caller.retrieve(item)["content"][0]["audio"]), "<i2")
        assert np.median(samples) == pytest.approx(256, abs=2)


def test_a_file_of_keys_that_breaks_ends_no_session(serve, tmp_path):
    file = tmp_path / "keys.json"
    secret = KeyFile(file).add("ada", None)
    with calling(serve(keys=file).url, additional_headers={"Authorization": f"Bearer {secret}"}) as caller:
        caller.next()
        file.write_text("{", encoding="utf-8")
        assert caller.update(instructions="还在。")["instructions"] == "还在。"
        file.unlink()
        assert caller.update()["instructions"] == "还在。"


def test_a_number_that_no_float_holds_is_refused_as_any_other(gateway):
    with calling(gateway.url) as caller:
        caller.next()
        caller.send("session.update", session={"type": "realtime", "max_output_tokens": 10**400})
        error = caller.next()["error"]
        assert (error["code"], error["param"]) == ("invalid_value", "session.max_output_tokens")
        assert "must be 1 to 4096" in error["message"]


def test_nothing_goes_on_after_a_session_has_ended_in_an_answer(slow):
    """Not even the clock that would break the silence behind it."""

    async def script(session, told):
        silence = {"type": "server_vad", "idle_timeout_ms": 600_000}
        await session.handle(
            event("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": silence}}})
        )
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]}
        await session.handle(event("conversation.item.create", item=item))
        await session.handle(event("response.create"))
        await asyncio.sleep(0)
        await session.end()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    assert talk(script, slow)[-1]["response"]["status"] == "cancelled"


def test_turns_that_are_switched_off_while_somebody_speaks_begin_anew(gateway, speech):
    """Silence is no speech, whoever was speaking when nobody listened any more."""
    with calling(gateway.url) as caller:
        caller.next()
        caller.speak(speech)
        caller.until("input_audio_buffer.speech_started")
        caller.update(audio=BY_HAND)
        caller.update(audio={"input": {"turn_detection": {"type": "server_vad", "prefix_padding_ms": 0}}})
        caller.seen.clear()
        caller.speak(bytes(48_000))
        caller.update()
        assert kinds(caller.seen) == ["session.updated"]


@pytest.mark.parametrize(
    ("session", "said"),
    [
        ({"audio": {"output": {"speed": "4000"}}}, "session.audio.output.speed is 4000, must be 0.25 to 4"),
        ({"max_output_tokens": "99999"}, "session.max_output_tokens is 99999, must be 1 to 4096"),
        ({"instructions": "\ud800"}, "not JSON"),
        ({"instructions": "国" * 20_000}, "bytes, the limit is 65536"),
        ({"tool_choice": "none", "tools": "deep"}, "recursion limit"),
    ],
)
def test_a_pages_key_is_bound_to_what_a_session_may_be(gateway, session, said):
    text = json.dumps({"session": {"type": "realtime", **session}})
    text = text.replace('"deep"', '[{"type": "function", "parameters": ' + '{"a": ' * 800 + "1" + "}" * 800 + "}]")
    headers = {"content-type": "application/json"}
    answer = gateway.http.post("/v1/realtime/client_secrets", content=text, headers=headers)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_no_more_sound_waits_to_be_heard_than_a_session_may_keep(serve, slow):
    with calling(serve(transport=slow, realtime={"max_kept_s": 1}).url) as caller:
        caller.next()
        for _ in range(2):
            caller.send("conversation.item.create", item=spoken())
            caller.until("conversation.item.done")
        refused = caller.told("conversation.item.create", item=spoken())["error"]
        assert refused["code"] == "too_much_unheard"
        assert "1.0 s of sound wait to be heard, the limit is 1 s" in refused["message"]
        slow.go_on.set()
        assert caller.answer()[-1]["response"]["status"] == "completed"


def test_a_silence_that_nobody_shall_break_any_more_is_not_broken(slow):
    async def script(session, told):
        slow.go_on.set()
        for wait_ms in (1000, None):
            silence = {"type": "server_vad", "idle_timeout_ms": wait_ms}
            change = {"type": "realtime", "audio": {"input": {"turn_detection": silence}}}
            await session.handle(event("session.update", session=change))
            if wait_ms:
                item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]}
                await session.handle(event("conversation.item.create", item=item))
                await session.handle(event("response.create"))
                while told[-1]["type"] != "response.done":
                    await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    assert talk(script, slow)[-1]["type"] == "session.updated"


@pytest.mark.parametrize("wrong", [{"content_index": 1}, {"audio_end_ms": -1}, {"audio_end_ms": 10**6}])
def test_an_answer_goes_on_where_it_is_cut_at_a_place_that_it_has_not(serve, slow, wrong):
    with calling(serve(transport=slow).url) as caller:
        caller.next()
        caller.say("Tell me a story.")
        caller.send("response.create")
        item = caller.until("response.output_audio.delta")[-1]["item_id"]
        place = {"item_id": item, "content_index": 0, "audio_end_ms": 0} | wrong
        assert caller.told("conversation.item.truncate", **place)["error"]["param"] in wrong
        slow.go_on.set()
        assert caller.until("response.done")[-1]["response"]["status"] == "completed"

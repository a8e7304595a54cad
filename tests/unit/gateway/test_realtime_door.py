"""Who may open /v1/realtime, how many there may be, and how a session ends."""

import json
import logging
import socket
import time

import pytest
from mock_tritone import answers
from realtime_caller import PATIENCE_S, calling
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tritone_gateway.door.keys import KeyFile
from tritone_gateway.settings import Limits

SECRET = "nobody may read this 秘密"


@pytest.fixture
def keys(tmp_path):
    """A file of keys, and the secret of one whose limits are narrow."""
    file = tmp_path / "keys.json"
    return file, KeyFile(file).add("ada", Limits(requests=4, tokens=9, pictures=1))


def refused(url, query="model=llava", **options):
    """The status and the error that a handshake is refused with."""
    with pytest.raises(InvalidStatus) as caught, calling(url, query, **options):
        pass
    answer = caught.value.response
    return answer.status_code, json.loads(answer.body)["error"]


def closed(caller):
    """The last event, and the code with which a session was closed."""
    error = caller.until("error")[-1]["error"]
    with pytest.raises(ConnectionClosed) as caught:
        caller.next()
    return error, caught.value.rcvd.code


def test_a_key_comes_in_a_header_or_as_a_sub_protocol(serve, keys):
    file, secret = keys
    url = serve(keys=file).url
    for options in (
        {"additional_headers": {"Authorization": f"Bearer {secret}"}},
        {"subprotocols": ["realtime", f"openai-insecure-api-key.{secret}"]},
    ):
        with calling(url, **options) as caller:
            assert caller.next()["type"] == "session.created"
            assert caller.socket.subprotocol == ("realtime" if "subprotocols" in options else None)
    assert refused(url)[0] == 401
    status, error = refused(url, subprotocols=["realtime", "openai-insecure-api-key.sk-wrong"])
    assert (status, error["code"]) == (401, "invalid_api_key")


def test_a_pages_origin_must_be_ours_or_named(serve):
    gateway = serve(cors=("https://good.example",))
    host = gateway.url.removeprefix("http://")
    for origin in (gateway.url, "https://good.example", None):
        with calling(gateway.url, origin=origin) as caller:
            assert caller.next()["type"] == "session.created"
    for origin in ("https://bad.example", f"https://bad.example@{host}", "null", "http://127.0.0.1:1", "http://[::1"):
        status, error = refused(gateway.url, origin=origin)
        assert (status, error["code"]) == (403, "origin_not_allowed")
        assert origin in error["message"]


def test_a_name_that_was_pointed_here_is_not_ours(serve):
    """A page of bad.example, whose name now leads to this machine, is of the origin that it asks."""
    port = int(serve().url.rsplit(":", 1)[1])
    with pytest.raises(InvalidStatus) as caught:
        connect(
            f"ws://bad.example:{port}/v1/realtime?model=llava",
            sock=socket.create_connection(("127.0.0.1", port)),
            origin=f"http://bad.example:{port}",
        )
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize(
    ("query", "options", "code", "number"),
    [
        ("model=llava", {"additional_headers": {"OpenAI-Beta": "realtime=v1"}}, "beta_api_shape_disabled", 4000),
        ("model=llava", {"subprotocols": ["realtime", "openai-beta.realtime-v1"]}, "beta_api_shape_disabled", 4000),
        ("model=dall-e-3", {}, "model_not_found", 1008),
        ("", {}, "missing_model", 1008),
        ("call_id=a", {}, "not_served", 1008),
    ],
)
def test_what_a_session_cannot_begin_with_is_told_in_an_event(gateway, query, options, code, number):
    with calling(gateway.url, query, **options) as caller:
        error, closing = closed(caller)
    assert (error["code"], closing) == (code, number)


def test_names_of_openais_models_mean_ours(gateway):
    for name in ("gpt-realtime", "gpt-realtime-mini", "llava:charts"):
        with calling(gateway.url, f"model={name}") as caller:
            assert caller.next()["session"]["model"] == name


def test_a_full_gateway_says_so_and_has_room_again_when_one_leaves(serve):
    gateway = serve(realtime={"sessions": 1})
    with calling(gateway.url) as first:
        first.next()
        with calling(gateway.url) as second:
            error, number = closed(second)
        assert (error["code"], number) == ("session_limit_reached", 1013)
        assert "1 realtime sessions" in error["message"]
        assert "tritone_gateway_realtime_sessions 1.0" in gateway.http.get("/metrics").text
    end = time.monotonic() + PATIENCE_S
    while "tritone_gateway_realtime_sessions 0.0" not in gateway.http.get("/metrics").text:
        assert time.monotonic() < end
    with calling(gateway.url) as third:
        assert third.next()["type"] == "session.created"
    counted = gateway.http.get("/metrics").text
    assert 'tritone_gateway_requests_total{endpoint="/v1/realtime",status="101"}' in counted


def test_a_session_ends_after_its_time(serve):
    with calling(serve(realtime={"session_s": 0.3}).url) as caller:
        caller.next()
        error, number = closed(caller)
    assert (error["code"], number) == ("session_expired", 1001)


def test_a_session_outlives_the_time_in_which_a_request_must_come(serve):
    with calling(serve(receive_within_s=0.2).url) as caller:
        caller.next()
        time.sleep(0.5)
        assert caller.update(instructions="还在。")["instructions"] == "还在。"


def test_a_key_that_is_removed_ends_its_sessions(serve, keys):
    file, secret = keys
    with calling(serve(keys=file).url, additional_headers={"Authorization": f"Bearer {secret}"}) as caller:
        caller.next()
        KeyFile(file).remove("ada")
        caller.send("response.create")
        error, number = closed(caller)
    assert (error["code"], number) == ("invalid_api_key", 1008)


def test_an_event_that_is_too_large_ends_the_session(serve):
    with calling(serve(realtime={"max_event_bytes": 1000}).url) as caller:
        caller.next()
        caller.send("input_audio_buffer.append", audio="A" * 2000)
        with pytest.raises(ConnectionClosed) as caught:
            caller.next()
        assert caught.value.rcvd.code == 1009


def test_limits_of_a_key_count_answers_tokens_and_pictures(serve, keys):
    file, secret = keys
    gateway = serve(keys=file)
    with calling(gateway.url, additional_headers={"Authorization": f"Bearer {secret}"}) as caller:
        caller.next()
        caller.say("Hello.")
        events = caller.answer()
        [limits] = [event["rate_limits"] for event in events if event["type"] == "rate_limits.updated"]
        assert [(each["name"], each["limit"]) for each in limits] == [("requests", 4), ("tokens", 9)]
        caller.say("And then?")
        failed = caller.answer()[-1]["response"]["status_details"]["error"]
        assert failed["code"] == "rate_limit_exceeded"
        assert "9 tokens a minute" in failed["message"]


def test_a_conversation_has_its_bounds(serve):
    with calling(serve(realtime={"max_items": 3, "max_picture_bytes": 1}).url) as caller:
        caller.next()
        picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
        item = {"type": "message", "role": "user", "content": [picture]}
        assert caller.told("conversation.item.create", item=item)["error"]["code"] == "too_large"
        first = caller.say("1")
        caller.say("2")
        caller.say("3")
        wrong = caller.told("conversation.item.create", item=item | {"content": [{"type": "input_text", "text": "4"}]})
        assert wrong["error"]["code"] == "conversation_full"
        events = caller.answer()
        assert [event["item_id"] for event in events if event["type"] == "conversation.item.deleted"] == [first]


def test_old_sound_is_let_go_and_its_words_stay(serve):
    with calling(serve(realtime={"max_kept_s": 0.6}).url) as caller:
        caller.next()
        caller.say("Hello.")
        old = caller.answer()[-1]["response"]["output"][0]["id"]
        assert "audio" in caller.retrieve(old)["content"][0]
        caller.say("Go on.")
        caller.answer()
        assert caller.retrieve(old)["content"] == [{"type": "output_audio", "transcript": "The circle is red."}]


def test_nothing_of_a_conversation_is_logged(serve, caplog):
    def handler(request):
        if request.model == "voice_assistant_stream":
            raise ZeroDivisionError(SECRET)
        return answers(request)

    with caplog.at_level(logging.DEBUG, "tritone_gateway"), calling(serve(handler).url) as caller:
        caller.next()
        caller.say(SECRET)
        failed = caller.answer()[-1]["response"]
        assert failed["status_details"]["error"]["code"] == "internal_error"
    assert "ZeroDivisionError" in caplog.text
    assert SECRET not in caplog.text


def test_webrtc_is_refused_by_its_name(gateway):
    answer = gateway.http.post("/v1/realtime/calls", content=b"v=0", headers={"content-type": "application/sdp"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "webrtc_not_served")
    assert "/v1/realtime?model=" in answer.json()["error"]["message"]


def test_a_page_gets_a_key_that_lasts_for_minutes(serve, keys):
    file, secret = keys
    gateway = serve(keys=file)
    theirs = {"Authorization": f"Bearer {secret}"}
    session = {"type": "realtime", "model": "llava", "instructions": "说中文。"}
    body = {"expires_after": {"anchor": "created_at", "seconds": 60}, "session": session}
    made = gateway.http.post("/v1/realtime/client_secrets", json=body, headers=theirs).json()
    assert made["value"].startswith("ek_")
    assert made["expires_at"] == pytest.approx(time.time() + 60, abs=5)
    assert made["session"]["instructions"] == "说中文。"
    with calling(gateway.url, "", subprotocols=["realtime", f"openai-insecure-api-key.{made['value']}"]) as caller:
        assert caller.next()["session"]["instructions"] == "说中文。"
    answer = gateway.http.get("/v1/models", headers={"Authorization": f"Bearer {made['value']}"})
    assert answer.status_code == 401
    wrong = {"session": {"type": "realtime", "colour": 1}}
    answer = gateway.http.post("/v1/realtime/client_secrets", json=wrong, headers=theirs)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "session.colour")

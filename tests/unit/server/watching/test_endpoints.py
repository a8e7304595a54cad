"""/metrics, /live and /ready: what they say in each phase, and that slow callers keep nobody out."""

import http.client
import json
import socket

import pytest
from prometheus_client import CollectorRegistry, Gauge

from tritone.server import background
from tritone.server.watching import endpoints, readiness
from tritone.server.watching.readiness import Readiness


@pytest.fixture
def state():
    return Readiness(["tts", "llava"], grace_s=30.0)


@pytest.fixture
def port(state):
    (port,) = background.free_ports(1)
    registry = CollectorRegistry()
    Gauge("tritone_model_up", "up", registry=registry).set(1)
    close = endpoints.serve("127.0.0.1", port, registry, state)
    yield port
    close()


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_a_starting_server_is_live_and_not_ready_and_says_what_loads(port, state):
    state.loaded(["tts"])
    status, body = get(port, "/ready")
    assert status == 503
    assert json.loads(body) == {
        "ready": False, "phase": "starting", "models": {"llava": "loading", "tts": "up"}, "fault": "",
    }  # fmt: skip
    assert get(port, "/live")[0] == 200


def test_a_model_that_is_being_replaced_is_forgiven_for_a_while(port, state, monkeypatch):
    state.serving()
    assert get(port, "/ready")[0] == 200
    now = readiness.time.monotonic()
    state.down("tts")
    status, body = get(port, "/ready")
    assert status == 200
    assert json.loads(body)["models"]["tts"].startswith("down for")
    monkeypatch.setattr(readiness.time, "monotonic", lambda: now + 31)
    state.down("tts")  # tried again: still the same outage
    assert get(port, "/ready")[0] == 503
    assert get(port, "/live")[0] == 200
    state.up("tts")
    assert get(port, "/ready")[0] == 200


def test_a_stopping_server_is_not_ready_and_live(port, state):
    state.serving()
    state.stopping()
    assert [get(port, path)[0] for path in ("/ready", "/live")] == [503, 200]


def test_a_broken_server_is_neither_and_says_why(port, state):
    state.serving()
    state.broken("model 'tts' was restarted 5 times")
    assert [get(port, path)[0] for path in ("/ready", "/live")] == [503, 503]
    assert "restarted 5 times" in json.loads(get(port, "/live")[1])["fault"]


def test_metrics_are_there_from_the_start_and_nothing_else(port):
    status, body = get(port, "/metrics")
    assert status == 200
    assert b"tritone_model_up 1.0" in body
    assert get(port, "/etc/passwd")[0] == 404


def test_callers_who_hold_connections_open_keep_nobody_out(port):
    held = []
    try:
        for _ in range(endpoints.MOST_CONNECTIONS + 8):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=10))
            held[-1].sendall(b"GET /ready HTTP/1.1\r\nX-Slow: ")
        assert get(port, "/live")[0] == 200
        assert held[0].recv(1) == b""  # the oldest had to go
    finally:
        for each in held:
            each.close()


def test_a_silent_caller_is_let_go(port, monkeypatch):
    monkeypatch.setattr(endpoints, "SILENT_S", 0.1)
    assert endpoints.SILENT_S == 0.1
    close = endpoints.serve("127.0.0.1", (other := background.free_ports(1)[0]), CollectorRegistry(), Readiness([], 0))
    try:
        with socket.create_connection(("127.0.0.1", other), timeout=20) as silent:
            assert silent.recv(1) == b""
    finally:
        close()

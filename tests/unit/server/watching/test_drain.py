"""Waiting for requests in flight: what counts as one, in which order things happen, and what cuts it short."""

import http.server
import threading
from concurrent.futures import Future
from dataclasses import replace

import pytest
from unit.server.test_server import ensemble, parameter, write

from tritone import pulse
from tritone.pulse import Pulse
from tritone.server import repository
from tritone.server.watching import drain
from tritone.server.watching.policy import Stopping

IDLE = Pulse("", 1, True, 0.0, 0, 0, 0.0, 0.0, 0, 0.0, 0.0, 0, 0.0, 0, "")


class Stop:
    """A person whose patience is counted in looks."""

    def __init__(self, looks=1000):
        self.looks, self.pauses = looks, []

    def again(self):
        return len(self.pauses) >= self.looks

    def pause(self, seconds):
        self.pauses.append(seconds)


def run(counts, stop=None, **plan):
    """Drain with the requests in flight that each look finds; returns (left, what happened in order)."""
    events, counts = [], list(counts)

    def in_flight():
        return counts.pop(0) if counts[1:] else counts[0]

    left = drain.drain(in_flight, lambda: events.append("refuse"), stop or Stop(), Stopping(**plan), events.append)
    return left, events


def test_waits_until_nothing_is_in_flight_and_says_what_is():
    stop = Stop()
    left, events = run([8, 8, 8, 9, 3, 3, 0, 1, 0, 0, 0], stop)
    assert left == 0
    assert events == ["refuse", "stopping: 8 requests in flight", "stopping: 3 requests in flight"]
    assert len(stop.pauses) == 11  # a request that is between two models for one look is not lost


def test_an_idle_server_does_not_wait():
    stop = Stop()
    assert run([0], stop) == (0, ["refuse"])
    assert sum(stop.pauses) < 1


def test_goes_on_serving_before_it_refuses():
    class Watching(Stop):
        def pause(self, seconds):
            super().pause(seconds)
            events.append(seconds)

    events = []
    drain.drain(lambda: 0, lambda: events.append("refuse"), Watching(), Stopping(not_ready_s=10), events.append)
    assert events[:2] == [10, "refuse"]


def test_a_second_signal_ends_it_and_the_loss_is_told():
    left, events = run([2], Stop(looks=20))
    assert left == 2
    assert events[-1] == "stopping: 2 requests in flight did not finish and will be lost"


def test_time_ends_it():
    assert run([1], drain_s=0.0)[0] == 1


@pytest.fixture
def models(tmp_path):
    write(tmp_path, "unet")
    write(tmp_path, "diffusion", parameter("calls", "unet"))
    write(tmp_path, "face", parameter("calls", "diffusion"))
    write(tmp_path, "assistant", ensemble("face", "unet"))
    return repository.read([tmp_path], "cpu")


def test_what_one_model_asks_another_for_is_not_another_request(models):
    face, diffusion = replace(IDLE, model="face", in_flight=8), replace(IDLE, model="diffusion", in_flight=10)
    unet = replace(IDLE, model="unet", executing_since=5.0)
    assert drain.requests([face, diffusion, unet], models) == 10  # two of them came to diffusion itself
    assert drain.requests([diffusion], models) == 10
    assert drain.requests([unet], models) == 1
    assert drain.requests([replace(IDLE, model="face")], models) == 0


@pytest.fixture
def metrics():
    """A page of Triton's metrics."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(
                b"# HELP nv_inference_pending_request_count Pending\n# TYPE nv_inference_pending_request_count gauge\n"
                b'nv_inference_pending_request_count{model="a",version="1"} 2\n'
                b'nv_inference_pending_request_count{model="b",version="1"} 1\nnv_other 9\n'
            )

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()


def test_pulses_queues_and_canaries_are_counted(tmp_path, models, metrics):
    folder = tmp_path / "pulses"
    folder.mkdir()
    unanswered = Future()
    foreign = type("Guard", (), {"ask": lambda self: unanswered})
    work = drain.Work(folder, metrics, models, [foreign()])
    assert work() == 3 + 1
    unanswered.set_result("")
    assert work() == 3
    pulse.Heart("face", folder).set("in_flight", 4)
    assert work() == 4  # the queued ones may be theirs


def test_a_server_that_is_gone_has_nothing_in_flight(tmp_path, models):
    assert drain.Work(tmp_path, "http://127.0.0.1:9/metrics", models, [])() == 0

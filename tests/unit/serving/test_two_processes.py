"""Two processes of one model (`count: 2`): whom Triton is to ask, what each shows, and how each is judged."""

import asyncio
import json
import threading
import time

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils
from unit.serving.small_models import (
    code_of,
    finish,
    inside,
    kill,
    later,
    make_model,
    request,
    texts,
    upper,
    wait_until,
)

from tritone import pulse, serving
from tritone.errors import Unavailable
from tritone.serving import admission
from tritone.serving.admission import Door, Fellows
from tritone.serving.placing import instances_of

TWO = {"instance_group": [{"count": 2}]}


@pytest.fixture(autouse=True)
def server_of_its_own(tmp_path, monkeypatch):
    """Models of other tests are no fellows."""
    monkeypatch.setenv(pulse.FOLDER, str(tmp_path))
    monkeypatch.setattr(pulse, "LISTED_S", 0.0)


@pytest.fixture
def hearts(tmp_path):
    """The pulses of two processes, the first of which has more in hand."""
    busy, free = pulse.Heart("m", tmp_path), pulse.Heart("m", tmp_path)
    busy.set("load", 2.0)
    return busy, free


def other(heart):
    return Fellows(heart.name.split(".")[0].partition("#")[0], heart)


# ---- whom Triton is to ask


def test_who_has_more_in_hand_gives_way_until_the_other_has_as_much(hearts):
    busy, free = hearts
    gave = threading.Thread(target=other(busy).give_way, daemon=True)
    gave.start()
    gave.join(0.1)
    assert gave.is_alive()
    free.set("load", 2.0)
    gave.join(5)
    assert not gave.is_alive()


def test_who_has_the_least_in_hand_never_waits(hearts):
    busy, free = hearts
    other(free).give_way()
    free.set("load", 2.0)
    other(free).give_way()
    other(busy).give_way()


def is_ill(heart):
    heart.fail("its engine is lost")


def executes(heart):
    heart.set("executing_since", time.monotonic() - 2 * admission.TAKING_S)


@pytest.mark.parametrize("what", [kill, is_ill, executes])
def test_nobody_gives_way_to_a_process_that_takes_no_requests(hearts, what):
    busy, free = hearts
    assert other(busy).has_freer()
    what(free)
    other(busy).give_way()


def test_nobody_gives_way_to_a_process_that_is_frozen(hearts, monkeypatch):
    busy, _ = hearts
    assert other(busy).has_freer()
    monkeypatch.setattr(admission, "SILENT_S", -1.0)
    other(busy).give_way()


def test_a_process_that_lets_a_request_in_is_waited_for(hearts):
    """Else whoever is full would be asked again and again while the other is at it."""
    busy, free = hearts
    free.set("executing_since", time.monotonic())
    assert other(busy).has_freer()


def test_a_full_door_is_no_freer_than_another_whatever_it_has_inside():
    full, roomy = Door("m", 1, 60.0), Door("m", 3, 60.0)
    full.admit(0.5)
    tickets = [roomy.admit(7.0) for _ in range(2)]
    assert (full.load, roomy.load) == (float("inf"), 14.0)
    tickets[0].finish()
    assert roomy.load == 7.0


def test_instances_are_counted_on_each_gpu_and_in_each_group():
    assert instances_of({}) == instances_of({"instance_group": []}) == 1
    assert instances_of({"instance_group": [{"count": 2, "gpus": [0, 1]}, {"count": 1}]}) == 5


# ---- who was asked though he is full


def full_model(monkeypatch):
    """A model of two processes that has one request in hand and room for no other; what ends that one."""
    monkeypatch.setattr(Fellows, "give_way", lambda self: None)
    model, end = make_model(**TWO), threading.Event()
    model.open_door(serving.DoorSettings(max_in_flight=1, max_wait_s=60))

    async def infer(text):
        await asyncio.to_thread(end.wait)
        return {"text": text}

    first = request("first")
    later(model, [first], infer)
    return model, infer, end, first


def fellow_of(model, load=0.0):
    heart = pulse.Heart("m", model.heart.where)
    heart.set("load", load)
    return heart


def test_what_finds_no_room_here_is_answered_by_a_process_that_has_some(monkeypatch):
    seen = []

    def child(one):
        seen.append(one)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("text", np.array([[b"from the other"]], np.object_))])]

    pb_utils.MODELS["m"] = child
    model, infer, end, first = full_model(monkeypatch)
    fellow_of(model)
    second = request("second", outputs=("text",), number=3)
    later(model, [second], infer)
    [[response]] = finish(second)
    assert texts(response) == ["from the other"]
    assert {tensor.name(): tensor.as_numpy().tolist() for tensor in seen[0].inputs()} == {
        "text": [[b"second"]],
        "number": [[3]],
    }
    assert json.loads(seen[0].parameters())["caller"] == model.heart.name
    end.set()
    assert [texts(response) for [response] in finish(first)] == [["first"]]


def test_what_was_passed_on_once_is_not_passed_on_again(monkeypatch):
    pb_utils.MODELS["m"] = lambda one: pytest.fail("passed on")
    model, infer, end, _ = full_model(monkeypatch)
    passed_by = fellow_of(model)
    passed = request("again", parameters=inside(caller=passed_by.name))
    later(model, [passed], infer)
    [[response]] = finish(passed)
    assert code_of(response) == pb_utils.TritonError.UNAVAILABLE
    end.set()


def test_where_all_are_full_the_next_is_refused_at_once(monkeypatch):
    pb_utils.MODELS["m"] = lambda one: pytest.fail("passed on")
    model, infer, end, _ = full_model(monkeypatch)
    fellow_of(model, load=float("inf"))
    second = request("second")
    later(model, [second], infer)
    [[response]] = finish(second)
    assert "already has 1 requests in flight, its limit" in response.error().message()
    end.set()


# ---- a face's places


def test_a_face_has_as_many_places_as_all_processes_of_the_model_it_calls():
    face = make_model({"calls": "placed"}, name="face")
    face.open_door(serving.DoorSettings(max_in_flight=80, max_wait_s=5, at_once=0))
    one = request("a")
    later(face, [one], answer_at_once)
    finish(one)
    assert face._entrance.door.at_once == 1
    for _ in range(2):
        child = make_model(name="placed")
        child.open_door(serving.DoorSettings(max_in_flight=80, max_wait_s=5, at_once=16))
    one = request("a")
    later(face, [one], answer_at_once)
    finish(one)
    assert face._entrance.door.at_once == 32


async def answer_at_once(text):
    return {"text": text}


# ---- what each shows


def test_each_process_shows_numbers_of_its_own():
    for place in range(2):
        args = {"model_config": json.dumps({"input": [], "output": [], **TWO}), "model_name": "shown"}
        args |= {"model_instance_kind": "CPU", "model_instance_device_id": "0"}
        model = serving.Model({**args, "model_instance_name": f"shown_0_{place}"})
        model.publish(lambda place=place: {"tritone_test_slots": ("Slots", 16.0 + place)})
    shown = pb_utils.MetricFamily.shown
    wait_until(lambda: shown["tritone_test_slots", "shown_0_1"].value() == 17.0)
    assert shown["tritone_test_slots", "shown_0_0"].value() == 16.0


def probe(model, failing=None):
    """Send a deep canary whose row raises, or is well."""

    def row():
        if failing:
            raise failing

    model.probe(row)
    model.run_each([request("", parameters=inside(canary="deep"))], upper)
    return int(model.heart.get("failed"))


def test_a_process_counts_the_rows_for_deep_canaries_that_failed_since_it_was_well():
    model = make_model()
    assert model.heart.get("probed") == 0.0
    assert [probe(model, ValueError()), probe(model, ValueError())] == [1, 2]
    assert model.heart.get("probed") == pytest.approx(time.monotonic(), abs=5)
    assert probe(model) == 0
    assert probe(model, ValueError()) == 1
    model.run_each([request("a")], upper)
    assert model.heart.get("failed") == 0


def test_a_row_that_is_refused_is_no_failure():
    model = make_model()
    assert probe(model, Unavailable("model 'n' is being loaded anew")) == 0


def test_a_coroutine_that_fails_for_a_deep_canary_is_counted_too():
    model, one = make_model(), request("", parameters=inside(canary="deep"))

    async def row():
        raise ValueError

    model.probe(row)
    later(model, [one], answer_at_once)
    finish(one)
    assert model.heart.get("failed") == 1

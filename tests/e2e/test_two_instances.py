"""Models with `count: 2`: two processes of one model, of which Triton asks one or the other."""

import contextlib
import re
import shutil
import signal
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e import throwaway
from e2e.asking import BACK_WITHIN_S, answers, ask, restarts, until
from e2e.test_llava_engine import ENDLESS, idle, metrics
from tritonclient.utils import InferenceServerException

from tritone import pulse
from tritone.server import background
from tritone_client import Client, Error, ModelNotReady, Overloaded, RequestTimedOut

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
HUNG_AFTER_S = 8
LOADED_WITHIN_S = 60
PLACES = 3  # of each process of the waiter


def pulses(address, model):
    """What the model's processes say of themselves, by process id."""
    folder = throwaway.stubs(address.process, model)[0].environ()[pulse.FOLDER]
    return {each.pid: each for each in pulse.read(Path(folder), model) if each.alive}


# ---- a small model, which loads in a second


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A waiter of two processes under an impatient watchdog."""
    folder, said = tmp_path_factory.mktemp("small"), []
    door = f"[ {throwaway.parameter('max_in_flight', PLACES)}, {throwaway.parameter('max_wait_s', 60)} ]"
    throwaway.write_model(folder / "models", "waiter", code=throwaway.WAITER, count=2, parameters=door)
    options = (f"--model-repository={folder / 'models'}", "--canary-interval=0.5", f"--hung-after={HUNG_AFTER_S}")
    with background.serve(*options, log_file=folder / "log", report=said.append) as address:
        yield address, said


def in_flight(address):
    return sorted(each.in_flight for each in pulses(address, "waiter").values())


def is_well(address):
    return answers(lambda: ask(address, "waiter", b"/"))


def test_nobody_is_refused_at_a_full_door_while_the_other_stands_open(small, tmp_path):
    """Short requests lie between the long ones: in turn, all the long ones would come to one process."""
    address, _ = small
    gate = tmp_path / "gate"
    with ThreadPoolExecutor(2 * PLACES) as callers, contextlib.ExitStack() as stack:
        stack.callback(gate.touch)  # or a failure would be told a minute later
        long = []
        for number in range(1, 2 * PLACES + 1):
            long.append(callers.submit(ask, address, "waiter", str(gate).encode(), 60))
            until(lambda number=number: sum(in_flight(address)) == number, "it is in flight")
            if number < 2 * PLACES:
                assert ask(address, "waiter", b"/") == b"/"
        assert in_flight(address) == [PLACES, PLACES]
        with pytest.raises(InferenceServerException, match=f"already has {PLACES} requests in flight, its limit"):
            ask(address, "waiter", b"/")
        stack.close()
        assert [answer.result() for answer in long] == [str(gate).encode()] * 2 * PLACES


# The backend itself takes a stub for dead whose heart it has not heard for some seconds, and says so to a canary.
@pytest.mark.parametrize(
    ("number", "cause"),
    [(signal.SIGKILL, "process {pid} is dead"), (signal.SIGSTOP, "process {pid} is frozen|its stub is dead")],
    ids=["dies", "freezes"],
)
def test_one_process_of_two_that_dies_or_freezes_is_found_and_the_model_comes_back_with_both(small, number, cause):
    address, said = small
    before, told = restarts(address, "waiter"), len(said)
    stub = throwaway.stubs(address.process, "waiter")[1]
    stub.send_signal(number)
    until(lambda: restarts(address, "waiter") == before + 1, "the restart is counted", HUNG_AFTER_S + BACK_WITHIN_S)
    [line] = [line for line in said[told:] if "reloading" in line]
    assert "'waiter'" in line
    assert re.search(cause.format(pid=stub.pid), line)
    until(lambda: is_well(address), "the model is back")
    assert len(throwaway.stubs(address.process, "waiter")) == len(pulses(address, "waiter")) == 2


# ---- llava behind its face


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`llava` of two processes, and its unary face."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(ROOT / "model_repository", folder / "models", ignore=shutil.ignore_patterns("__pycache__"))
    config = folder / "models" / "llava" / "configs" / "cpu.pbtxt"
    config.write_text(config.read_text("utf-8").replace("count: 1", "count: 2"), "utf-8")
    options = (f"--model-repository={folder / 'models'}", "--device=cpu", "--models=llava_answer")
    with background.serve(*options, log_file=folder / "log") as address:
        yield address


def by_instance(address, name):
    """A number of the engine, by process."""
    page = urllib.request.urlopen(f"http://{address.metrics}/metrics", timeout=10).read().decode()
    found = re.findall(rf'^tritone_llava_{name}\{{.*model_instance="(\w+)"\}} (\S+)$', page, re.MULTILINE)
    return {instance: float(value) for instance, value in found}


def outcome(call):
    try:
        return call()
    except Error as error:
        return error


def tell(client, **options):
    return outcome(lambda: client.ask("Tell me a story.", **ENDLESS | options))


def test_each_process_shows_its_own_numbers_which_add_up_to_the_models(server):
    assert by_instance(server, "slots") == {"llava_0_0": 16, "llava_0_1": 16}
    before = metrics(server)["tokens_total"]
    with Client(server.grpc, timeout_s=60, retries=0) as client, ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: tell(client, max_tokens=60), range(4)))
    tokens = sum(answer.completion_tokens for answer in told)
    until(lambda: metrics(server)["tokens_total"] == before + tokens, "all tokens are counted once")
    assert all(by_instance(server, "tokens_total").values())
    assert set(by_instance(server, "slots_active").values()) == {0.0}


def test_the_face_has_a_place_for_each_slot_of_both(server):
    assert sum(each.places for each in pulses(server, "llava").values()) == 32
    with Client(server.grpc, timeout_s=60, retries=0) as client, ThreadPoolExecutor(32) as pool:
        told = list(pool.map(lambda _: tell(client, max_tokens=100), range(32)))
    assert [getattr(answer, "finish_reason", answer) for answer in told] == ["length"] * 32


def test_a_caller_who_leaves_the_face_frees_the_slot_in_the_process_that_has_it_and_no_other(server):
    until(lambda: idle(server), "nothing is left")
    before = by_instance(server, "cancelled_total")
    with (
        ThreadPoolExecutor(8) as pool,
        Client(server.grpc, timeout_s=60, retries=0) as stayer,
        Client(server.grpc, timeout_s=1.0, retries=0) as leaver,
    ):
        stay = [pool.submit(tell, stayer) for _ in range(2)]
        leave = [pool.submit(tell, leaver) for _ in range(4)]
        gone = [answer.result() for answer in leave]
        stayed = [answer.result() for answer in stay]
    assert all(isinstance(answer, RequestTimedOut) for answer in gone)
    assert [answer.completion_tokens for answer in stayed] == [ENDLESS["max_tokens"]] * 2
    until(lambda: idle(server), "the slots are free")
    cancelled = {name: value - before[name] for name, value in by_instance(server, "cancelled_total").items()}
    assert sum(cancelled.values()) == 4
    assert all(cancelled.values()), "both had some of them"


def test_when_one_of_two_is_killed_everybody_hears_and_the_numbers_are_right_again(server):
    with Client(server.grpc, timeout_s=30, retries=0) as client, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(tell, client) for _ in range(4)]
        until(lambda: sum(by_instance(server, "slots_active").values()) == 4, "all are being answered")
        throwaway.stubs(server.process, "llava")[0].kill()
        told = [answer.result() for answer in asked]
        assert not any(isinstance(answer, RequestTimedOut) for answer in told)
        refusals = [answer for answer in told if isinstance(answer, Error)]
        assert refusals
        assert all(isinstance(answer, (Overloaded, ModelNotReady)) for answer in refusals), refusals
        until(lambda: not isinstance(tell(client, max_tokens=5), Error), "it is back", LOADED_WITHIN_S)
    until(lambda: idle(server), "no slot of a dead process is shown as taken")
    assert by_instance(server, "slots") == {"llava_0_0": 16, "llava_0_1": 16}

"""`tritone serve` with models that write a pulse: who is replaced and who is left alone, giving up, and the drain."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from e2e import throwaway
from e2e.asking import STOPS_WITHIN_S, answers, ask, ready, restarts, scrape, until
from tritonclient.utils import InferenceServerException

from tritone.server import background

pytestmark = pytest.mark.e2e

HUNG_AFTER_S = 3


@pytest.fixture(scope="module")
def pulsing(tmp_path_factory):
    """Two models with a pulse under an impatient watchdog."""
    folder, said = tmp_path_factory.mktemp("pulsing"), []
    for name in ("one", "two"):
        throwaway.write_model(folder / "models", name, code=throwaway.PULSING)
    impatient = ("--canary-interval=0.5", f"--hung-after={HUNG_AFTER_S}")
    with background.serve(
        f"--model-repository={folder / 'models'}", *impatient, log_file=folder / "log", report=said.append
    ) as address:
        yield address, said


def test_a_model_that_works_longer_than_a_hung_one_may_be_silent_is_left_alone(pulsing):
    """Its canaries wait all that time behind the work, one after the other."""
    address, _ = pulsing
    before = restarts(address, "one")
    assert ask(address, "one", f"work {2.5 * HUNG_AFTER_S}".encode(), timeout=60) == b"well"
    assert restarts(address, "one") == before


def test_requests_that_are_answered_later_are_seen_to_be_in_flight(pulsing):
    address, _ = pulsing
    with ThreadPoolExecutor(3) as callers:
        asked = [callers.submit(ask, address, "one", b"later 2.5") for _ in range(3)]
        until(lambda: scrape(address)['tritone_requests_in_flight{model="one"}'] == 3, "three are in flight")
    assert [answer.result() for answer in asked] == [b"well"] * 3
    until(lambda: scrape(address)['tritone_requests_in_flight{model="one"}'] == 0, "none is in flight")


def test_a_model_that_works_without_progress_is_replaced(pulsing):
    address, said = pulsing
    before = restarts(address, "one")
    with pytest.raises(InferenceServerException, match="not healthy"):
        ask(address, "one", b"hang", timeout=60)
    until(lambda: restarts(address, "one") == before + 1, "the restart is counted")
    assert ask(address, "one", b"work") == b"well"
    until(lambda: any("'one': process" in line and "made no progress" in line for line in said), "the cause is told")
    assert ready(address)[0] == 200


def test_a_model_that_calls_itself_ill_is_replaced_at_once(pulsing):
    address, said = pulsing
    before = restarts(address, "two")
    assert ask(address, "two", b"ill") == b"well"
    until(lambda: restarts(address, "two") == before + 1, "the restart is counted")
    until(lambda: answers(lambda: ask(address, "two", b"work")), "the model is back")
    assert any("is ill: a thread has died" in line for line in said)


def test_gives_up_when_a_model_dies_too_often(tmp_path):
    throwaway.write_model(tmp_path / "models", "echo")
    said = []
    options = (f"--model-repository={tmp_path / 'models'}", "--max-restarts=1")
    with background.serve(*options, log_file=tmp_path / "log", report=said.append) as address:
        throwaway.stubs(address.process, "echo")[0].kill()
        until(lambda: restarts(address, "echo") == 1, "the first restart is counted")
        throwaway.stubs(address.process, "echo")[0].kill()
        assert address.process.wait(STOPS_WITHIN_S) == 1
    assert any("'echo' was restarted 1 times within 600 s and has failed again" in line for line in said)


def test_gives_up_when_a_model_does_not_load_in_time(tmp_path):
    obstacle, said = tmp_path / "obstacle", []
    throwaway.write_model(
        tmp_path / "models", "echo", initialize=f"time.sleep(3600 if os.path.exists('{obstacle}') else 0)"
    )
    throwaway.write_model(tmp_path / "models", "other")
    options = (f"--model-repository={tmp_path / 'models'}", "--load-timeout=10")
    with background.serve(*options, log_file=tmp_path / "log", report=said.append) as address:
        obstacle.touch()
        throwaway.stubs(address.process, "echo")[0].kill()
        until(lambda: scrape(address)['tritone_model_up{model="echo"}'] == 0, "the dead one is noticed")
        throwaway.stubs(address.process, "other")[0].kill()
        until(lambda: restarts(address, "other") == 1, "the other is back meanwhile")
        assert address.process.wait(10 + STOPS_WITHIN_S) == 1
    assert any("'echo' was not loaded again within 10 s" in line for line in said)


def test_every_request_in_flight_is_answered_before_the_server_stops(tmp_path):
    throwaway.write_model(tmp_path / "models", "pulsing", code=throwaway.PULSING)
    throwaway.write_model(tmp_path / "models", "foreign")  # has no pulse
    said = []
    with (
        ThreadPoolExecutor(9) as callers,
        background.serve(
            f"--model-repository={tmp_path / 'models'}", log_file=tmp_path / "log", report=said.append
        ) as address,
    ):
        asked = [callers.submit(ask, address, "pulsing", b"later 3", 60) for _ in range(8)]
        until(lambda: scrape(address)['tritone_requests_in_flight{model="pulsing"}'] == 8, "all are in flight")
        asked.append(callers.submit(ask, address, "foreign", b"slow", 60))
        time.sleep(0.3)  # so that it is under way
        address.process.terminate()
        until(lambda: ready(address)[0] == 503, "balancers are told")
        assert [answer.result() for answer in asked] == [b"draining"] * 8 + [b"slow"]
        assert address.process.wait(STOPS_WITHIN_S) == 0
    assert any(line.startswith("stopping: ") and "in flight" in line for line in said)
    assert not any("lost" in line for line in said)
    assert said[-1] == "stopped"


def test_a_stub_at_work_ends_with_a_tritone_that_is_killed(tmp_path):
    """Else it would keep memory, the device's too, from the next server. The backend's own check does it."""
    throwaway.write_model(tmp_path / "models", "one", code=throwaway.PULSING)
    with (
        background.serve(f"--model-repository={tmp_path / 'models'}", log_file=tmp_path / "log") as address,
        ThreadPoolExecutor(1) as callers,
    ):
        asked = callers.submit(ask, address, "one", b"hang", 60)
        [stub] = throwaway.stubs(address.process, "one")
        time.sleep(1)  # for the request to get there
        address.process.kill()
        assert not psutil.wait_procs([stub], timeout=5)[1]
        assert isinstance(asked.exception(), InferenceServerException)


def test_a_second_signal_stops_at_once(tmp_path):
    throwaway.write_model(tmp_path / "models", "pulsing", code=throwaway.PULSING)
    said = []
    with (
        ThreadPoolExecutor(1) as callers,
        background.serve(
            f"--model-repository={tmp_path / 'models'}", "--drain-seconds=3600", log_file=tmp_path / "log",
            report=said.append,
        ) as address,
    ):  # fmt: skip
        asked = callers.submit(ask, address, "pulsing", b"later 3600", 100)
        until(lambda: scrape(address)['tritone_requests_in_flight{model="pulsing"}'] == 1, "it is in flight")
        address.process.terminate()
        until(lambda: any("1 request in flight" in line for line in said), "it waits")
        address.process.send_signal(signal.SIGINT)
        assert address.process.wait(STOPS_WITHIN_S) == 0
        with pytest.raises(InferenceServerException):
            asked.result()
    assert any("1 request in flight did not finish and will be lost" in line for line in said)

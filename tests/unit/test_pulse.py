"""What processes of one server tell each other: alive, busy, ill; whose call nobody waits for; when hope is gone."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from tritone import pulse
from tritone.pulse import Heart
from tritone.serving import cancelling
from tritone.serving.threads import Hopeless, WaitingThreads, in_thread


def wait_until(condition, within_s=10):
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < within_s
        time.sleep(0.01)


def only(where):
    [found] = pulse.read(where)
    return found


def test_a_pulse_says_what_its_process_does(tmp_path):
    heart = Heart("m", tmp_path)
    heart.progressed(3)
    heart.set("in_flight", 2)
    with heart.executing():
        during = only(tmp_path)
    after = only(tmp_path)
    assert (during.model, during.pid, during.alive) == ("m", os.getpid(), True)
    assert (during.progress, during.in_flight, during.ill) == (3, 2, "")
    assert during.executing_since == pytest.approx(time.monotonic(), abs=5)
    assert after.executing_since == 0.0
    assert after.last_success == 0.0
    heart.succeeded()
    assert only(tmp_path).last_success == pytest.approx(time.monotonic(), abs=5)


def test_a_model_says_what_it_offers_as_long_as_its_process_lives(tmp_path):
    heart, silent = Heart("讲", tmp_path), Heart("silent", tmp_path)
    assert pulse.facts(tmp_path) == {}
    heart.tell({"voices": ["乔", "joe"]})
    heart.tell({"voices": ["乔"]})
    assert pulse.facts(tmp_path) == {"讲": {"voices": ["乔"]}}
    pulse.tell_ensembles(tmp_path, {"face": ["讲"], "incomplete": ["讲", "silent"]})
    assert pulse.facts(tmp_path) == {"讲": {"voices": ["乔"]}, "face": {}}
    told, dead = tmp_path / f"{heart.name}{pulse.FACTS}", tmp_path / "gone.1.pulse"
    dead.write_bytes((tmp_path / silent.name).read_bytes())
    shutil.copy(told, f"{dead}{pulse.FACTS}")
    assert set(pulse.facts(tmp_path)) == {"讲", "face"}
    pulse.remove_dead(tmp_path)
    assert [file.name for file in tmp_path.glob(f"*{pulse.FACTS}")] == [told.name]


def test_it_beats_by_itself(tmp_path):
    Heart("m", tmp_path)
    first = only(tmp_path).beat
    wait_until(lambda: only(tmp_path).beat > first)


def test_who_looks_often_sees_what_is_written_at_once_and_a_dead_process_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(pulse, "LISTED_S", 0.0)
    heart, dead = Heart("m", tmp_path), "m.1.pulse"
    (tmp_path / dead).write_bytes((tmp_path / heart.name).read_bytes())
    pages = pulse.Pages(tmp_path, heart.name.split(".")[0])
    for progress in range(3):
        assert [(each.pid, each.progress) for each in pages.read()] == [(os.getpid(), progress)]
        heart.progressed()


def test_the_first_fault_makes_ill_for_good(tmp_path):
    heart, fault = Heart("m", tmp_path), ["its engine is lost"]
    heart.faults.append(lambda: fault[0])
    wait_until(lambda: only(tmp_path).ill)
    fault[0] = ""
    heart.fail("another fault")
    time.sleep(2 * pulse.BEAT_S)
    assert only(tmp_path).ill == heart.ill == "its engine is lost"


def test_a_look_for_faults_that_fails_stops_the_pulse_which_is_seen(tmp_path):
    heart = Heart("m", tmp_path)
    heart.faults.append(lambda: 1 // 0)
    threads = [thread for thread in threading.enumerate() if thread.name == "pulse"]
    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        wait_until(lambda: any(not thread.is_alive() for thread in threads))
    finally:
        threading.excepthook = hook
    last = only(tmp_path).beat
    time.sleep(3 * pulse.BEAT_S)
    assert only(tmp_path).beat == last


STUB = """
import sys, time
from pathlib import Path
from tritone.pulse import Heart
heart = Heart("m", Path(sys.argv[1]))
print(heart.name, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_process_is_known_as_dead_even_while_it_is_a_zombie(tmp_path, number):
    process = subprocess.Popen([sys.executable, "-c", STUB, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    name = process.stdout.readline().strip()
    assert not pulse.is_dead(tmp_path, name)
    assert pulse.processes(tmp_path, "m") == {name}
    process.send_signal(number)
    wait_until(lambda: pulse.is_dead(tmp_path, name))  # nobody has waited for it: a zombie
    assert not only(tmp_path).alive
    process.wait()
    (tmp_path / f"{name}.cancel").touch()  # beside it lies the pipe of `serving.cancelling`
    pulse.remove_dead(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert pulse.is_dead(tmp_path, name)


def test_the_token_is_one_for_all_and_nobody_elses_business(tmp_path):
    tokens = []
    pulse.token.cache_clear()
    threads = [threading.Thread(target=lambda: tokens.append(pulse.token.__wrapped__(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(tokens)) == 1
    assert len(tokens) == 8
    assert len(tokens[0]) == 64
    assert stat.S_IMODE((tmp_path / pulse.TOKEN).stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [pulse.TOKEN]


def test_draining_reaches_every_process(tmp_path):
    heart = Heart("m", tmp_path)
    assert not heart.draining
    (tmp_path / pulse.DRAINING).touch()
    wait_until(lambda: heart.draining)


# ---- cancelling


def test_a_number_reaches_all_processes_of_the_model_and_no_other(tmp_path):
    heard = {"m": [], "m2": [], "other": []}
    boxes = [
        cancelling.Cancellations(Heart(model, tmp_path), heard[key].append)
        for key, model in (("m", "m"), ("m2", "m"), ("other", "m_other"))
    ]
    cancelling.cancel(tmp_path, "m", "17")
    wait_until(lambda: heard["m"] == heard["m2"] == ["17"])
    assert heard["other"] == []
    assert ["17" in box for box in boxes] == [True, True, False]
    assert [box.fault() for box in boxes] == ["", "", ""]


def test_only_so_many_numbers_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(cancelling, "REMEMBERED", 3)
    box = cancelling.Cancellations(Heart("m", tmp_path), lambda _: None)
    for number in range(5):
        cancelling.cancel(tmp_path, "m", str(number))
    wait_until(lambda: "4" in box)
    assert [str(number) in box for number in range(5)] == [False, False, True, True, True]


def test_a_model_that_is_not_there_is_told_nothing(tmp_path):
    cancelling.cancel(tmp_path, "nobody", "1")
    os.mkfifo(tmp_path / "dead.1.pulse.cancel")  # left behind by a process that was killed: nobody reads it
    cancelling.cancel(tmp_path, "dead", "1")


# ---- threads that wait


def test_a_call_that_is_hopeless_is_given_up_and_its_thread_counted(monkeypatch):
    monkeypatch.setattr("tritone.serving.threads.LOST_S", 0.0)
    threads, never = WaitingThreads("calls", 2), threading.Event()

    async def run():
        with pytest.raises(Hopeless, match="it is gone"):
            await threads.run(never.wait, hopeless=lambda: "it is gone")
        assert await threads.run(lambda: 7) == 7  # the other thread serves on

    asyncio.run(run())
    assert threads.fault() == "1 of its 2 threads for calls wait for processes that are gone"
    never.set()
    wait_until(lambda: threads.fault() == "")


def test_a_call_that_had_not_begun_is_taken_back():
    threads, busy, ran = WaitingThreads("calls", 1), threading.Event(), []

    async def run():
        first = asyncio.create_task(threads.run(busy.wait))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(threads.run(ran.append, "second"))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        busy.set()
        await first

    asyncio.run(run())
    assert ran == []


def test_work_that_is_cancelled_holds_its_place_until_it_has_ended():
    go, ended = threading.Event(), []

    def work():
        go.wait(10)
        ended.append(True)

    async def run():
        task = asyncio.create_task(in_thread(work))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended

    asyncio.run(run())

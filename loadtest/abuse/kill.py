"""A model's process dies, idle or at work: what its callers see, how soon it is back, and whether others notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from abuse import catalogue, server
from abuse.bench import REFUSALS, Bench
from abuse.neighbours import ORDINARY, neighbours, verdict
from abuse.report import Report, counted, show
from abuse.requests import Sample, nearest
from abuse.wire import OK, SILENT, Caller, Outcome

USERS = 5
AT_WORK_S = 1.5  # before the kill
DEADLINE_S = 30.0
BACK_S = 60.0  # until then a model must answer again
PAUSE_S = 0.05  # of a user between requests
FOUR = ("llava", "whisper", "sd_unet", "tts")
NEVER = float("nan")  # printed as –
AMONG_THEM = ("clip_text_encoder", "llava_answer", "stable_diffusion")  # a network, a face, a stream: killed idle too
PART_S = 700.0  # all of it; models that are left then are named


def measure(bench: Bench) -> Report:
    """One row a killed model: at work, then idle; and four models at once."""
    report = Report(f"kill: SIGKILL of a model's stubs, with {USERS} users at work, or none")
    plan = [((model,), "work") for model in bench.wanted(catalogue.python_models())]
    if not bench.only:
        plan.append((FOUR, "work"))
    plan += [((model,), "idle") for model in bench.only or AMONG_THEM]
    until = time.monotonic() + PART_S
    for models, when in plan:
        name = " + ".join(models)
        if time.monotonic() > until or bench.address.process.poll() is not None:
            report.missed.append(f"{name} ({when}) and those after it were not reached")
            break
        bench.say(f"killing {name}, {when}")
        report.rows.append(_one(bench, models, when == "work", report.missed))
    return report


@dataclass
class User:
    """Somebody who asks again and again; `came_back` is when a request sent after the kill was answered rightly."""

    kind: str
    samples: Sequence[Sample]
    seen: list[tuple[Outcome, str]] = field(default_factory=list)  # with what was wrong
    came_back: float | None = None

    def live(self, address: str, done: threading.Event, killed: threading.Event) -> None:
        """Ask until everybody is served again."""
        with Caller(address, DEADLINE_S) as caller:
            number = 0
            while not done.wait(PAUSE_S):
                after = killed.is_set()
                sample = self.samples[number % len(self.samples)]
                outcome = sample.ask(caller)
                fault = sample.fault(outcome)
                self.seen.append((outcome, fault))
                if after and not fault and self.came_back is None:
                    self.came_back = time.monotonic()
                number += 1


def _one(bench: Bench, models: Sequence[str], at_work: bool, missed: list[str]) -> dict[str, Any]:
    names = [kind for model in models for kind in nearest(bench.kinds, model, 3 if len(models) == 1 else 1)]
    count = max(USERS if at_work else 1, len(set(names)))
    users = [User(names[n % len(names)], bench.kinds[names[n % len(names)]]) for n in range(count)]
    others = [kind for kind in ORDINARY if not _touches(bench, kind, models)]
    ready = _Ready(bench)
    restarted = server.restarts(bench.address)
    with neighbours(bench.address.grpc, bench.kinds, others, DEADLINE_S) as seen, ready:
        at = _kill(bench, models, users, at_work)
    row = _figures(models, at_work, users, at) | {
        "others": verdict(seen),
        "not ready for, s": ready.seconds,
        "restarts": server.restarts(bench.address) - restarted,
    }
    missed += [f"{row['model']}: {sentence}" for sentence in _missed(row, users, seen)]
    return row


def _touches(bench: Bench, kind: str, models: Sequence[str]) -> bool:
    return any(catalogue.distance(bench.kinds[kind][0].model, model) is not None for model in models)


def _kill(bench: Bench, models: Sequence[str], users: Sequence[User], at_work: bool) -> float:
    """Kill the stubs among the users, wait until all of them are served again; returns when they were killed."""
    done, killed = threading.Event(), threading.Event()
    # Daemons: Ctrl-C ends the script, whoever is still waiting for an answer.
    threads = [
        threading.Thread(target=user.live, args=(bench.address.grpc, done, killed), daemon=True) for user in users
    ]
    if at_work:
        for thread in threads:
            thread.start()
        time.sleep(AT_WORK_S)
    victims = [stub for model in models for stub in server.stubs(bench.address, model)]
    for stub in victims:
        stub.kill()
    at = time.monotonic()
    killed.set()
    if not at_work:
        for thread in threads:
            thread.start()
    while any(user.came_back is None for user in users) and time.monotonic() < at + BACK_S:
        time.sleep(0.1)
    done.set()
    for thread in threads:
        thread.join(DEADLINE_S + 5)
    return at


def _figures(models: Sequence[str], at_work: bool, users: Sequence[User], at: float) -> dict[str, Any]:
    outcomes = [outcome for user in users for outcome, _ in user.seen]
    in_flight = [one for one in outcomes if one.started <= at < one.started + one.seconds]
    failed = [outcome for outcome in outcomes if outcome.code != OK]
    back = [user.came_back - at for user in users if user.came_back is not None]
    slowest = max((outcome.seconds for outcome in failed), default=0.0)
    return {
        "model": f"{' + '.join(models)}, {'at work' if at_work else 'idle'}",
        "users": counted(user.kind for user in users),
        "in flight": counted(outcome.code for outcome in in_flight),
        "errors": f"{counted(outcome.code for outcome in failed)}; slowest {slowest:.1f} s" if failed else "–",
        "first right answer … all served, s": f"{show(min(back, default=NEVER))} … "
        f"{show(max(back) if len(back) == len(users) else NEVER)}",
    }


def _missed(row: dict[str, Any], users: Sequence[User], seen: dict[str, Any]) -> list[str]:
    outcomes = [(outcome, fault) for user in users for outcome, fault in user.seen]
    missed = []
    if never := [user.kind for user in users if user.came_back is None]:
        missed.append(f"not served again within {BACK_S:g} s: {counted(never)}")
    if silent := sum(outcome.code == SILENT for outcome, _ in outcomes):
        missed.append(f"{silent} callers were never answered")
    if wrong := [fault for outcome, fault in outcomes if outcome.ok and fault]:
        missed.append(f"{len(wrong)} wrong answers: {wrong[0]}")
    if bad := [o.code for o, _ in outcomes if o.code not in (OK, SILENT, *REFUSALS)]:
        missed.append(f"errors that no one may retry: {counted(bad)}")
    if any(each.faults for each in seen.values()):
        missed.append(f"others: {row['others']}")
    return missed


class _Ready:
    """Counts the seconds for which the server does not call itself ready."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._done, self.seconds = bench, threading.Event(), 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._done.wait(0.2):
            ready, now = server.is_ready(self._bench.address), time.monotonic()
            self.seconds += 0 if ready else now - last
            last = now

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

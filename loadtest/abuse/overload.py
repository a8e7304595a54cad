"""Three times the load a model can answer: how much is still answered, how soon the rest is refused, who suffers."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

from abuse import load, server
from abuse.bench import REFUSALS, Bench
from abuse.load import Answer, Run, apart
from abuse.neighbours import ORDINARY, Seen, neighbours, p, rest, verdict
from abuse.report import Report, counted
from abuse.requests import Sample
from abuse.wire import OK, read

MODELS = ("clip_text", "clip_image", "llava_answer", "transcribe", "tts", "text_to_image", "voice_assistant")
USERS = {"clip_text": (32, 96), "clip_image": (16, 48), "llava_answer": (8, 16)}
FEW_USERS = (4, 12)  # of all others
PEAK_S = 5.0
FACTOR = 3.0
DEADLINE_S = 60.0
MOST_RATE = 4_000.0  # arrivals a second that one generator can still make


def measure(bench: Bench) -> Report:
    """One row a model."""
    report = Report(f"overload: {FACTOR:g} times the peak, Poisson arrivals for {bench.seconds:g} s")
    for name in bench.wanted(MODELS):
        row, missed = _one(bench, name)
        report.rows.append(row)
        report.missed += [f"{name}: {sentence}" for sentence in missed]
    return report


def _one(bench: Bench, name: str) -> tuple[dict[str, Any], list[str]]:
    address, samples = bench.address, bench.kinds[name]
    messages = [sample.request.SerializeToString() for sample in samples]
    others = [other for other in ORDINARY if other != name]
    bench.say(f"{name}: the peak")
    with neighbours(address.grpc, bench.kinds, others):  # as they are there when the load is three times as much
        peak = apart(load.peak, address.grpc, messages, USERS.get(name, FEW_USERS), PEAK_S)
    server.wait_until_idle(address, limit_s=30)
    quiet, before = rest(address.grpc, bench.kinds, others, 4.0), server.memory(address)
    rate = min(FACTOR * peak, MOST_RATE)
    bench.say(f"{name}: {peak:.1f}/s at best, now {rate:.1f}/s for {bench.seconds:g} s")
    with server.peak(address) as most, neighbours(address.grpc, bench.kinds, others) as loud:
        run = apart(load.overload, address.grpc, messages, rate, bench.seconds, DEADLINE_S)
    bench.say(f"{name}: over; {bench.settle_s:g} s of rest")
    time.sleep(bench.settle_s)
    row = _figures(run, samples, peak) | {
        "neighbours": verdict(loud),
        **{f"{other} p95 before → during, ms": _before_and_during(quiet[other], loud[other]) for other in others},
        "memory own + shm before, MB": before,
        "… at the end": most.after,
        f"… {bench.settle_s:g} s later": server.memory(address),
        "restarts": most.restarts,
    }
    return {"model": name, **row}, _missed(row, loud)


def _before_and_during(quiet: Seen, loud: Seen) -> str:
    return f"{1000 * p(quiet.seconds, 95):.0f} → {1000 * p(loud.seconds, 95):.0f}"


def _figures(run: Run, samples: Sequence[Sample], peak: float) -> dict[str, Any]:
    """What the callers saw. Times are from sending to answer; how late the generator sent is told beside them."""
    accepted = [answer for answer in run.answers if answer.code == OK]
    right, wrong = _judged(accepted, samples)
    refused = [answer for answer in run.answers if answer.code in REFUSALS]
    # A generator that is late goes on sending after the time is up; the load lasts until then.
    window_s = max([run.seconds, *(answer.started for answer in run.answers)])
    in_window = sum(answer.ended <= window_s for answer in right)
    drained_s = max([window_s, *(answer.ended for answer in right)])
    return {
        "peak, /s": peak,
        "offered, /s": len(run.answers) / window_s,
        "generator late p95, ms": 1000 * p(run.late, 95),
        "answered right": f"{in_window} in the window, {len(right)} of {len(run.answers)} at the end",
        "goodput in the window, % of peak": 100 * in_window / window_s / peak,
        "goodput until drained, % of peak": 100 * len(right) / drained_s / peak,
        "accepted p50, s": p((answer.seconds for answer in accepted), 50),
        "accepted p95, s": p((answer.seconds for answer in accepted), 95),
        "refused": counted(answer.code for answer in refused),
        "refusal p50, ms": 1000 * p((answer.seconds for answer in refused), 50),
        "refusal p95, ms": 1000 * p((answer.seconds for answer in refused), 95),
        "wrong answers": f"{len(wrong)} ({wrong[0]})" if wrong else "0",
        "other errors": counted(a.code for a in run.answers if a.code != OK and a.code not in REFUSALS),
    }


def _judged(accepted: Sequence[Answer], samples: Sequence[Sample]) -> tuple[list[Answer], list[str]]:
    """The right answers, and what is wrong with the others. Equal answers are looked at once."""

    @functools.cache
    def fault(sample: int, body: bytes) -> str:
        return samples[sample].check([read(body)])

    faults = [(answer, fault(answer.sample, answer.body)) for answer in accepted]
    return [answer for answer, wrong in faults if not wrong], [wrong for _, wrong in faults if wrong]


def _missed(row: dict[str, Any], loud: dict[str, Seen]) -> list[str]:
    missed = []
    if row["wrong answers"] != "0":
        missed.append(f"wrong answers: {row['wrong answers']}")
    if row["other errors"] != "–":
        missed.append(f"errors that are no refusals: {row['other errors']}")
    if any(seen.faults for seen in loud.values()):
        missed.append(f"neighbours: {row['neighbours']}")
    if row["restarts"]:
        missed.append(f"{row['restarts']:g} restarts by the watchdog: it was busy, not hung")
    return missed

"""Nonsense to every model over gRPC and HTTP: each request must be answered, blamed on its caller, and hurt nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from abuse import catalogue, server
from abuse.bench import Bench
from abuse.neighbours import ORDINARY, neighbours, p, verdict
from abuse.nonsense import claim, grpc_request, http_request
from abuse.report import Report, counted
from abuse.wire import OK, SILENT, Caller, Outcome, post

AT_A_TIME = 4
DEADLINE_S = 30.0
CLAIM_TO = "clip_text_encoder"
PART_S = 240.0  # all of it; models that are left then are named
FAULTS_OF_THE_SERVER = ("INTERNAL", "UNKNOWN", "DATA_LOSS", "RESET", SILENT)


def measure(bench: Bench) -> Report:
    """One row a model and protocol where anything went wrong, and one for everything."""
    report = Report(f"malformed: {bench.requests} requests a model, half of them over HTTP")
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    until = time.monotonic() + PART_S
    python_models = catalogue.python_models()
    sizes = server.by_model(bench.address, python_models)
    with server.peak(bench.address) as most, neighbours(bench.address.grpc, bench.kinds) as seen:
        for number, model in enumerate(bench.wanted(sorted(catalogue.models()))):
            if time.monotonic() > until or bench.address.process.poll() is not None:
                report.missed.append(f"{model} and those after it were not reached")
                break
            bench.say(f"{model}: {bench.requests} malformed requests")
            outcomes[model, "gRPC"] = _over_grpc(bench, model, Random(number), bench.requests // 2)
            outcomes[model, "HTTP"] = _over_http(bench, model, Random(number), bench.requests // 2)
    every = [outcome for found in outcomes.values() for outcome in found]
    report.rows.append(_row("all", "both", every))
    report.rows += [_row(*key, found) for key, found in outcomes.items() if any(map(_fault, found))]
    time.sleep(bench.settle_s)
    report.missed += _missed(bench, every, most.restarts, seen)
    after, grown = server.memory(bench.address), server.grown(sizes, server.by_model(bench.address, python_models))
    report.rows.append(_claim(bench, report.missed))
    report.title += (
        f"; neighbours {verdict(seen)}, p95 "
        + ", ".join(f"{name} {1000 * p(each.seconds, 95):.0f} ms" for name, each in seen.items())
        + f"; memory own + shm, MB: before {most.before}, at the end {most.after}, {bench.settle_s:g} s later "
        f"{after}, most of it of {grown}; restarts {most.restarts:g}; neighbours of {', '.join(ORDINARY)}"
    )
    return report


def _claim(bench: Bench, missed: list[str]) -> dict[str, Any]:
    """One request with a huge claim, after everything else, and whether the server lives on."""
    outcome = post(bench.address.http, *claim(CLAIM_TO), DEADLINE_S)
    time.sleep(2.0)
    if not server.is_ready(bench.address):
        missed.append(f"one request that claims 2**40 elements ended the server: {outcome.code}")
    return _row(f"{CLAIM_TO}, claims 2**40 elements", "HTTP", [outcome])


def _over_grpc(bench: Bench, model: str, random: Random, count: int) -> list[Outcome]:
    requests = [grpc_request(random, model) for _ in range(count)]
    streamed = catalogue.is_decoupled(model)
    with Caller(bench.address.grpc, DEADLINE_S) as caller:
        return _all(lambda request: caller.ask(request, streamed), requests)


def _over_http(bench: Bench, model: str, random: Random, count: int) -> list[Outcome]:
    requests = [http_request(random, model) for _ in range(count)]
    return _all(lambda request: post(bench.address.http, *request, DEADLINE_S), requests)


def _all(ask: Callable[[Any], Outcome], requests: Sequence[Any]) -> list[Outcome]:
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(pool.map(ask, requests))


def _fault(outcome: Outcome) -> bool:
    """Whether the server blames itself, or says nothing. Of HTTP its words say so: broken JSON is a 500 too."""
    inside = "the server's log says where" in outcome.detail
    return outcome.code in FAULTS_OF_THE_SERVER or inside


def _row(model: str, protocol: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    faulty = [outcome for outcome in outcomes if _fault(outcome)]
    return {
        "model": model,
        "protocol": protocol,
        "requests": len(outcomes),
        "codes": counted(outcome.code for outcome in outcomes),
        "the server's own faults": len(faulty),
        "slowest, s": max((outcome.seconds for outcome in outcomes), default=0.0),
        "for example": "; ".join(sorted({outcome.detail[:160] for outcome in faulty})[:3]),
    }


def _missed(bench: Bench, every: Sequence[Outcome], restarts: float, seen: Any) -> list[str]:
    missed = []
    if faults := sum(map(_fault, every)):
        missed.append(f"{faults} requests were answered with a fault of the server's own, or not at all")
    if bench.address.process.poll() is not None:
        missed.append("the server has died")
    if restarts:
        missed.append(f"{restarts:g} models were restarted")
    if any(each.faults for each in seen.values()):
        missed.append(f"neighbours: {verdict(seen)}")
    if not any(outcome.code in (OK, "200", "INVALID_ARGUMENT", "400") for outcome in every):
        missed.append("nothing was answered as a malformed request is")
    return missed

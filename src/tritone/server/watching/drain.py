"""Waits for the requests in flight when the server is to stop.

Tritonserver must not hear of it before: once told to stop, it refuses the calls between models that an accepted
request still needs, whatever its time-out.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from prometheus_client.parser import text_string_to_metric_families

from tritone import pulse
from tritone.pulse import Pulse
from tritone.server.repository import Model
from tritone.server.watching.guard import Guard
from tritone.server.watching.policy import Stopping

LOOK_S = 0.1
QUIET_LOOKS = 3  # in a row: a request on its way from one step of an ensemble to the next is nowhere for a moment
QUEUED = "nv_inference_pending_request_count"
# This machine's own server is never behind a proxy.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Stop(Protocol):
    """Somebody who may lose patience."""

    def again(self) -> bool:
        """Whether the server is to stop at once."""
        ...

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until `again`."""
        ...


def drain(
    in_flight: Callable[[], int], refuse: Callable[[], None], stop: Stop, plan: Stopping, say: Callable[[str], None]
) -> int:
    """Refuse what is new and wait for what is in flight; returns how many requests are left, which will be lost.

    Args:
        in_flight: counts the requests.
        refuse: has new requests refused from now on.
    """
    stop.pause(plan.not_ready_s)
    refuse()
    end, quiet, busy, said, count = time.monotonic() + plan.drain_s, 0, 0, 0, in_flight()
    while not stop.again() and time.monotonic() < end:
        quiet, busy = (0, busy + 1) if count else (quiet + 1, 0)
        if quiet == QUIET_LOOKS:
            break
        # What is there for a moment may be a canary, and the number is only ever told when it falls.
        if busy >= QUIET_LOOKS and (not said or count < said):
            said = count
            say(f"stopping: {_requests(count)} in flight")
        stop.pause(LOOK_S)
        count = in_flight()
    if count:
        say(f"stopping: {_requests(count)} in flight did not finish and will be lost")
    return count


def _requests(count: int) -> str:
    return f"{count} request{'s' if count > 1 else ''}"


class Work:
    """Counts the requests in flight: as the models' pulses say, in Triton's queues, and where there is no pulse."""

    def __init__(self, folder: Path, metrics: str, models: Mapping[str, Model], unasked: list[Guard]) -> None:
        """
        Args:
            metrics: the URL of Triton's metrics.
            unasked: models without a pulse; each is sent a canary, whose answer says that what came before is done.
        """
        self._folder = folder
        self._metrics = metrics
        self._models = models
        self._asked: list[Future[str]] = [guard.ask() for guard in unasked]

    def __call__(self) -> int:
        """How many requests are in flight, each counted once as far as can be known."""
        busy = [each for each in pulse.read(self._folder) if each.alive]
        # What waits in the queue of an inner network is part of a request that a pipeline has in flight.
        accepted = max(requests(busy, self._models), self._queued())
        return accepted + sum(not answer.done() for answer in self._asked)

    def _queued(self) -> int:
        try:
            with _open(self._metrics, timeout=2) as response:
                families = text_string_to_metric_families(response.read().decode())
        except OSError:
            return 0  # the server is gone, and what was queued with it
        return int(sum(sample.value for family in families for sample in family.samples if sample.name == QUEUED))


def requests(pulses: list[Pulse], models: Mapping[str, Model]) -> int:
    """The callers' requests among all that models have in flight: what one model asks another for is not another one.

    At least 1 while any process is at work.
    """
    held: dict[str, int] = {}
    for each in pulses:
        held[each.model] = held.get(each.model, 0) + max(each.in_flight, int(each.executing_since > 0))
    callers: dict[str, int] = dict.fromkeys(held, 0)
    for name, count in held.items():
        for child in models[name].children if name in models else ():
            if child in callers:
                callers[child] += count
    return max(sum(max(0, held[name] - callers[name]) for name in held), int(any(held.values())))

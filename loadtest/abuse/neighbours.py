"""Light users of other models: what they notice of the abuse."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from abuse.requests import Kinds, Sample
from abuse.wire import Caller

ORDINARY = ("clip_text", "llava_answer", "transcribe")
EVERY_S = 0.5  # two requests a second


@dataclass
class Seen:
    """What one neighbour has seen."""

    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # codes of errors and what was wrong with answers


def p(values: Iterable[float], percentile: float) -> float:
    """A percentile; NaN of nothing."""
    listed = list(values)
    return float(np.percentile(listed, percentile)) if listed else float("nan")


@contextmanager
def neighbours(
    address: str, kinds: Kinds, names: Sequence[str] = ORDINARY, deadline_s: float = 60.0
) -> Iterator[dict[str, Seen]]:
    """One user of each kind, two requests a second each, while the context lasts."""
    seen = {name: Seen() for name in names}
    done = threading.Event()
    threads = [
        threading.Thread(target=_live, args=(address, kinds[name], seen[name], done, deadline_s), daemon=True)
        for name in names
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        done.set()
        for thread in threads:
            thread.join()


def _live(address: str, samples: Sequence[Sample], seen: Seen, done: threading.Event, deadline_s: float) -> None:
    with Caller(address, deadline_s) as caller:
        number, due = 0, time.monotonic()
        while not done.wait(max(due - time.monotonic(), 0)):
            due = max(due + EVERY_S, time.monotonic())
            sample = samples[number % len(samples)]
            outcome = sample.ask(caller)
            seen.seconds.append(outcome.seconds)
            if fault := sample.fault(outcome):
                seen.faults.append(fault)
            number += 1


def rest(address: str, kinds: Kinds, names: Sequence[str], seconds: float) -> dict[str, Seen]:
    """What they see while nothing else runs."""
    with neighbours(address, kinds, names) as seen:
        time.sleep(seconds)
    return seen


def verdict(seen: dict[str, Seen]) -> str:
    """How many of their answers were right."""
    asked = sum(len(each.seconds) for each in seen.values())
    wrong = [fault for each in seen.values() for fault in each.faults]
    examples = f" ({', '.join(sorted(set(wrong))[:3])})" if wrong else ""
    return f"{asked - len(wrong)} of {asked} right{examples}"

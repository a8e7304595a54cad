"""How patient `tritone serve` is: with a model that does not answer, with one that dies again and again, when stopping.

Every number of that kind is here. It knows nothing of processes or threads.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """When a model is looked at, when it counts as hung, and how often it is replaced; times in seconds."""

    canary_interval_s: float = 5.0
    deep_interval_s: float = 60.0  # between requests for one real row, to models that nobody else asks
    hung_after_s: float = 120.0  # with work and without progress
    load_timeout_s: float = 600.0
    most_restarts: int = 5  # of one model within restart_window_s
    restart_window_s: float = 600.0
    canary_share: float = 0.02  # of the time of a model that takes a canary for a caller


@dataclass(frozen=True)
class Stopping:
    """How the server goes; times in seconds."""

    not_ready_s: float = 0.0  # between /ready 503 and the first refusal, so that balancers send nobody any more
    drain_s: float = 30.0  # at most, for requests in flight
    exit_timeout_s: int = 2  # for tritonserver itself, which has nothing left to do then


class BudgetSpent(Exception):
    """A model was replaced too often; the message is a sentence that says how often."""


class Budget:
    """How often each model may still be replaced, and how long to wait before the next time."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._taken: dict[str, deque[float]] = defaultdict(deque)
        self._ended: dict[str, float] = {}

    def left(self, model: str, now: float) -> int:
        """Restarts of the model that are still to be had."""
        taken = self._taken[model]
        while taken and now - taken[0] > self._policy.restart_window_s:
            taken.popleft()
        return self._policy.most_restarts - len(taken)

    def take(self, model: str, now: float) -> float:
        """Take one restart; returns the seconds to wait before it: 0, then 1, 2, 4 ... after the last one ended.

        Raises: BudgetSpent: none is left.
        """
        if self.left(model, now) <= 0:
            raise BudgetSpent(
                f"model '{model}' was restarted {self._policy.most_restarts} times within "
                f"{self._policy.restart_window_s:g} s and has failed again"
            )
        before = len(self._taken[model])
        self._taken[model].append(now)
        return max(0.0, self._ended.get(model, now) + 2 ** (before - 1) - now) if before else 0.0

    def ended(self, model: str, now: float) -> None:
        """Note that a restart is over, well or not."""
        self._ended[model] = now

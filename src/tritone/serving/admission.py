"""Doors: who is let in, judged by how much work waits and how fast it has been done lately. It knows nothing of Triton.

A door counts work in a unit of its model: requests, seconds of sound, characters, steps of pixels. From what was
finished while there was work it learns a pace, and from the pace how long a newcomer would wait. Two rules:

    * at most `max_in_flight` requests at a time: they hold memory and threads;
    * at most `max_wait_s` of others' work before one's own, or three times one's own work if that is more: who brings
      an hour of sound may wait longer than who asks a question. Work of others counts up to one's own size, as all
      requests of a model advance side by side. While fewer than `at_once` are inside nobody waits, whatever the pace:
      so many have a slot each.

So no limit is tuned by hand to a machine: a faster one lets more in. Who is not let in hears so at once, and when to
try again.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tritone import pulse
from tritone.errors import Unavailable

HALF_LIFE_S = 20.0  # of busy time, after which a pace is half forgotten
SHORTEST_S = 0.2  # of busy time that a pace is learned from
PATIENCE = 3.0  # how many times its own work a request may wait, where that is more than max_wait_s
SOONEST_S, LATEST_S = 0.1, 60.0  # bounds of "try again in"
LOOK_S = 0.005  # between two looks at one's fellows
SILENT_S = 2.0  # without a beat, four of which were due: a frozen fellow takes no requests
TAKING_S = 0.5  # nor does one whose `execute` has run for longer than it takes to let some in
SLACK_S = 1.0  # a ticket this much older than twice the longest wait was lost on its way


class Pace:
    """Work a second while there is any, forgotten by half every HALF_LIFE_S."""

    def __init__(self) -> None:
        self._work = self._seconds = 0.0

    def add(self, work: float, seconds: float) -> None:
        """Work that was finished in some busy time; either may be 0."""
        kept = 0.5 ** (seconds / HALF_LIFE_S)
        self._work = kept * self._work + work
        self._seconds = kept * self._seconds + seconds

    @property
    def value(self) -> float:
        """0.0 while it is not known."""
        return self._work / self._seconds if self._seconds >= SHORTEST_S else 0.0


class Ticket:
    """A request that was let in."""

    def __init__(self, door: Door, work: float) -> None:
        self._door, self.work, self.left = door, work, work

    def advance(self, work: float) -> None:
        """Some of its work is done."""
        self._door._advance(self, work)

    def leave(self) -> None:
        """It was answered, or its caller has left: what is left of its work will not be done."""
        self._door._leave(self)

    def finish(self) -> None:
        """All of its work is done."""
        self.advance(self.left)
        self.leave()


class Door:
    """Lets requests of one model in."""

    def __init__(self, name: str, max_in_flight: int, max_wait_s: float, at_once: int = 1) -> None:
        self.name, self.max_in_flight, self.max_wait_s, self.at_once = name, max_in_flight, max_wait_s, at_once
        self._inside: set[Ticket] = set()
        self._pace = Pace()
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._inside)

    @property
    def load(self) -> float:
        """Work that is inside; inf where nobody is let in any more."""
        with self._lock:
            is_full = len(self._inside) >= self.max_in_flight
            return math.inf if is_full else sum(ticket.left for ticket in self._inside)

    def admit(self, work: float = 1.0, urgent: bool = False) -> Ticket:
        """Let a request in.

        Args:
            urgent: part of a request that was let in at another door of this server: it never waits out here.

        Raises: Unavailable: too many are inside, or it would wait too long.
        """
        with self._lock:
            if len(self._inside) >= self.max_in_flight:
                raise full(self.name, f"{len(self._inside)} requests in flight, its limit", self._wait(work))
            wait, limit = self._wait(work), self._limit(work)
            if wait > limit and not urgent and len(self._inside) >= self.at_once:
                raise late(self.name, wait, limit)
            self._pass_time()
            ticket = Ticket(self, work)
            self._inside.add(ticket)
            return ticket

    def _wait(self, work: float) -> float:
        """Seconds that the others' work takes, as far as it goes before this much work."""
        pace = self._pace.value
        return sum(min(ticket.left, work) for ticket in self._inside) / pace if pace else 0.0

    def _limit(self, work: float) -> float:
        pace = self._pace.value
        return max(self.max_wait_s, PATIENCE * work / pace) if pace else self.max_wait_s

    def _pass_time(self, work: float = 0.0) -> None:
        now = time.monotonic()
        self._pace.add(work, now - self._looked if self._inside else 0.0)
        self._looked = now

    def _advance(self, ticket: Ticket, work: float) -> None:
        with self._lock:
            done = min(work, ticket.left) if ticket in self._inside else 0.0
            ticket.left -= done
            self._pass_time(done)

    def _leave(self, ticket: Ticket) -> None:
        with self._lock:
            self._pass_time()
            self._inside.discard(ticket)


class Passage:
    """The door of an ensemble: its first step lets in what its last, slow step will do in time.

    The first step gives each row a ticket, a growing number that goes through the ensemble as a tensor. The last step
    shows in its pulse the latest ticket it has taken up and its pace; as both steps' queues keep their order, what
    was given out later is what waits. Tickets that get lost between the steps are passed by later ones, or expire.
    """

    def __init__(self, name: str, step: str, where: Path, max_wait_s: float, doors: int = 1) -> None:
        """`step`: the model that does the work. `doors`: how many processes give out tickets for it."""
        self.name, self.max_wait_s = name, max_wait_s
        self._pages, self._doors = pulse.Pages(where, step), doors
        self._tickets: deque[int] = deque()
        self._lock = threading.Lock()

    def admit(self, rows: int = 1) -> list[int]:
        """Tickets for the next rows.

        Raises: Unavailable: the work that waits takes longer than `max_wait_s`.
        """
        with self._lock:
            now = time.monotonic_ns()
            wait = self._wait(now)
            if wait > self.max_wait_s:
                raise late(self.name, wait, self.max_wait_s)
            tickets = [now + row for row in range(rows)]
            self._tickets += tickets
            return tickets

    def _wait(self, now: int) -> float:
        known = self._pages.read()
        seen = max((p.seen for p in known), default=0)
        oldest = now - int(1e9 * (2 * self.max_wait_s + SLACK_S))
        while self._tickets and self._tickets[0] <= max(seen, oldest):
            self._tickets.popleft()
        pace = sum(p.pace for p in known)
        return self._doors * len(self._tickets) / pace if pace else 0.0


class Fellows:
    """The other processes of a model; who has more in hand than one of them steps back, so that Triton asks that one.

    Triton hands the next request to an instance whose `execute` has returned, in turn and whatever that one still has
    in hand. A model that answers later returns at once, so one of its processes could refuse at a full door while
    another's stands open. A process whose `execute` has not returned yet is asked nothing; the one with the least in
    hand never waits here, so that there always is one to take the next request.
    """

    def __init__(self, model: str, heart: pulse.Heart) -> None:
        """`heart`: of this process."""
        self._heart = heart
        self._pages = pulse.Pages(heart.where, model, but=heart.name)

    def give_way(self) -> None:
        """Return once nobody who takes requests has less in hand than this process. Blocks."""
        while self.has_freer():
            time.sleep(LOOK_S)

    def has_freer(self) -> bool:
        """Whether somebody who takes requests has less in hand, or room where here is none."""
        return any(self._is_freer(fellow, time.monotonic()) for fellow in self._pages.read())

    def _is_freer(self, fellow: pulse.Pulse, now: float) -> bool:
        is_silent = now - fellow.beat > SILENT_S
        is_busy = fellow.executing_since and now - fellow.executing_since > TAKING_S
        return not (is_silent or is_busy or fellow.ill) and fellow.load < self._heart.get("load")


def late(name: str, wait: float, limit: float) -> Unavailable:
    """The refusal of who would wait too long."""
    return full(name, f"work for {wait:.1f} s before this request, its limit is {limit:.1f} s", wait - limit)


def full(name: str, what: str, after_s: float) -> Unavailable:
    """A refusal that says when to try again."""
    return Unavailable(f"model '{name}' already has {what}", retry_after_s=min(max(after_s, SOONEST_S), LATEST_S))


Work = Callable[..., float]  # a request's inputs -> its work

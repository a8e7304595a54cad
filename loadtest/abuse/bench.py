"""What every part is given: the server, what to ask of it, and where to say how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from abuse.requests import Kinds
from tritone.server.background import Address

# A server that refuses says so with one of these; a proxy or a client may send the request to another one.
REFUSALS = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")


@dataclass(frozen=True)
class Bench:
    """A server under test."""

    address: Address
    kinds: Kinds
    say: Callable[[str], None]  # progress, one line
    only: Sequence[str] = ()  # models to look at; all if empty
    seconds: float = 20.0  # of overload
    settle_s: float = 30.0  # after which memory is looked at once more
    requests: int = 500  # malformed ones, a model

    def wanted(self, names: Sequence[str]) -> list[str]:
        """Those of the names that are to be looked at."""
        return [name for name in names if not self.only or name in self.only]

"""Several processes of one model: who has more in hand than a fellow steps back, so that Triton asks the fellow.

Triton hands the next request to an instance whose `execute` has returned, in turn and whatever that one still has in
hand. A model that answers later returns at once, so one of its processes could refuse at a full door while another's
stands open. A process whose `execute` has not returned yet is asked nothing, and the one with the least in hand never
waits here: there is always one to take the next request.
"""

from __future__ import annotations

import time

from tritone import pulse
from tritone.pulse import Pulse

LOOK_S = 0.005
SILENT_S = 2.0  # without a beat, four of which were due: a frozen fellow takes nothing
TAKING_S = 0.5  # a fellow whose `execute` has run for longer than it takes to let a request in takes nothing either


class Fellows:
    """The other processes of this model."""

    def __init__(self, heart: pulse.Heart, model: str) -> None:
        self._heart = heart
        self._pages = pulse.Pages(heart.where, model, but=heart.name)

    def give_way(self) -> None:
        """Return once no fellow that can take a request has less in hand than this process."""
        while any(self._is_freer(fellow) for fellow in self._pages.read()):
            time.sleep(LOOK_S)

    def _is_freer(self, fellow: Pulse) -> bool:
        now, since = time.monotonic(), fellow.executing_since
        takes = now - fellow.beat < SILENT_S and not (since and now - since > TAKING_S) and not fellow.ill
        return takes and fellow.load < self._heart.get("load")

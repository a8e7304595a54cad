"""For how long something has not moved, told by a clock that stands still while nobody looks.

Where all of a process stood still, or the machine, it is not what it watches that is late.
"""

import time

LONGEST_LOOK_S = 1.0  # more is not counted between two looks


class LookingClock:
    """Seconds since it was made in which somebody looked."""

    def __init__(self) -> None:
        self.now = 0.0  # at the last look
        self._looked = time.monotonic()

    def look(self) -> float:
        """The time now."""
        now = time.monotonic()
        self.now += min(now - self._looked, LONGEST_LOOK_S)
        self._looked = now
        return self.now


class Unmoved:
    """For how long a value has been the same."""

    def __init__(self) -> None:
        self._value: object = self  # equal to nothing that will be asked for
        self._since = 0.0

    def seconds(self, value: object, now: float) -> float:
        """0 where the value has changed since the last call."""
        if value != self._value:
            self._value, self._since = value, now
        return now - self._since

"""What a call of a network costs by its rows, learned from the calls themselves; and how many rows it pays to join."""

from __future__ import annotations

import numpy as np

KEPT = 0.95  # of what is known, with each further call
ENOUGH = 0.95  # of the throughput that all rows together would have
SAME = 16  # calls of one size, after which half as many rows are tried once
EPSILON = 1e-9


class CallCost:
    """seconds = a + b · rows, by least squares over the latest calls.

    Where a call of its own costs much (a), joining pays: a UNet that leaves most of the device idle takes hardly longer
    for eight pictures than for one. Where one picture keeps the device busy (a near 0, or below: caches overflow),
    joining makes nobody faster and everybody as late as the last.
    """

    def __init__(self) -> None:
        self._sums = np.zeros(5)  # of 1, rows, rows², seconds, rows × seconds
        self._last, self._same = 0, 0

    def add(self, rows: int, seconds: float) -> None:
        """A call has been made."""
        self._sums = KEPT * self._sums + (1, rows, rows * rows, seconds, rows * seconds)
        self._same = self._same + 1 if rows == self._last else 1
        self._last = rows

    def enough(self, rows: int) -> float:
        """With how many of so many waiting rows a call does nearly as much a second as with all of them."""
        if self._same >= SAME and rows == self._last:
            return rows / 2
        weight, once, twice, seconds, product = map(float, self._sums)
        spread = weight * twice - once**2
        if spread < EPSILON * twice or not seconds:
            return rows
        slope = (weight * product - once * seconds) / spread
        own = (seconds - slope * once) / weight
        if own <= 0:
            return 0.0
        # n / (own + slope n) ≥ ENOUGH · rows / (own + slope rows), solved for n.
        wanted = ENOUGH * rows / (own + slope * rows)
        return wanted * own / max(1 - wanted * slope, EPSILON)

"""What a call of a network costs by its rows, learned from the calls themselves; and how many rows it pays to join."""

from __future__ import annotations

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
        self._weight = self._rows = self._rows2 = self._seconds = self._product = 0.0
        self._last, self._same = 0, 0

    def add(self, rows: int, seconds: float) -> None:
        """A call has been made."""
        for name, value in (
            ("_weight", 1.0),
            ("_rows", rows),
            ("_rows2", rows * rows),
            ("_seconds", seconds),
            ("_product", rows * seconds),
        ):
            setattr(self, name, KEPT * getattr(self, name) + value)
        self._same = self._same + 1 if rows == self._last else 1
        self._last = rows

    def enough(self, rows: int) -> float:
        """With how many of so many waiting rows a call does nearly as much a second as with all of them."""
        if self._same >= SAME and rows == self._last:
            return rows / 2
        spread = self._weight * self._rows2 - self._rows**2
        if spread < EPSILON * self._rows2 or not self._seconds:
            return rows
        slope = (self._weight * self._product - self._rows * self._seconds) / spread
        own = (self._seconds - slope * self._rows) / self._weight
        if own <= 0:
            return 0.0
        # n / (own + slope n) ≥ ENOUGH · rows / (own + slope rows), solved for n.
        wanted = ENOUGH * rows / (own + slope * rows)
        return wanted * own / max(1 - wanted * slope, EPSILON)

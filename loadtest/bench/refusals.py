"""What users do who are refused: they ask again when they were told to."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from tritone_client import Overloaded

T = TypeVar("T")


def patient_stream(ask: Callable[[], Iterator[T]]) -> Iterator[T]:
    """The parts of an answer; who is refused asks again when he is told, while his clock goes on."""
    while True:
        try:
            yield from ask()
            return
        except Overloaded as refusal:
            time.sleep(refusal.retry_after_s or 0.1)


def patient(ask: Callable[[], T]) -> T:
    """The same for an answer in one piece."""
    return next(patient_stream(lambda: iter([ask()])))

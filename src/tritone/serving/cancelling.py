"""Stopping work that another process of this server asked for: past Triton's queues, however long they are.

Triton does not cancel a model's calls when their caller leaves. So each stub reads a pipe beside its pulse; whoever
called it writes there the private number of a call that nobody waits for any longer. A number that comes before its
call is remembered, as the call may still stand in a queue.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from tritone.pulse import Heart

REMEMBERED = 10_000  # numbers
SUFFIX = ".cancel"


class Cancellations:
    """The calls to this process that were cancelled."""

    def __init__(self, heart: Heart, cancel: Callable[[str], None]) -> None:
        """`cancel` gets each number, on a thread of this object."""
        self._cancel = cancel
        self._numbers: OrderedDict[str, None] = OrderedDict()
        file = heart.where / (heart.name + SUFFIX)
        file.unlink(missing_ok=True)
        os.mkfifo(file, 0o600)
        self._pipe = os.open(file, os.O_RDWR)  # open for writing too: the pipe never ends
        self._thread = threading.Thread(target=self._read, name="cancelling", daemon=True)
        self._thread.start()

    def __contains__(self, number: str) -> bool:
        return number in self._numbers

    def fault(self) -> str:
        """What is wrong; "" while nothing is."""
        return "" if self._thread.is_alive() else "its thread for cancelling has ended"

    def _read(self) -> None:
        with open(self._pipe, encoding="ascii") as lines:
            for line in lines:
                number = line.strip()
                self._numbers[number] = None
                if len(self._numbers) > REMEMBERED:
                    self._numbers.popitem(last=False)
                self._cancel(number)


def cancel(where: Path, model: str, number: str) -> None:
    """Tell every process of a model that nobody waits for the call of that number."""
    for file in where.glob(f"{model}[.#]*{SUFFIX}"):
        with contextlib.suppress(OSError):  # the process is gone, or its pipe is full
            pipe = os.open(file, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(pipe, f"{number}\n".encode("ascii"))  # whole or not at all: shorter than PIPE_BUF
            finally:
                os.close(pipe)

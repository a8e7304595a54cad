"""Who goes first where threads that compute and threads that answer callers share the processors.

A refusal takes a tenth of a millisecond of work, and many milliseconds of waiting for a processor where networks keep
them busy. So what computes on processors steps back: as soon as somebody else has something to do, he does it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path

NICE = 10


def step_back() -> None:
    """Let others go before this thread, and before the threads that it will start.

    Nothing where this process has a GPU: there its threads hand work to the device, which must not wait. Linux has a
    niceness for each thread, setpriority(2), which nobody but root can take back.
    """
    _step_back([threading.get_native_id()])


@cache
def process_steps_back() -> None:
    """Let others go before all threads of this process; once."""
    _step_back(int(each.name) for each in Path("/proc/self/task").iterdir())


def _step_back(threads: Iterable[int]) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):  # that thread has ended
            os.setpriority(os.PRIO_PROCESS, thread, NICE)

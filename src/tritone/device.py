"""The device that this process computes on: what "cuda" without a number means, in each of its threads.

CUDA has a current device for each thread, and it is number 0 in a new one. A process that serves on another would open
a context on number 0 too (about 0.5 GiB) with the first thing that names no device: a seed, an adapter, an event.
"""

import contextlib

_chosen = "cpu"


def choose(device: str) -> str:
    """Compute on "cuda:N", "cuda" or "cpu" from here on; returned is the same.

    It holds in this thread, and in every thread that calls `take_up`.
    Raises: RuntimeError: torch's own, where there is no such device.
    """
    global _chosen
    _chosen = device
    _make_current()
    return device


def take_up() -> None:
    """Make the chosen device this thread's own; to be called first in each thread that may touch a tensor.

    A device that is lost is no reason not to start the thread: it may have to say so.
    """
    with contextlib.suppress(RuntimeError):
        _make_current()


def _make_current() -> None:
    if _chosen.startswith("cuda:"):
        import torch  # heavy, and of use to networks alone

        torch.cuda.set_device(_chosen)

"""How many slots a cache may have on a device: arithmetic on bytes, and one question to torch.

The cache gets what the weights and a reserve leave of the device. The reserve is a share of all of it, not of what
happens to be free, so that it matters little which of a server's models is loaded first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tritone.errors import NotServed

GIB = 2**30
# What the passes of a network take beside its weights and its cache, at least; and the graphs of them, some forty of 6
# to 26 MiB each by what vLLM's log says of a network of this size.
PASS = GIB + GIB // 2


@dataclass(frozen=True)
class Budget:
    """The memory of one device, in bytes.

    Args:
        free: now, with the weights in it.
        weights: of this model, on this device.
        reserve: of `total`, 0 to 1: kept for the passes of the network, CUDA itself and the other models.
        slot: one slot of the cache, as far as it lies on this device.
        length: tokens of a slot.
    """

    device: str
    total: int
    free: int
    weights: int
    reserve: float
    slot: int
    length: int

    @property
    def slots(self) -> int:
        """How many fit."""
        room = min(self.total * (1 - self.reserve) - self.weights, self.free - PASS)
        return max(int(room // self.slot), 0)

    def __str__(self) -> str:
        kept = self.total * self.reserve
        return (
            f"{self.device} has {_gib(self.total)}: weights {_gib(self.weights)}, {_gib(kept)} kept "
            f"(memory_reserve {self.reserve:g}), {_gib(self.free)} free now; a slot of {self.length:,} tokens takes "
            f"{_gib(self.slot)}"
        )


def slots_that_fit(budgets: Sequence[Budget]) -> int:
    """As many as every device has room for.

    Raises: NotServed: not even one; the message shows the sum.
    """
    tightest = min(budgets, key=lambda budget: budget.slots)
    if not tightest.slots:
        raise NotServed(
            f"slots is 0, as many as fit, and not one does: {tightest}. Lower max_length or memory_reserve, "
            "choose a quantization, or take a larger card"
        )
    return tightest.slots


def memory(device: torch.device) -> tuple[int, int]:
    """What is free on a GPU and all of it, bytes.

    Raises: NotServed: it is no GPU.
    """
    if device.type != "cuda":
        raise NotServed(f"slots is 0, as many as fit, which can be told of a GPU only, not of '{device}': say how many")
    torch.cuda.empty_cache()  # what loading has left
    free, total = torch.cuda.mem_get_info(device)
    return free, total


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"

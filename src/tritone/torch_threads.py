"""How many of a processor's threads take part in a pass: as many as its products are worth.

torch shares out every single product, and all threads meet after each. Where one takes less time than waking a thread
that has fallen asleep, sharing it makes a step no faster and takes the other processors from whoever has work for them.
"""

import statistics

import torch
from torch import nn

# Multiply-adds of one product. On two cores of an EPYC a decoding step of the tiny checkpoint, 0.12 million weights a
# product, takes with one thread and with two: for 8 rows 6.5 and 8.8 ms, for 16 rows 9.2 and 8.2 ms.
WORTH = 2**21


class Threads:
    """Those of one network on a processor; on a GPU it changes nothing."""

    def __init__(self, network: nn.Module) -> None:
        weights = [each for each in network.parameters() if each.dim() == 2]
        self._product = statistics.fmean(each.numel() for each in weights)
        self._all = 0 if any(each.is_cuda for each in weights) else torch.get_num_threads()

    def take(self, tokens: int) -> None:
        """Compute the calling thread's next pass, over so many tokens, with as many as it is worth."""
        if self._all:
            torch.set_num_threads(self._all if tokens * self._product > WORTH else 1)

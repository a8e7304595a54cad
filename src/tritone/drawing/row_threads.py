"""The rows of a batch, shared among the threads of a processor.

torch shares out every single operation, and all threads meet after each. Where operations are small, as in a UNet of
64 × 64 pixels, meeting takes longer than computing, above all when idle processors must be woken for it. Rows are
independent: here each thread takes some of them through the whole network and meets the others once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from tritone.priority import step_back


def share_rows(network: Callable[..., torch.Tensor], device: str) -> Callable[..., torch.Tensor]:
    """The network with its rows shared among threads where it runs on the CPU; a GPU computes them at once anyway."""
    return RowThreads(network) if device == "cpu" else network


class RowThreads:
    """A network on the CPU whose rows are computed side by side; the outputs are those of one call."""

    def __init__(self, network: Callable[..., torch.Tensor], threads: int | None = None) -> None:
        """Share the rows among so many threads; None: as many as torch would use."""
        self._network = network
        self._threads = threads or torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads, "rows", step_back)

    def __call__(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Call the network on tensors (n, ...), each thread with about as many rows, and join its outputs (n, ...)."""
        parts = min(self._threads, len(tensors[0]))
        shares = zip(*(tensor.tensor_split(parts) for tensor in tensors), strict=True)
        calls = [self._pool.submit(self._compute, self._threads // parts, share) for share in shares]
        return torch.cat([call.result() for call in calls])

    @torch.inference_mode()
    def _compute(self, threads: int, share: tuple[torch.Tensor, ...]) -> torch.Tensor:
        torch.set_num_threads(threads)  # of this thread alone
        return self._network(*share)

"""Small numbers to the device, without waiting for what it is doing."""

from collections.abc import Sequence
from typing import Any

import torch


def put(values: Sequence[Any], device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A tensor on the device, as of `torch.tensor`, whose own `device` waits for all that was launched before.

    CUDA has a copy of pageable memory before the call returns, so it may be freed at once.
    """
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)

"""The keys and values of all answers in progress: one block of memory a layer, one slot of it an answer.

Rows of a pass through the network are neighbouring slots, so what attention reads is a view and nothing is gathered.
"""

from collections.abc import Sequence
from typing import Any

import torch


class SlotCache:
    """Memory for `slots` answers of at most `length` tokens each, prompt included.

    Args:
        config: of the language model, such as LlamaConfig.
        devices: of each layer.
    """

    def __init__(
        self, config: Any, slots: int, length: int, dtype: torch.dtype, devices: Sequence[torch.device]
    ) -> None:
        self.slots = slots
        self.length = length
        heads = config.num_key_value_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        # Zeros, not whatever is there: a masked value has weight 0, and 0 times NaN is NaN.
        self._layers = [torch.zeros((2, slots, heads, length, size), dtype=dtype, device=device) for device in devices]

    @property
    def nbytes(self) -> int:
        """Size of the memory."""
        return sum(layer.nbytes for layer in self._layers)

    def rows(self, first: int, starts: Sequence[int], width: int) -> "Rows":
        """What the network's layers read and write in one pass.

        Args:
            first: the first row's slot; the others follow.
            starts: how many tokens each row has in the cache; the new ones come behind.
            width: how many tokens each row brings.
        """
        return Rows(self._layers, first, starts, width, min(max(starts) + width, self.length))

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one slot to another."""
        for layer in self._layers:
            layer[:, target, :, :length] = layer[:, source, :, :length]

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange the first `length` tokens of two slots."""
        for layer in self._layers:
            kept = layer[:, one, :, :length].clone()
            layer[:, one, :, :length] = layer[:, other, :, :length]
            layer[:, other, :, :length] = kept

    def clear(self, slot: int) -> None:
        """Forget a slot: after a failure it may hold NaN."""
        for layer in self._layers:
            layer[:, slot] = 0


class Rows:
    """Neighbouring slots during one pass; what transformers' attention layers are given as `past_key_values`."""

    def __init__(
        self, layers: Sequence[torch.Tensor], first: int, starts: Sequence[int], width: int, length: int
    ) -> None:
        self.width = width
        self.length = length  # how many columns attention reads: up to the longest row's end
        self._layers = layers
        self._slots = slice(first, first + len(starts))
        # All rows start at the same column: then they are written and read as a block.
        self._start = starts[0] if len(set(starts)) == 1 and starts[0] + width <= length else -1
        device = layers[0].device
        self._numbers = torch.arange(len(starts), device=device)[:, None]
        begins = torch.tensor(starts, device=device)[:, None]
        # Each new token's column, (rows, width). A short row's filling may reach past the end: the last column.
        self.positions = (begins + torch.arange(width, device=device)).clamp_(max=length - 1)

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store (rows, heads, width, head size) and return all keys and values of the rows up to `length`."""
        keys, values = self._layers[layer_idx][:, self._slots]
        if self._start >= 0:
            keys[:, :, self._start : self._start + self.width] = key
            values[:, :, self._start : self._start + self.width] = value
        else:
            rows, columns = self._numbers.to(key.device), self.positions.to(key.device)
            keys[rows, :, columns], values[rows, :, columns] = key.transpose(1, 2), value.transpose(1, 2)
        return keys[:, :, : self.length], values[:, :, : self.length]

    def mask(self) -> torch.Tensor | None:
        """Which columns each new token may see, bool (rows, 1, width, length); None where attention knows itself.

        It knows where a block of new tokens starts at column 0 (causal), and where one token sees all of its row.
        """
        if self._start == 0 or (self._start > 0 and self.width == 1):
            return None
        columns = torch.arange(self.length, device=self.positions.device)
        return (columns <= self.positions[..., None])[:, None]

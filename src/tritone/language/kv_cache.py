"""The keys and values of all answers in progress: one block of memory a layer, one slot of it an answer.

Rows of a pass through the network are neighbouring slots, so what attention reads is a view and nothing is gathered.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from tritone.transfers import put

ALIGNED = 16  # numbers; CUDA's attention kernels copy masks whose rows begin elsewhere


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
        # Zeros, not whatever is there: a masked value has weight 0, and 0 times NaN is NaN.
        shape = _shape(config, slots, length)
        self._layers = [torch.zeros(shape, dtype=dtype, device=device) for device in devices]
        # How many columns of each slot may hold something, its last apart. Those behind are not touched: on a processor
        # memory is taken when it is first written.
        self._written = [0] * slots

    @staticmethod
    def slot_nbytes(config: Any, length: int, dtype: torch.dtype) -> int:
        """Size of one slot in one layer."""
        return math.prod(_shape(config, 1, length)) * dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Size of the memory."""
        return sum(layer.nbytes for layer in self._layers)

    def rows(self, first: int, starts: Sequence[int], width: int) -> "Rows":
        """What the network's layers read and write in one pass, of which `write` has taken note.

        Args:
            first: the first row's slot; the others follow.
            starts: how many tokens each row has in the cache; the new ones come behind.
            width: how many tokens each row brings.
        """
        length = min(max(starts) + width, self.length)
        # All rows start at the same column: then they are written and read as a block.
        start = starts[0] if len(set(starts)) == 1 and starts[0] + width <= length else -1
        device = self._layers[0].device
        columns = put(starts, device)[:, None] + torch.arange(width, device=device)
        # A short row's filling may reach past the end: the last column.
        return Rows(self._layers, first, columns.clamp_(max=length - 1), length, start)

    def write(self, first: int, starts: Sequence[int], width: int) -> None:
        """Take note of what a pass is about to write, over `rows` or a `bucket`: it is what `clear` empties."""
        for slot, start in enumerate(starts, first):
            self._written[slot] = max(self._written[slot], min(start + width, self.length))

    def bucket(self, starts: torch.Tensor, length: int) -> "Rows":
        """The slots from 0 on, one token each, at places that the device alone knows: `starts`, int64 (rows, 1).

        Attention reads `length` columns, which no place but that of `spare` may be beyond.
        """
        return Rows(self._layers, 0, starts, length)

    @property
    def spare(self) -> int:
        """The column where a pass may leave in any slot what nobody is to see: the last.

        Who has read that far writes it in the same pass.
        """
        return self.length - 1

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one slot to another, behind which nothing is left."""
        for layer in self._layers:
            layer[:, target, :, :length] = layer[:, source, :, :length]
        self.clear(target, length)

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange the first `length` tokens of two slots, behind which nothing is left."""
        for layer in self._layers:
            kept = layer[:, one, :, :length].clone()
            layer[:, one, :, :length] = layer[:, other, :, :length]
            layer[:, other, :, :length] = kept
        self.clear(one, length)
        self.clear(other, length)

    def clear(self, slot: int, length: int = 0) -> None:
        """Forget what lies behind the first `length` tokens of a slot.

        It may be NaN, and whoever has the slot next is read up to the column of its longest neighbour.
        """
        for layer in self._layers:
            layer[:, slot, :, length : self._written[slot]].zero_()
            layer[:, slot, :, self.spare].zero_()
        self._written[slot] = length


def _shape(config: Any, slots: int, length: int) -> tuple[int, ...]:
    """Of one layer's memory: keys and values, slots, heads, tokens, head size."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2, slots, config.num_key_value_heads, length, size


class Rows:
    """Neighbouring slots during one pass; what transformers' attention layers are given as `past_key_values`."""

    def __init__(
        self, layers: Sequence[torch.Tensor], first: int, positions: torch.Tensor, length: int, start: int = -1
    ) -> None:
        self.positions = positions  # each new token's column, int64 (rows, width)
        self.length = length  # how many columns attention reads: up to the longest row's end
        self._layers = layers
        self._slots = slice(first, first + len(positions))
        self._start = start  # the column of all rows' first tokens, where it is one
        self._numbers = torch.arange(len(positions), device=positions.device)[:, None]

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store (rows, heads, width, head size) and return all keys and values of the rows up to `length`."""
        keys, values = self._layers[layer_idx][:, self._slots]
        if self._start >= 0:
            keys[:, :, self._start : self._start + key.shape[2]] = key
            values[:, :, self._start : self._start + key.shape[2]] = value
        else:
            rows, columns = self._numbers.to(key.device), self.positions.to(key.device)
            keys[rows, :, columns], values[rows, :, columns] = key.transpose(1, 2), value.transpose(1, 2)
        return keys[:, :, : self.length], values[:, :, : self.length]

    def mask(self, dtype: torch.dtype, knows_causality: bool = True) -> torch.Tensor | None:
        """What is added to attention's scores, (rows, 1, width, length): 0 where a new token may look, −inf elsewhere.

        None where attention needs none: where one token sees all of its row, and where a block of new tokens starts
        at column 0, if it knows causality by itself. Made once a pass: of a bool mask each layer would make its own.
        """
        if self._start >= 0 and (self.positions.shape[1] == 1 or (self._start == 0 and knows_causality)):
            return None
        columns = torch.arange(-(-self.length // ALIGNED) * ALIGNED, device=self.positions.device)
        unseen = (columns > self.positions[..., None])[:, None]
        mask = torch.zeros(unseen.shape, dtype=dtype, device=unseen.device).masked_fill_(unseen, -torch.inf)
        return mask[..., : self.length]

"""Whisper's tokens one by one: through the network as it is, or as CUDA graphs of one launch a step.

The graphs are of few rows, as what they look at lies in memory of their own: what a window holds, and all that can be
said about it (0.3 GiB a row of large-v3). A step of many rows is launched from Python as before.
"""

from __future__ import annotations

import threading
import weakref
from typing import Protocol

import torch

from tritone.cuda_graphs import Capture, GraphSet, Work, must_be_near
from tritone.speech.listening.whisper_network import Cache, Memory, Network, Tensors

ROWS = (1, 2, 4)
ALIGNED = 16  # numbers; CUDA's attention kernels copy masks whose rows begin elsewhere


class Steps(Protocol):
    """The decoding of some rows, from token to token."""

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B,), each row's next, to logits, float32 (B, V), good until the next call."""

    def rows(self, index: torch.Tensor) -> Steps:
        """The steps of some of the rows, instead of these."""


class PlainSteps:
    """Through the network as it is."""

    def __init__(self, network: Network, cache: Cache, memory: Memory, graphs: StepGraphs | None = None) -> None:
        self._network, self._cache, self._memory, self._graphs = network, cache, memory, graphs

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Steps`."""
        return self._network.logits(self._network.decode(tokens[:, None], self._cache, self._memory)[:, -1])

    def rows(self, index: torch.Tensor) -> Steps:
        """See `Steps`; as graphs, where they are few enough now."""
        cache, memory = self._cache.rows(index), self._memory.rows(index)
        return self._graphs.steps(cache, memory) if self._graphs else PlainSteps(self._network, cache, memory)


class StepGraphs(GraphSet[int, Work]):
    """A network's graphs. One decoding has them at a time; others go on without."""

    def __init__(self, network: Network, capture: Capture | None) -> None:
        super().__init__()
        self._network = network
        self._lock = threading.Lock()
        self._owner: weakref.ref[_GraphSteps] | None = None
        if capture:
            self._make_room(max(ROWS))
        self._fill(capture, reversed(ROWS), self._captured)

    def steps(self, cache: Cache, memory: Memory) -> Steps:
        """The steps of rows behind what `cache` holds: as graphs if nobody has them and there is room."""
        rows = len(cache.start)
        with self._lock:
            if rows > max(self._graphs, default=0) or (self._owner and self._owner()):
                return PlainSteps(self._network, cache, memory, self)
            steps = _GraphSteps(self)
            self._owner = weakref.ref(steps)
        self._hold(cache, memory, slice(0, rows))
        return steps

    def run(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits after the rows' next tokens (B,)."""
        self._tokens[: len(tokens), 0].copy_(tokens)
        self._graphs[next(rows for rows in ROWS if rows >= len(tokens))]()
        return self._logits[: len(tokens)]

    def take(self, index: torch.Tensor) -> None:
        """Move some rows to the front; the others are forgotten."""
        marks = self._masks[0], self._masks[1], self._cache.start
        for each in (*(each for pair in (*self._cache.layers, *self._memory.layers) for each in pair), *marks):
            each[: len(index)].copy_(each[index])

    def _make_room(self, rows: int) -> None:
        network = self._network
        heads, width = int(network.config.decoder_attention_heads), int(network.config.d_model)
        self._columns = -(-network.longest // ALIGNED) * ALIGNED
        self._positions = -(-int(network.config.max_source_positions) // ALIGNED) * ALIGNED

        def layers(length: int) -> list[Tensors]:
            shape = rows, heads, length, width // heads
            return [(network.empty(shape), network.empty(shape)) for _ in range(int(network.config.decoder_layers))]

        start = torch.zeros(rows, 1, dtype=torch.int64, device=network.device)
        self._masks = network.empty((rows, 1, 1, self._columns)), network.empty((rows, 1, 1, self._positions))
        self._cache = Cache(layers(self._columns), self._masks[0], start)
        self._memory = Memory(layers(self._positions), self._masks[1])
        self._tokens, self._column = torch.zeros_like(start), torch.zeros_like(start[0])
        self._logits = torch.zeros(rows, int(network.config.vocab_size), device=network.device)

    def _captured(self, capture: Capture, rows: int) -> Work:
        first = slice(0, rows)
        cache, memory = self._cache.part(first), self._memory.part(first)

        def work() -> None:
            self._logits[first].copy_(self._network.step(self._tokens[first], self._column, cache, memory))
            self._column.add_(1)

        self._column.zero_()
        replay = capture(work)
        self._tokens[first, 0] = torch.arange(1, rows + 1, device=self._tokens.device)  # other than at the capture
        self._column.fill_(self._columns // 2)
        expected = self._network.step(self._tokens[first], self._column, cache, memory)
        self._logits.fill_(torch.nan)
        replay()
        must_be_near(self._logits[first], expected, f"of {rows} rows")
        return replay

    def _hold(self, cache: Cache, memory: Memory, rows: slice) -> None:
        """Copy what the rows are to look at; behind it is nothing, as what is hidden must be finite."""
        mine, theirs = [*self._cache.layers, *self._memory.layers], [*cache.layers, *memory.layers]
        for pair, given in zip(mine, theirs, strict=True):
            for numbers, wanted in zip(pair, given, strict=True):
                numbers[rows, :, : wanted.shape[2]].copy_(wanted)
                numbers[rows, :, wanted.shape[2] :].zero_()
        for room, mask, layers in zip(
            self._masks, (cache.mask, memory.mask), (cache.layers, memory.layers), strict=True
        ):
            room[rows].fill_(-torch.inf)
            seen = room[rows, ..., : layers[0][0].shape[2]]
            seen.zero_() if mask is None else seen.copy_(mask)
        self._cache.start[rows].copy_(cache.start)
        self._column.fill_(cache.length)


class _GraphSteps:
    """One decoding's hold of the graphs, until nobody knows it any more."""

    def __init__(self, graphs: StepGraphs) -> None:
        self._graphs = graphs

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        return self._graphs.run(tokens)

    def rows(self, index: torch.Tensor) -> Steps:
        self._graphs.take(index)
        return self

"""Decoding steps as CUDA graphs: one launch for a thousand kernels, each of which costs Python more than the card.

There is one for each size of step, and a size is rounded up to the next that has one. What changes from step to step is
tokens and how far each row is; masks and angles are made of it on the card.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tritone.cuda_graphs import Capture, GraphSet, Work, must_be_near

# Rows and columns of the cache that graphs are made for, as far as a cache has them, and all that it has. A step reads
# all weights, whatever its rows: so there are few of them where weights are most of what is read.
ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
LENGTHS = (256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768)

# Tokens and places, int64 (rows, 1) each, and the columns to read, to logits, float32 (rows, vocabulary).
Step = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


class Graphs(GraphSet[tuple[int, int], Work]):
    """The graphs of one network's decoding step over the first slots of its cache; none before `capture`.

    A step with fewer rows than its graph is filled up with rows at `spare`, a column of the cache in which anything may
    be left: they compute over slots of others and change nothing there.

    Args:
        rows: of the largest step.
        length: columns of the cache.
    """

    def __init__(
        self, step: Step, rows: int, length: int, vocabulary: int, spare: int, device: torch.device | str
    ) -> None:
        super().__init__()
        self._step, self._spare = step, spare
        self._rows, self._lengths = _up_to(rows, ROWS), _up_to(length, LENGTHS)
        self._inputs = torch.zeros(rows, 2, dtype=torch.int64, device=device)  # of each row: its token, its place
        # Outside of the pool, so that no other graph writes here.
        self._logits = torch.zeros(rows, vocabulary, device=device)

    def capture(self, capture: Capture | None) -> None:
        """Make all of them, the largest first: then the others find room in its memory.

        Each must give the logits of the step itself, for other tokens and places than it was captured with. Where one
        does not, or cannot be captured, there are none, and `without` says why.
        """
        sizes = [(rows, length) for rows in reversed(self._rows) for length in reversed(self._lengths)]
        self._fill(capture, sizes, self._captured)

    def run(self, tokens: Sequence[int], starts: Sequence[int]) -> torch.Tensor | None:
        """Logits of the next token, float32 (rows, vocabulary), good until the next run; None: no graph is that large.

        Args:
            starts: each row's place, which is how many tokens it has in the cache.
        """
        rows, length = _fitting(self._rows, len(tokens)), _fitting(self._lengths, max(starts) + 1)
        replay = self._graphs.get((rows, length))
        if replay is None:
            return None
        self._put(tokens, starts, rows)
        replay()
        return self._logits[: len(tokens)]

    def _put(self, tokens: Sequence[int], starts: Sequence[int], rows: int) -> None:
        filled = [*zip(tokens, starts, strict=True), *[(0, self._spare)] * (rows - len(tokens))]
        self._inputs[:rows].copy_(torch.tensor(filled), non_blocking=True)

    def _captured(self, capture: Capture, size: tuple[int, int]) -> Work:
        rows, length = size
        inputs, logits = self._inputs[:rows], self._logits[:rows]

        def work() -> None:
            logits.copy_(self._step(inputs[:, :1], inputs[:, 1:], length))

        self._put([], [], rows)
        replay = capture(work)
        # Other tokens than those of the capture, and the first places, where a new token counts for most.
        self._put([row % logits.shape[1] for row in range(1, rows + 1)], [row % length for row in range(rows)], rows)
        expected = self._step(inputs[:, :1], inputs[:, 1:], length)
        logits.fill_(torch.nan)
        replay()
        must_be_near(logits, expected, f"of {rows} rows and {length} columns")
        return replay


def obstacle(model: Any, devices: Sequence[torch.device]) -> str:
    """Why a language model with layers on these devices can have no graphs; "" where nothing is known.

    LLM.int8 looks on the host whether a batch has outliers. bitsandbytes' four bits look at nothing, and run on the
    stream that captures.
    """
    if len(set(devices)) > 1:
        return f"its layers are on {len(set(devices))} devices"
    if getattr(model, "hf_quantizer", None) is not None and not getattr(model, "is_loaded_in_4bit", False):
        return "its quantised layers wait for the card"
    return ""


def _up_to(most: int, sizes: Sequence[int]) -> list[int]:
    return [*(size for size in sizes if size < most), most]


def _fitting(sizes: Sequence[int], least: int) -> int:
    return next((size for size in sizes if size >= least), 0)

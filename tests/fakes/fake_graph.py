"""A CUDA graph without CUDA: what a capture saw is run again, with the tensors and numbers it saw, on the same memory.

So whatever Python would decide anew is as it was, as in a real graph: a number taken from a list, a mask made of it, a
tensor that another has replaced since. What a capture forbids is refused: numbers read of tensors, tensors made of
numbers. Between two runs the memory of all that was computed on the way is spoilt, as graphs share it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from fakes.fake_cuda import WAITING
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten

_FROM_THE_HOST = {aten.lift_fresh, aten.lift_fresh_copy}


class FakeCapture:
    """Captures as `tritone.cuda_graphs.CudaCapture` does; `graphs` are all that were captured, in order."""

    def __init__(self) -> None:
        self.graphs: list[FakeGraph] = []

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        work()
        graph = FakeGraph()
        with graph:
            work()
        graph.spoil()
        self.graphs.append(graph)
        return graph.replay


class FakeGraph(TorchDispatchMode):
    """Notes every operator while it is entered. Raises: RuntimeError: one that no capture allows."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.namespace == "aten":
            with self:
                if (result := func.decompose(*args, **kwargs)) is not NotImplemented:
                    return result
        if func.overloadpacket in WAITING | _FROM_THE_HOST:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        result = func(*args, **kwargs)
        self.operators.append((func, args, kwargs, result))
        return result

    def replay(self) -> None:
        """Run them all again, each result into the memory of the first."""
        self.replays += 1
        for func, args, kwargs, result in self.operators:
            if _is_view(args, kwargs, result) and not func._schema.is_mutable:
                continue
            for old, new in zip(_tensors(result), _tensors(func(*args, **kwargs)), strict=True):
                if old is not new:
                    old.copy_(new)
        self.spoil()

    def devices(self) -> set[torch.device]:
        """Of all tensors that were given or computed."""
        return {tensor.device for _, *seen in self.operators for tensor in _tensors(seen)}

    def spoil(self) -> None:
        """Leave nothing of what was computed on the way."""
        for _, args, kwargs, result in self.operators:
            if not _is_view(args, kwargs, result):
                for tensor in _tensors(result):
                    tensor.fill_(torch.nan if tensor.is_floating_point() else 99)


def _is_view(args, kwargs, result) -> bool:
    """Whether a result lies in the memory of what was given."""
    given = {_memory(tensor) for tensor in _tensors((args, kwargs))}
    return any(_memory(tensor) in given for tensor in _tensors(result))


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _tensors(tree: object) -> list[torch.Tensor]:
    return [each for each in tree_leaves(tree) if isinstance(each, torch.Tensor)]

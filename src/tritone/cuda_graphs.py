"""Work on a GPU that is captured once and then is one launch: a CUDA graph in place of many launches from Python.

A graph runs its kernels again with the arguments of its capture. What changes from one run to the next must lie in
memory that stays where it is, and be copied there before. Each graph is tried before it is used, with other numbers
than those of its capture, against the work itself.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import torch

FAR = 0.05  # of a result's norm: rounding moves it by a fiftieth of that, other numbers by six times as much and more

Work = Callable[[], None]
Capture = Callable[[Work], Work]  # takes note of what the work launches; what it returns launches that again
Key = TypeVar("Key")
Graph = TypeVar("Graph")
Shapes = tuple[torch.Size, ...]


class CudaCapture:
    """Captures on one GPU, all in one pool of memory: of graphs in it one may run at a time.

    Raises (when called): RuntimeError: torch's own, for work that a graph cannot hold, such as waiting for a number.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> Work:
        """Run the work once, so that kernels are loaded and cuBLAS has its workspace, and capture it."""
        now = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(now)
        with torch.cuda.stream(self._stream):
            work()
        now.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        try:
            # Of this thread alone: a copy in another is no error of the capture.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                work()
        finally:
            torch.cuda.set_stream(now)  # where torch stays on its stream when a capture has failed
        return graph.replay


def capture_on(device: str, wanted: bool) -> Capture | None:
    """How work is captured on a device; None where it is not wanted, or there is no GPU."""
    return CudaCapture(device) if wanted and device.startswith("cuda") else None


class GraphSet(Generic[Key, Graph]):
    """Graphs, by what they are for: all that are wanted, or none, and `without` says why."""

    def __init__(self) -> None:
        self._graphs: dict[Key, Graph] = {}
        self.without = ""

    def __len__(self) -> int:
        return len(self._graphs)

    def describe(self) -> str:
        """How many there are, for the log."""
        return f"CUDA graphs: {len(self) or f'none ({self.without})'}"

    def _fill(self, capture: Capture | None, keys: Iterable[Key], make: Callable[[Capture, Key], Graph]) -> None:
        """Where one of them computes something else, or cannot be captured, there are none."""
        if capture is None:
            self.without = "they are off, or there is no GPU"
            return
        try:
            for key in keys:
                self._graphs[key] = make(capture, key)
        except Exception as error:
            self._graphs.clear()
            self.without = f"{type(error).__name__}: {error}"


class Graphed(GraphSet[Shapes, "_Graph"]):
    """A function of tensors that is one launch for the shapes of its examples. It may be called from any thread.

    Args:
        function: of tensors, to one tensor; it may use nothing else that changes.
        examples: arguments, for each set of shapes.
    """

    def __init__(
        self,
        function: Callable[..., torch.Tensor],
        examples: Sequence[Sequence[torch.Tensor]],
        capture: Capture | None,
    ) -> None:
        super().__init__()
        self._function = function
        given = {_shapes(inputs): inputs for inputs in examples}
        self._fill(capture, given, lambda capture, shapes: _Graph(function, given[shapes], capture))

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """As the function's own; the result is the caller's."""
        return self._graphs.get(_shapes(inputs), self._function)(*inputs)


class _Graph:
    """Raises: ArithmeticError: it computes something else than the function."""

    def __init__(self, function: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor], capture: Capture) -> None:
        self._lock = threading.Lock()  # between two copies no other thread may launch
        self._inputs = [each.clone() for each in inputs]
        self._output = torch.empty_like(function(*inputs))  # outside of the pool: no other graph writes here

        def work() -> None:
            self._output.copy_(function(*self._inputs))

        self._replay = capture(work)
        others = [torch.rand_like(each) for each in inputs]
        must_be_near(self(*others), function(*others), f"of {[tuple(each.shape) for each in inputs]}")

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        with self._lock:
            for mine, given in zip(self._inputs, inputs, strict=True):
                mine.copy_(given, non_blocking=True)
            self._replay()
            return self._output.clone()


def must_be_near(found: torch.Tensor, expected: torch.Tensor, which: str) -> None:
    """Raises: ArithmeticError: a graph's result is another than that of the work; the host waits for both."""
    if not (found - expected).norm() <= FAR * expected.norm():
        raise ArithmeticError(f"the graph {which} computes something else")


def _shapes(inputs: Sequence[torch.Tensor]) -> Shapes:
    return tuple(each.shape for each in inputs)

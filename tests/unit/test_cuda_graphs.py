"""Captured work: what CUDA is told, and functions that are one launch for the shapes of their examples."""

import contextlib
import itertools
import sys
import threading
from types import SimpleNamespace

import pytest
import torch
from fakes.fake_graph import FakeCapture

from tritone.cuda_graphs import CudaCapture, Graphed

CARD = torch.device("cuda:1")


class Driver:
    """torch.cuda as `CudaCapture` uses it: what was done, and on which stream."""

    def __init__(self, monkeypatch):
        self.capturing, self.done = False, []
        made = itertools.count()
        stream = type("Stream", (str,), {"device": CARD, "wait_stream": lambda one, other: self.note(one, other)})
        self.default = self.now = stream("default")
        for name, replacement in {
            "Stream": lambda device: stream(f"of {device}"),
            "current_stream": lambda device: self.now,
            "set_stream": lambda wanted: setattr(self, "now", wanted),
            "stream": self.on,
            "graph": self.graph,
            "graph_pool_handle": lambda: "pool",
            "CUDAGraph": lambda: SimpleNamespace(replay=f"replay {next(made)}"),
        }.items():
            monkeypatch.setattr(torch.cuda, name, replacement)

    def note(self, *what):
        self.done.append(tuple(map(str, what)))

    @contextlib.contextmanager
    def on(self, stream):
        before, self.now = self.now, stream
        yield
        self.now = before

    @contextlib.contextmanager
    def graph(self, graph, pool, stream, capture_error_mode):
        self.note("capture into", pool, capture_error_mode)
        self.now, self.capturing = stream, True
        yield  # torch leaves the stream only where the capture has succeeded
        self.now, self.capturing = self.default, False


def test_work_is_run_once_on_the_capturing_stream_and_then_captured_there(monkeypatch):
    driver = Driver(monkeypatch)
    capture = CudaCapture(CARD)
    replays = [capture(lambda: driver.note("work", driver.now, driver.capturing)) for _ in range(2)]
    assert replays == ["replay 0", "replay 1"]
    once = [
        ("of cuda:1", "default"),
        ("work", "of cuda:1", "False"),
        ("default", "of cuda:1"),
        ("capture into", "pool", "thread_local"),
        ("work", "of cuda:1", "True"),
    ]
    assert driver.done == once * 2
    assert driver.now == "default"


def test_a_capture_that_fails_leaves_the_thread_on_its_own_stream(monkeypatch):
    driver = Driver(monkeypatch)

    def work():
        if driver.capturing:
            raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted"):
        CudaCapture(CARD)(work)
    assert driver.now == "default"


# ---- functions


def product(one, other):
    return torch.tanh(one @ other) + one.mean()


def inputs(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 5, generator=generator), torch.randn(5, 3, generator=generator)


@torch.inference_mode()
def test_a_function_is_a_graph_for_the_shapes_of_its_examples_and_itself_for_others():
    capture, calls = FakeCapture(), []
    graphed = Graphed(lambda *given: (calls.append(1), product(*given))[1], [inputs(2), inputs(4)], capture)
    assert len(graphed) == 2, graphed.without
    before = len(calls)
    for rows in (2, 4, 2):
        assert torch.allclose(graphed(*inputs(rows, seed=rows)), product(*inputs(rows, seed=rows)))
    assert len(calls) == before
    assert torch.equal(graphed(*inputs(3)), product(*inputs(3)))
    assert len(calls) == before + 1


@torch.inference_mode()
def test_a_result_is_the_callers_own():
    graphed = Graphed(product, [inputs(2)], FakeCapture())
    first = graphed(*inputs(2, seed=1))
    graphed(*inputs(2, seed=2))
    assert torch.allclose(first, product(*inputs(2, seed=1)))


@torch.inference_mode()
def test_a_function_that_remembers_something_is_no_graph():
    numbers = itertools.count()
    graphed = Graphed(lambda one, other: product(one + next(numbers), other), [inputs(2)], FakeCapture())
    assert len(graphed) == 0
    assert graphed.without == "ArithmeticError: the graph of [(2, 5), (5, 3)] computes something else"


def test_threads_that_call_a_graph_side_by_side_get_each_its_own_result():
    before = sys.getswitchinterval()
    with torch.inference_mode():
        graphed = Graphed(product, [inputs(2)], FakeCapture())
    wrong = []

    @torch.inference_mode()
    def call(seed):
        same = [torch.allclose(graphed(*inputs(2, seed)), product(*inputs(2, seed))) for _ in range(20)]
        wrong.extend([seed] * same.count(False))

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(6)]
    try:
        sys.setswitchinterval(1e-5)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert len(graphed) == 1
    assert wrong == []


def test_without_a_gpu_there_are_no_graphs():
    assert Graphed(product, [inputs(2)], None).without == "they are off, or there is no GPU"

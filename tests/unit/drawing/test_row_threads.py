"""Rows shared among threads: the outputs of one call, whatever the number of rows and threads."""

import threading

import pytest
import torch

from tritone.drawing.row_threads import RowThreads


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_outputs_are_those_of_one_call_in_the_order_of_the_rows(rows):
    x, y = torch.arange(3.0 * rows).reshape(rows, 3), torch.arange(1.0 * rows)[:, None]
    together = RowThreads(lambda x, y: x * 2 + y, threads=2)
    assert torch.equal(together(x, y), x * 2 + y)


def test_rows_are_computed_side_by_side_each_thread_with_its_share_of_torchs_threads():
    meeting, seen = threading.Barrier(2, timeout=10), []

    def network(x):
        meeting.wait()  # two threads are here at once, or this breaks
        seen.append((len(x), torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return x

    RowThreads(network, threads=2)(torch.zeros(3, 1))
    assert sorted(seen) == [(1, 1, True), (2, 1, True)]


def test_a_lone_row_gets_all_of_torchs_threads():
    seen = []
    RowThreads(lambda x: seen.append(torch.get_num_threads()) or x, threads=2)(torch.zeros(1, 1))
    assert seen == [2]


def test_an_error_comes_out():
    def network(x):
        if x[0] > 1:
            raise ValueError("two")
        return x

    with pytest.raises(ValueError, match="two"):
        RowThreads(network, threads=2)(torch.tensor([1.0, 2.0]))

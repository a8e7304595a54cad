"""How many rows it pays to join, from what calls took."""

import pytest

from tritone.drawing.call_costs import SAME, CallCost


def learned(own, row, sizes=(2, 4, 8, 16, 2, 6)):
    cost = CallCost()
    for rows in sizes:
        cost.add(rows, own + row * rows)
    return cost


def throughput(own, row, rows):
    return rows / (own + row * rows)


@pytest.mark.parametrize(
    ("own", "row", "least", "most"),
    [
        (0.0186, 0.0027, 12, 16),  # the tiny UNet on two cores: 2 rows 24 ms, 16 rows 62
        (0.032, 0.081, 4, 6),  # Stable Diffusion 1.5 at an eighth of its width there: 97 ms a row, and 83
        (0.0264, 0.0002, 15, 16),  # Stable Diffusion 1.5 at 512² on an H200: 2 rows 26.4 ms, 8 rows 28.9
        (0.0, 0.05, 0, 1),
        (-0.01, 0.05, 0, 1),
    ],
)
def test_no_more_go_together_than_bring_nearly_all_of_the_throughput(own, row, least, most):
    enough = learned(own, row).enough(16)
    assert least <= enough <= most
    if own > 0:
        assert throughput(own, row, enough) == pytest.approx(0.95 * throughput(own, row, 16), rel=0.01)


def test_while_nothing_is_known_all_go_together():
    assert CallCost().enough(16) == 16
    assert learned(0.01, 0.1, sizes=(4, 4, 4)).enough(8) == 8


def test_after_many_calls_of_one_size_half_as_many_are_tried_so_that_something_is_learned():
    cost = learned(0.0, 0.1, sizes=(8,) * SAME)
    assert cost.enough(8) == 4
    cost.add(4, 0.4)
    assert cost.enough(8) < 1


def test_what_was_learned_long_ago_is_forgotten():
    cost = learned(0.0, 0.1)
    for rows in (2, 4, 8, 16) * 40:
        cost.add(rows, 0.1 + 0.001 * rows)
    assert cost.enough(16) > 12

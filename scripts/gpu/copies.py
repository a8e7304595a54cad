"""The card's own limits: how fast memory is copied, and how fast float16 matrices are multiplied."""

from __future__ import annotations

from functools import cache

import torch

from gpu.measuring import Card, Report

PART = "limits"


@cache
def copy_rate(card: Card) -> float:
    """Bytes a second, read and written, of a large copy."""
    numbers = 2**20 if card.small else 2**30
    source = torch.empty(numbers, dtype=card.dtype, device=card.device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / (card.milliseconds(lambda _: target.copy_(source)) / 1000)


def run(card: Card, report: Report) -> None:
    """Both."""
    side = 256 if card.small else 8192
    one = torch.randn(side, side, device=card.device).to(card.dtype)
    product_ms = card.milliseconds(lambda _: one @ one)
    report.add(PART, **{"copy TB/s": copy_rate(card) / 1e12, "product TFLOP/s": 2 * side**3 / product_ms / 1e9})

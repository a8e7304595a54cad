"""Bicubic resizing of RGB pixels, bit for bit as torchvision does it on a processor, without torch.

Transformers' image processors resize with torchvision, and Pillow's own filter rounds its weights elsewhere, so that
its pixels differ by one here and there. Source of the sums: PyTorch, aten/src/ATen/native/cpu/UpSampleKernel.cpp
(`_compute_indices_min_size_weights_aa`, `_compute_index_ranges_int16_weights`) and UpSampleKernelAVXAntialias.h:
weights are whole numbers of at most 15 bits, a row's pixels are done before the rows, and what is between is rounded to
8 bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SUPPORT = 2.0  # of the cubic filter, on each side, in pixels of the smaller picture
SHARPNESS = -0.5  # Keys' a, which antialiased filters of Pillow and PyTorch have
WEIGHT_BITS, MOST_BITS = 15, 22
# Neighbours' windows overlap: so many outputs together are one product of matrices, which computes about twice the
# sums that are needed and is many times as fast as one for each.
TOGETHER = 16
BAND = 2**18  # numbers that are held as floats at a time


def bicubic(pixels: Pixels, height: int, width: int) -> Pixels:
    """uint8 (old height, old width, channels) → uint8 (height, width, channels)."""
    if width != pixels.shape[1]:
        pixels = _rows_resized(pixels.swapaxes(0, 1), width).swapaxes(0, 1)
    return _rows_resized(pixels, height) if height != pixels.shape[0] else pixels


def _rows_resized(pixels: Pixels, size: int) -> Pixels:
    """uint8 (old size, others, channels) → uint8 (size, others, channels)."""
    starts, weights, bits = _weights(pixels.shape[0], size)
    resized = np.empty((size, *pixels.shape[1:]), np.uint8)
    for first in range(0, size, TOGETHER):
        places = range(first, min(first + TOGETHER, size))
        begin, end = starts[first], max(starts[place] + len(weights[place]) for place in places)
        matrix = np.zeros((len(places), end - begin))
        for row, place in enumerate(places):
            matrix[row, starts[place] - begin :][: len(weights[place])] = weights[place]
        step = max(1, BAND // ((end - begin) * pixels.shape[2]))
        for other in range(0, pixels.shape[1], step):
            part = pixels[begin:end, other : other + step]
            # Whole numbers far below 2**53: sums of floats are exact in any order.
            sums = matrix @ part.reshape(end - begin, -1).astype(np.float64)
            values = np.clip(np.floor((sums + 2 ** (bits - 1)) / 2**bits), 0, 255)
            resized[places.start : places.stop, other : other + step] = values.reshape(len(places), *part.shape[1:])
    return resized


def _weights(old: int, new: int) -> tuple[list[int], list[NDArray[np.int64]], int]:
    """For each new pixel: the first old one that it sees, and the weights of those; their sum is about 2**bits."""
    scale = old / new
    support, inverse = (SUPPORT * scale, 1.0 / scale) if scale >= 1 else (SUPPORT, 1.0)
    starts, shares = [], []
    for place in range(new):
        centre = scale * (place + 0.5)
        start = max(int(centre - support + 0.5), 0)
        seen = np.arange(start, min(int(centre + support + 0.5), old))
        share = _cubic((seen - centre + 0.5) * inverse)
        starts.append(start)
        shares.append(share / _sum(share))
    largest = max(float(share.max()) for share in shares)
    bits = next(
        b for b in range(MOST_BITS + 1) if b == MOST_BITS or int(0.5 + largest * 2 ** (b + 1)) >= 2**WEIGHT_BITS
    )
    return starts, [np.trunc(share * 2**bits + np.copysign(0.5, share)).astype(np.int64) for share in shares], bits


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution."""
    x, a = np.abs(distance), SHARPNESS
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _sum(numbers: NDArray[np.float64]) -> float:
    """From the first to the last: numpy's own sum takes another order, which has other last bits."""
    return float(np.add.accumulate(numbers)[-1])

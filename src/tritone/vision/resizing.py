"""Bicubic resizing of RGB pixels, bit for bit as torchvision does it on a processor, without torch.

Transformers' image processors resize with torchvision, and Pillow's own filter rounds its weights elsewhere, so that
its pixels differ by one here and there. Source of the sums: PyTorch, aten/src/ATen/native/cpu/UpSampleKernel.cpp
(`_compute_indices_min_size_weights_aa`, `_compute_index_ranges_int16_weights`) and UpSampleKernelAVXAntialias.h:
weights are whole numbers of at most 15 bits, a row's pixels are done before the rows, and what is between is rounded to
8 bits.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SUPPORT = 2.0  # of the cubic filter, on each side, in pixels of the smaller picture
SHARPNESS = -0.5  # Keys' a, which antialiased filters of Pillow and PyTorch have
WEIGHT_BITS, MOST_BITS = 15, 22
# Neighbours' windows overlap: so many outputs together are one product of matrices, which computes about five times the
# sums that are needed and is many times as fast as one for each.
TOGETHER = 16
BAND = 2**18  # numbers that are held as floats at a time

Planes = NDArray[np.uint8]  # (channels, height, width): what is contiguous is fast to turn into floats


def bicubic(pixels: Pixels, height: int, width: int) -> Pixels:
    """uint8 (old height, old width, channels) → uint8 (height, width, channels)."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if width != planes.shape[2]:
        planes = _columns_resized(planes, width)
    if height != planes.shape[1]:
        planes = _columns_resized(np.ascontiguousarray(planes.swapaxes(1, 2)), height).swapaxes(1, 2)
    return planes.transpose(1, 2, 0)


def _columns_resized(planes: Planes, size: int) -> Planes:
    """uint8 (channels, rows, old size) → uint8 (channels, rows, size)."""
    channels, count, old = planes.shape
    products, bits = _products(old, size)
    rows, resized = planes.reshape(-1, old), np.empty((channels * count, size), np.uint8)
    for block, begin, matrix in products:
        step = max(1, BAND // len(matrix))
        for row in range(0, len(rows), step):
            # Whole numbers far below 2**53: sums of floats are exact in any order.
            sums = rows[row : row + step, begin : begin + len(matrix)].astype(np.float64) @ matrix
            resized[row : row + step, block] = np.clip(np.floor((sums + 2 ** (bits - 1)) / 2**bits), 0, 255)
    return resized.reshape(channels, count, size)


@lru_cache(maxsize=32)
def _products(old: int, size: int) -> tuple[list[tuple[slice, int, NDArray[np.float64]]], int]:
    """For TOGETHER new pixels at a time: which, the first old one they see, a matrix (seen, new); and the bits of all.

    Kept, as pictures come in few sizes.
    """
    starts, weights, bits = _weights(old, size)
    products = []
    for first in range(0, size, TOGETHER):
        block, begin = slice(first, first + TOGETHER), int(starts[first])
        products.append((block, begin, _spread(starts[block] - begin, weights[block])[: old - begin]))
    return products, bits


def _spread(starts: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each output's weights (outputs, taps) at its start, as a matrix (seen, outputs)."""
    count, taps = weights.shape
    matrix = np.zeros((int(starts[-1]) + taps, count))
    matrix[starts[:, None] + np.arange(taps), np.arange(count)[:, None]] = weights
    return matrix


def _weights(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """For each new pixel the first old one that it sees (new,), the weights of those (new, taps), and their bits.

    A row's sum is about 2**bits; rows that see less than others end in zeros.
    """
    scale = old / new
    support, inverse = (SUPPORT * scale, 1.0 / scale) if scale >= 1 else (SUPPORT, 1.0)
    centres = scale * (np.arange(new) + 0.5)
    starts = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    ends = np.minimum((centres + support + 0.5).astype(np.int64), old)
    seen = starts[:, None] + np.arange(int((ends - starts).max()))
    shares = np.where(seen < ends[:, None], _cubic((seen - centres[:, None] + 0.5) * inverse), 0.0)
    # From the first to the last: numpy's own sum takes another order, which has other last bits.
    shares /= np.add.accumulate(shares, axis=1)[:, -1:]
    largest = float(shares.max())
    bits = next((bit for bit in range(MOST_BITS) if int(0.5 + largest * 2 ** (bit + 1)) >= 2**WEIGHT_BITS), MOST_BITS)
    return starts, np.trunc(shares * 2**bits + np.copysign(0.5, shares)), bits


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution."""
    x, a = np.abs(distance), SHARPNESS
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))

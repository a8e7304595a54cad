"""Bicubic resizing of RGB pixels, bit for bit as torchvision does it on a processor, without torch.

Transformers' image processors resize with torchvision, and Pillow's own filter rounds its weights elsewhere, so that
its pixels differ by one here and there. Source of the sums: PyTorch, aten/src/ATen/native/cpu/UpSampleKernel.cpp
(`_compute_indices_min_size_weights_aa`, `_compute_index_ranges_int16_weights`) and UpSampleKernelAVXAntialias.h:
weights are whole numbers of at most 15 bits, a row's pixels are done before the rows, and what is between is rounded to
8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Reals = NDArray[Any]  # float32 or float64

SUPPORT = 2.0  # of the cubic filter, on each side, in pixels of the smaller picture
SHARPNESS = -0.5  # Keys' a, which antialiased filters of Pillow and PyTorch have
WEIGHT_BITS, MOST_BITS = 15, 22
# Neighbours' windows overlap: so many outputs together are one product of matrices, which computes a few times the
# sums that are needed and is many times as fast as one for each.
TOGETHER = 16
BAND = 2**17  # numbers that are held as floats at a time: they stay in a processor's cache
MIDDLE = 128  # is taken from each pixel, so that sums are small, and given back to each sum
FLOAT32_BITS = 16  # weights up to these have sums of centred pixels below 2**24, which float32 holds to the last


def bicubic(pixels: Pixels, height: int, width: int, top: int, left: int, rows: int, columns: int) -> Pixels:
    """Resize to (height, width), and of that return `rows` rows from `top` on and `columns` columns from `left` on.

    uint8 (old height, old width, channels) → uint8 (rows, columns, channels).
    """
    across = _filter(pixels.shape[1], width, left, columns)
    down = _filter(pixels.shape[0], height, top, rows)
    seen = pixels[down.seen, across.seen]
    between = np.empty((seen.shape[2], len(seen), across.size), down.dtype)
    centred = _Centred(seen, max(1, BAND // seen[0].size), across.dtype)
    for row in range(0, len(seen), centred.most):
        between[:, row : row + centred.most] = across.to_rows(centred(row))
    between -= MIDDLE
    resized: Pixels = np.stack([down.to_columns(plane) for plane in between], axis=2).astype(np.uint8)
    return resized


class _Centred:
    """Rows of a picture as (channels, rows, width) of centred numbers: what is contiguous is fast to compute with.

    They are in one piece of memory, as new memory would take longer to get than to fill.
    """

    def __init__(self, pixels: Pixels, most: int, dtype: Any) -> None:
        """`most`: how many rows at a time."""
        height, width, channels = pixels.shape
        self.most, self._pixels = min(most, height), pixels
        self._planes = np.empty((channels, self.most, width), dtype)

    def __call__(self, row: int) -> Reals:
        """From this row on; the one before is overwritten."""
        pixels = self._pixels[row : row + self.most]
        planes = self._planes[:, : len(pixels)]
        planes[...] = pixels.transpose(2, 0, 1)
        planes -= MIDDLE
        return planes


@dataclass(frozen=True)
class _Filter:
    """From a row of old pixels to some of the new ones; sums are exact in any order.

    Attributes:
        size: how many new pixels.
        seen: the old ones that they see.
        blocks: for TOGETHER new pixels at a time: which, which of the seen they see, and a matrix (old, new).
        offset: (size,), what MIDDLE has taken from each, and half a pixel, as sums are rounded.
    """

    size: int
    seen: slice
    blocks: list[tuple[slice, slice, Reals]]
    offset: Reals
    dtype: Any

    def to_rows(self, planes: Reals) -> Reals:
        """Centred (channels, rows, seen) → whole numbers from 0 to 255, (channels, rows, size)."""
        rows = planes.reshape(-1, planes.shape[2])
        sums = np.empty((len(rows), self.size), self.dtype)
        for block, part, matrix in self.blocks:
            sums[:, block] = rows[:, part] @ matrix
        sums += self.offset
        return _whole(sums).reshape(*planes.shape[:2], self.size)

    def to_columns(self, plane: Reals) -> Reals:
        """Centred (seen, columns) → whole numbers from 0 to 255, (size, columns)."""
        sums = np.empty((self.size, plane.shape[1]), self.dtype)
        for block, part, matrix in self.blocks:
            np.matmul(matrix.T, plane[part], out=sums[block])
        sums += self.offset[:, None]
        return _whole(sums)


def _whole(sums: Reals) -> Reals:
    np.clip(sums, 0, 255, out=sums)
    np.floor(sums, out=sums)
    return sums


@lru_cache(maxsize=32)
def _filter(old: int, new: int, first: int, size: int) -> _Filter:
    """For `size` of the new pixels from `first` on. Kept, as pictures come in few sizes."""
    starts, weights, bits = _weights(old, new)
    starts, weights = starts[first : first + size], weights[first : first + size]
    dtype = np.float32 if bits <= FLOAT32_BITS else np.float64
    first_seen, blocks = int(starts[0]), []
    for block in (slice(one, one + TOGETHER) for one in range(0, size, TOGETHER)):
        begin = int(starts[block][0])
        matrix = _spread(starts[block] - begin, weights[block])[: old - begin] / 2**bits
        part = slice(begin - first_seen, begin - first_seen + len(matrix))
        blocks.append((block, part, matrix.astype(dtype)))
    seen = slice(first_seen, first_seen + max(part.stop for _, part, _ in blocks))
    offset = MIDDLE * weights.sum(axis=1) / 2**bits + 0.5
    return _Filter(size, seen, blocks, offset.astype(dtype), dtype)


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

"""Blocks of channels at any rate → mono float32 at 16 kHz, a block at a time, so that memory follows the result."""

from __future__ import annotations

import io

import numpy as np
import soxr
from numpy.typing import NDArray

from tritone.media.audio import SAMPLING_RATE, Audio, check_samples

# Channels are averaged. Where that loses more than 10 dB against the loudest channel (two in opposite phase, or one
# that speaks among many that do not), the loudest is taken instead: an average of two ordinary channels loses 6 dB at
# the most, of eight different ones 9 dB.
CANCELLED = 0.1
ALIKE = 0.5  # of the loudest channel's power: the channel that was taken stays, so that it does not jump to and back
FADE_SECONDS = 0.01  # from one mixture to the next, without a click

Block = NDArray[np.float32]  # (n_samples, channels)


class Mixdown:
    """One sound, block by block."""

    def __init__(self, rate: int, channels: int) -> None:
        """`rate` in Hz."""
        self._mean = np.full(channels, 1 / channels, np.float32)
        self._weights: NDArray[np.float32] | None = None
        self._fade = max(1, int(FADE_SECONDS * rate))
        same = rate == SAMPLING_RATE
        self._resampler = None if same else soxr.ResampleStream(rate, SAMPLING_RATE, 1, dtype="float32")
        self._heard = io.BytesIO()  # grows in place

    def add(self, block: Block) -> None:
        """Raises InvalidInput if samples are not finite or beyond ±MAX_AMPLITUDE."""
        check_samples(block)
        weights = self._weigh(block)
        mono = block @ weights
        if self._weights is not None and not np.array_equal(weights, self._weights):
            start = block[: self._fade]
            rising = np.linspace(0, 1, len(start), dtype=np.float32)
            mono[: len(start)] = rising * mono[: len(start)] + (1 - rising) * (start @ self._weights)
        self._weights = weights
        self._write(mono)

    def finish(self) -> Audio:
        """All samples (n_samples,) at 16 kHz. Ends the mixdown."""
        self._write(np.zeros(0, np.float32), is_last=True)
        return np.frombuffer(self._heard.getbuffer(), np.float32)

    def _write(self, mono: Audio, is_last: bool = False) -> None:
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono, last=is_last)
        self._heard.write(np.ascontiguousarray(mono, np.float32).data)

    def _weigh(self, block: Block) -> NDArray[np.float32]:
        """How much of each channel is taken, (channels,)."""
        if block.shape[1] == 1:
            return self._mean
        power = np.einsum("nc,nc->c", block, block)
        mean = block @ self._mean
        if mean @ mean >= CANCELLED * power.max():
            return self._mean
        before = self._weights
        if before is not None and before.max() == 1 and power[before.argmax()] >= ALIKE * power.max():
            return before
        return np.asarray(np.arange(len(power)) == power.argmax(), np.float32)

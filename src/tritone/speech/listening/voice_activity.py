"""Where somebody speaks: Silero VAD's network, over a whole stretch of sound in a few operations.

The package `silero-vad` ships the weights; its own code goes through sound 32 ms at a time, which costs ten times as
much, and sets torch's number of threads for the whole process as it is imported. The network is that of its
`tinygrad_model.py` with the weights of its `silero_vad.jit` (its safetensors hold older ones), in numpy, so that a
process that only prepares sound loads no torch; a test proves that it says what the package says.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tritone.media.audio import Audio
from tritone.speech.listening.torchscript import tensors

FRAME = 512  # samples at 16 kHz that one probability is for: 32 ms
CONTEXT = 64  # samples of the frame before that it sees as well
BINS = 129  # of the spectrum
WINDOW, HOP = 256, 128  # samples of a spectrum, and from one to the next
STRIDES = (1, 2, 2, 1)  # of the encoder's four layers
WIDTH = 128  # of the memory
PARTS = 8  # of its gates' weights
# A voice is above SURE in SURE_FRAMES at a stretch (160 ms, a short word; melodies are for 100 ms), and begins and ends
# where it is above POSSIBLE.
SURE, SURE_FRAMES, POSSIBLE = 0.5, 5, 0.3
JOINED_FRAMES = 8  # between two words, 256 ms: consonants and breath that are not above POSSIBLE

Numbers = NDArray[np.float32]


class VoiceActivity:
    """The network for sound at 16 kHz."""

    def __init__(self, weights: Mapping[str, Numbers]) -> None:
        """`weights` by their names in the package's `silero_vad.jit`."""
        part = "_model."  # another one is for 8 kHz
        self._spectrum = weights[f"{part}stft.forward_basis_buffer"][:, 0].T  # (WINDOW, 2 * BINS): cosines, then sines
        layers = [f"{part}encoder.{layer}.reparam_conv." for layer in range(len(STRIDES))]
        self._encoder = [
            (_taps_first(weights[f"{layer}weight"]), weights[f"{layer}bias"], stride)
            for layer, stride in zip(layers, STRIDES, strict=True)
        ]
        # σ(x) = (1 + tanh(x / 2)) / 2: with halved rows one tanh serves all four gates.
        half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), WIDTH)[:, None]
        self._from_input, self._from_memory = (
            half * weights[f"{part}decoder.rnn.{name}"] for name in ("weight_ih", "weight_hh")
        )
        self._gates = half[:, 0] * sum(weights[f"{part}decoder.rnn.{name}"] for name in ("bias_ih", "bias_hh"))
        last = f"{part}decoder.decoder.2."
        self._decoder, self._bias = weights[f"{last}weight"][0, :, 0], weights[f"{last}bias"][0]

    @classmethod
    def load(cls) -> VoiceActivity:
        """With the weights that the installed package `silero-vad` ships."""
        package = find_spec("silero_vad")
        if package is None or package.origin is None:
            raise FileNotFoundError("the package silero-vad, which ships the weights, is not installed")
        return cls(tensors(Path(package.origin).parent / "data" / "silero_vad.jit"))

    def __call__(self, audio: Audio) -> Numbers:
        """The probability of speech in each frame, (ceil(n_samples / FRAME),), of sound (n_samples,) within ±1."""
        count = -(-len(audio) // FRAME)
        padded = np.pad(audio, (CONTEXT, count * FRAME - len(audio)))
        frames = np.pad(sliding_window_view(padded, CONTEXT + FRAME)[::FRAME], ((0, 0), (0, CONTEXT)), mode="reflect")
        waves = _product(sliding_window_view(frames, WINDOW, axis=1)[:, ::HOP], self._spectrum)  # (frames, 4, 2 * BINS)
        states = np.sqrt(np.square(waves[..., :BINS]) + np.square(waves[..., BINS:]))
        for weight, bias, stride in self._encoder:
            states = np.maximum(_convolved(states, weight, bias, stride), 0)
        remembered = np.maximum(self._remembered(states[:, 0]), 0)  # (frames, WIDTH)
        return np.asarray(1 / (1 + np.exp(-(remembered @ self._decoder + self._bias))), np.float32)

    def _remembered(self, states: Numbers) -> Numbers:
        """What a long short-term memory says after each of (frames, WIDTH), in the same shape.

        Gates lie as torch.nn.LSTM has them: input, forget, cell, output.
        """
        # In parts too small for BLAS to share them among threads, which costs more than these sums.
        parts = self._from_memory.reshape(PARTS, -1, WIDTH)
        said = np.empty_like(states)
        hidden = cell = np.zeros(WIDTH, np.float32)
        for place, given in enumerate(states @ self._from_input.T + self._gates):
            taken, kept, new, shown = np.tanh(given + (parts @ hidden).ravel()).reshape(4, WIDTH)
            cell = ((kept + 1) * cell + (taken + 1) * new) * np.float32(0.5)
            said[place] = hidden = (shown + 1) * np.tanh(cell) * np.float32(0.5)
        return said

    def spoken(self, audio: Audio) -> list[tuple[int, int]]:
        """Where somebody speaks in (n_samples,): first sample and the one after the last, in order."""
        return [
            (first * FRAME, min(last * FRAME, len(audio)))
            for first, last, sure in _runs(self(audio))
            if sure >= SURE_FRAMES
        ]


def _taps_first(weight: Numbers) -> Numbers:
    """A convolution's weight (out, in, 3) as a matrix for what `_convolved` lays side by side, (3 * in, out)."""
    return np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(-1, len(weight)))


def _convolved(states: Numbers, weight: Numbers, bias: Numbers, stride: int) -> Numbers:
    """(frames, time, in) → (frames, ceil(time / stride), out), with a zero at both ends."""
    padded = np.pad(states, ((0, 0), (1, 1), (0, 0)))
    last = states.shape[1]
    columns = np.concatenate([padded[:, tap : tap + last : stride] for tap in range(3)], axis=2)
    return _product(columns, weight) + bias


def _product(rows: Numbers, matrix: Numbers) -> Numbers:
    """(frames, time, in) × (in, out) as one product, of rows in order: else numpy makes many, without BLAS."""
    return np.asarray(np.ascontiguousarray(rows).reshape(-1, len(matrix)) @ matrix).reshape(*rows.shape[:2], -1)


def _runs(probabilities: NDArray[np.float32]) -> list[tuple[int, int, int]]:
    """Runs of frames above POSSIBLE, short gaps included: first, the one after the last, and the most SURE in a row."""
    runs: list[tuple[int, int, int]] = []
    row = 0
    for frame, probability in enumerate(probabilities.tolist()):
        row = row + 1 if probability > SURE else 0
        if probability <= POSSIBLE:
            continue
        if runs and frame - runs[-1][1] <= JOINED_FRAMES:
            runs[-1] = (runs[-1][0], frame + 1, max(runs[-1][2], row))
        else:
            runs.append((frame, frame + 1, row))
    return runs

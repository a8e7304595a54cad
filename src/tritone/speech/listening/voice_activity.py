"""Where somebody speaks: Silero VAD's network, over a whole stretch of sound in a few operations.

The package `silero-vad` ships the weights; its own code goes through sound 32 ms at a time, which costs ten times as
much, and sets torch's number of threads for the whole process as it is imported. The network is that of its
`tinygrad_model.py` with the weights of its `silero_vad.jit`; a test proves that it says what the package says.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tritone.media.audio import Audio

FRAME = 512  # samples at 16 kHz that one probability is for: 32 ms
CONTEXT = 64  # samples of the frame before that it sees as well
BINS = 129  # of the spectrum
# A voice is above SURE in SURE_FRAMES at a stretch (160 ms, a short word; melodies are for 100 ms), and begins and ends
# where it is above POSSIBLE.
SURE, SURE_FRAMES, POSSIBLE = 0.5, 5, 0.3
JOINED_FRAMES = 8  # between two words, 256 ms: consonants and breath that are not above POSSIBLE


class VoiceActivity(nn.Module):
    """The network for sound at 16 kHz."""

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = nn.Conv1d(1, 2 * BINS, 256, stride=128, bias=False)  # cosines, then sines
        self.encoder = nn.Sequential(
            *[nn.Conv1d(BINS, 128, 3, padding=1), nn.ReLU(), nn.Conv1d(128, 64, 3, stride=2, padding=1), nn.ReLU()],
            *[nn.Conv1d(64, 64, 3, stride=2, padding=1), nn.ReLU(), nn.Conv1d(64, 128, 3, padding=1), nn.ReLU()],
        )
        self.memory = nn.LSTM(128, 128)
        self.decoder = nn.Linear(128, 1)

    @classmethod
    def load(cls) -> VoiceActivity:
        """With the weights that the installed package `silero-vad` ships."""
        package = find_spec("silero_vad")
        if package is None or package.origin is None:
            raise FileNotFoundError("the package silero-vad, which ships the weights, is not installed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated, and what the package ships
            given = torch.jit.load(Path(package.origin).parent / "data" / "silero_vad.jit").state_dict()  # type: ignore[no-untyped-call]
        part = "_model."  # another one is for 8 kHz
        weights = {
            f"encoder.{2 * layer}.{kind}": given[f"{part}encoder.{layer}.reparam_conv.{kind}"]
            for layer in range(4)
            for kind in ("weight", "bias")
        }
        weights |= {
            f"memory.{name}_l0": given[f"{part}decoder.rnn.{name}"]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        weights["spectrum.weight"] = given[f"{part}stft.forward_basis_buffer"]
        weights["decoder.weight"] = given[f"{part}decoder.decoder.2.weight"][:, :, 0]
        weights["decoder.bias"] = given[f"{part}decoder.decoder.2.bias"]
        network = cls()
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)

    @torch.inference_mode()
    def __call__(self, audio: Audio) -> NDArray[np.float32]:
        """The probability of speech in each frame, (ceil(n_samples / FRAME),), of sound (n_samples,) within ±1."""
        count = -(-len(audio) // FRAME)
        padded = functional.pad(torch.from_numpy(audio), (CONTEXT, count * FRAME - len(audio)))
        frames = functional.pad(padded.unfold(0, CONTEXT + FRAME, FRAME)[:, None], (0, CONTEXT), mode="reflect")
        cosines, sines = self.spectrum(frames).split(BINS, dim=1)
        states = self.encoder((cosines.square() + sines.square()).sqrt())  # (frames, 128, 1)
        states, _ = self.memory(states.transpose(1, 2))  # (frames, 1, 128): one step for each frame
        return np.asarray(self.decoder(states.relu()).sigmoid()[:, 0, 0].numpy())

    def spoken(self, audio: Audio) -> list[tuple[int, int]]:
        """Where somebody speaks in (n_samples,): first sample and the one after the last, in order."""
        return [
            (first * FRAME, min(last * FRAME, len(audio)))
            for first, last, sure in _runs(self(audio))
            if sure >= SURE_FRAMES
        ]


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

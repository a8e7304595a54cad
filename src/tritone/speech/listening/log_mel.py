"""Sound to what Whisper's encoder takes: log-mel windows of 30 s. numpy alone, so that a process that only prepares
windows loads no torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tritone.errors import InvalidInput

WINDOW_SECONDS = 30
N_FRAMES = 3_000  # of 10 ms in a window
FRAMES_A_SECOND = N_FRAMES // WINDOW_SECONDS
NO_SOUND = -1.5  # a window of zeros, everywhere: the logarithm's floor as `LogMel` scales it
HIGHEST_HZ = 8_000.0  # of the mel filters, whatever the checkpoint: transformers' WhisperFeatureExtractor

# Slaney's scale, of his Auditory Toolbox: linear below 1 kHz, which is 15 mel, and 27 mel to a factor of 6.4 above.
LINEAR_HZ, LINEAR_MEL, MEL_A_LOG = 1_000.0, 15.0, 27.0 / np.log(6.4)

Features = NDArray[np.float32]


class LogMel:
    """Audio → log-mel spectrogram, as one checkpoint wants it."""

    def __init__(self, n_mels: int = 80, sampling_rate: int = 16_000, hop_length: int = 160, n_fft: int = 400) -> None:
        self.n_mels = n_mels
        self._rate, self._hop, self._n_fft = sampling_rate, hop_length, n_fft
        self._filters = np.ascontiguousarray(mel_filters(n_mels, sampling_rate, n_fft).T, np.float32)
        self._hann = np.hanning(n_fft + 1)[:-1].astype(np.float32)  # periodic

    @classmethod
    def load(cls, directory: Path) -> LogMel:
        """Read `preprocessor_config.json` of a checkpoint."""
        given = json.loads((directory / "preprocessor_config.json").read_text(encoding="utf-8"))
        names = {"feature_size": "n_mels"} | {name: name for name in ("sampling_rate", "hop_length", "n_fft")}
        return cls(**{names[key]: int(value) for key, value in given.items() if key in names})

    def __call__(self, audio: NDArray[np.float32]) -> Features:
        """Mono audio (n_samples,) at 16 kHz, at most 30 s → float32 (n_mels, 3000), padded with silence.

        What `WhisperFeatureExtractor` gives, without its work on the silence.
        Raises InvalidInput if the audio is longer than a window.
        """
        seconds = len(audio) / self._rate
        if seconds > WINDOW_SECONDS:
            raise InvalidInput(f"a window holds {WINDOW_SECONDS} s of audio, got {seconds:.2f} s")
        count = min(N_FRAMES, -(-(len(audio) + self._n_fft) // self._hop))  # all others hear no sample
        padded = np.zeros((count + 2) * self._hop if count < N_FRAMES else N_FRAMES * self._hop, np.float32)
        padded[: len(audio)] = audio
        frames = sliding_window_view(np.pad(padded, self._n_fft // 2, mode="reflect"), self._n_fft)[:: self._hop]
        spectrum = np.fft.rfft(frames[:count] * self._hann).T  # (1 + n_fft // 2, count)
        power = np.square(np.abs(spectrum).astype(np.float32))
        features = np.full((self.n_mels, N_FRAMES), -10.0, np.float32)  # log10 of the floor
        features[:, :count] = np.log10(np.maximum(self._filters @ power, np.float32(1e-10)))
        scaled: Features = (np.maximum(features, features.max() - np.float32(8)) + np.float32(4)) / np.float32(4)
        return scaled


def mel_filters(n_mels: int, sampling_rate: int, n_fft: int) -> NDArray[np.float64]:
    """Triangles of equal area on Slaney's mel scale, (1 + n_fft // 2, n_mels).

    Source: librosa.filters.mel, and transformers' audio_utils.mel_filter_bank, which says bit for bit the same.
    """
    top = LINEAR_MEL + np.log(HIGHEST_HZ / LINEAR_HZ) * MEL_A_LOG
    mels = np.linspace(0.0, top, n_mels + 2)
    corners = 200.0 * mels / 3.0
    high = mels >= LINEAR_MEL
    corners[high] = LINEAR_HZ * np.exp((np.log(6.4) / 27.0) * (mels[high] - LINEAR_MEL))
    distances = corners[None] - np.linspace(0, sampling_rate // 2, 1 + n_fft // 2)[:, None]
    widths = np.diff(corners)
    triangles = np.maximum(0.0, np.minimum(-distances[:, :-2] / widths[:-1], distances[:, 2:] / widths[1:]))
    return np.asarray(triangles * (2.0 / (corners[2:] - corners[:-2]))[None])

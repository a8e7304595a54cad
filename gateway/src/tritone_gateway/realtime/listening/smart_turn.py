"""Whether somebody has finished what he wants to say: Smart Turn, by the sound of it."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from tritone_gateway.realtime.sound import HEARD_RATE

FILE = "smart-turn-v3.2-cpu.onnx"
WINDOW_S = 8
HOW = "`python scripts/fetch_checkpoints.py --only smart_turn` brings it"
_FFT, _HOP, _MELS = 400, 160, 80


def folder_of(setting: Path | None) -> Path | None:
    """Where the model lies, if it is there: as the setting says, or among the checkpoints."""
    checkpoints = Path(os.environ.get("TRITONE_CHECKPOINTS") or ".checkpoints/tiny")
    folder = setting or checkpoints / "smart_turn"
    return folder if (folder / FILE).is_file() else None


class SmartTurn:
    """Whether what was said sounds complete: Smart Turn v3.2, on one thread of its own for all sessions.

    Args:
        folder: that holds FILE.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._model = onnxruntime.InferenceSession(str(folder / FILE), options, providers=["CPUExecutionProvider"])
        self.thread = ThreadPoolExecutor(1, "smart-turn")

    def complete(self, samples: npt.NDArray[np.int16]) -> float:
        """How likely it is that nothing more comes, 0–1, after samples int16 (n_samples,) at 16 kHz."""
        features = log_mel(samples.astype(np.float32) / 32768)[None]
        return float(np.asarray(self._model.run(None, {"input_features": features})[0]).reshape(-1)[0])


_LOADING = threading.Lock()


@lru_cache
def _loaded(folder: Path) -> SmartTurn:
    return SmartTurn(folder)


def smart_turn(folder: Path) -> SmartTurn:
    """The model, loaded once a process."""
    with _LOADING:
        return _loaded(folder)


def log_mel(audio: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Whisper's features of the last 8 s of samples float32 (n_samples,) at 16 kHz: float32 (80, 800).

    What is shorter has silence in front; the whole is brought to mean 0 and variance 1 first.
    """
    size = WINDOW_S * HEARD_RATE
    window = np.concatenate([np.zeros(max(0, size - len(audio)), np.float32), audio[-size:]])
    window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
    padded = np.pad(window.astype(np.float64), _FFT // 2, mode="reflect")
    frames = sliding_window_view(padded, _FFT)[::_HOP][:-1]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FFT + 1)[:-1])) ** 2
    mel = np.log10(np.maximum(power @ _filters(), 1e-10)).T
    found: Any = (np.maximum(mel, mel.max() - 8) + 4) / 4
    return np.asarray(found, np.float32)


@lru_cache
def _filters() -> npt.NDArray[np.float64]:
    """Triangles on Slaney's mel scale, each of area 1: float64 (201, 80)."""
    edges = _hertz(np.linspace(0, _mel(HEARD_RATE / 2), _MELS + 2))
    bins = np.linspace(0, HEARD_RATE / 2, _FFT // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles: Any = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    return np.asarray(triangles, np.float64)


def _mel(hertz: float) -> float:
    """Linear up to 1000 Hz, which are 15 mel, and logarithmic above."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * float(np.log(hertz / 1000) / np.log(6.4))


def _hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above: Any = 1000 * np.exp(np.log(6.4) / 27 * (mel - 15))
    return np.where(mel < 15, mel * 200 / 3, above)

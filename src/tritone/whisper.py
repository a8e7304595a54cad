"""Speech → text with Whisper: log-mel windows of 30 s in, text with timestamps out.

`LogMel` needs a checkpoint's `preprocessor_config.json` alone, so a process that prepares windows never loads the
network. This module knows one window at a time; cutting longer audio into windows is its caller's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from tritone.errors import InvalidInput
from tritone.precision import torch_dtype

WINDOW_SECONDS = 30
N_FRAMES = 3_000  # of 10 ms in a window
TASKS = ("transcribe", "translate")

# A window holds no speech if the model says so and does not believe in its own words
# (openai/whisper whisper/transcribe.py: no_speech_threshold, logprob_threshold).
NO_SPEECH_PROBABILITY = 0.6
LOG_PROBABILITY = -1.0  # average over the window's tokens

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """Up to 30 s of sound and what to do with it."""

    input_features: Features  # (n_mels, 3000), from `LogMel`
    language: str | None = None  # code or English name: "en", "chinese"; None: detect it
    task: str | None = None  # "transcribe" (None) or "translate" (into English)


@dataclass(frozen=True)
class Segment:
    """A stretch of speech, in seconds from the start of its window."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Transcript:
    """What was said in one window."""

    text: str
    language: str  # code of the language that was spoken
    segments: tuple[Segment, ...]


class LogMel:
    """Audio → log-mel spectrogram, as one checkpoint wants it."""

    def __init__(self, extractor: WhisperFeatureExtractor) -> None:
        self._extractor = extractor
        self.n_mels = int(extractor.feature_size)

    @classmethod
    def load(cls, directory: Path) -> LogMel:
        """Read `preprocessor_config.json` of a checkpoint."""
        return cls(WhisperFeatureExtractor.from_pretrained(directory, local_files_only=True))

    def __call__(self, audio: NDArray[np.float32]) -> Features:
        """Mono audio (n_samples,) at 16 kHz, at most 30 s → float32 (n_mels, 3000), padded with silence.

        Raises InvalidInput if the audio is longer than a window.
        """
        seconds = len(audio) / self._extractor.sampling_rate
        if seconds > WINDOW_SECONDS:
            raise InvalidInput(f"a window holds {WINDOW_SECONDS} s of audio, got {seconds:.2f} s")
        features = self._extractor(audio, sampling_rate=self._extractor.sampling_rate, return_tensors="np")
        return np.asarray(features["input_features"][0], dtype=np.float32)


class Whisper:
    """A Whisper network with its tokenizer."""

    def __init__(self, model: WhisperForConditionalGeneration, tokenizer: WhisperTokenizer) -> None:
        self._model: Any = model  # generate() is typed for one language only
        self._tokenizer = tokenizer
        self.n_mels = int(model.config.num_mel_bins)
        self.multilingual = bool(getattr(model.generation_config, "is_multilingual", True))

    @classmethod
    def load(cls, directory: Path, device: str, dtype: str) -> Whisper:
        """Load a Hugging Face Whisper directory and transcribe once, to warm up.

        `dtype` is one of `precision.torch_dtype`, or "fastest".
        """
        precision = fastest_dtype(device) if dtype == "fastest" else torch_dtype(dtype, device)
        model: Any = WhisperForConditionalGeneration.from_pretrained(directory, dtype=precision, local_files_only=True)
        tokenizer = WhisperTokenizer.from_pretrained(directory, local_files_only=True)
        whisper = cls(model.to(device), tokenizer)
        whisper.transcribe([Window(np.zeros((whisper.n_mels, N_FRAMES), np.float32))])
        return whisper

    @property
    def languages(self) -> list[str]:
        """Codes of the languages this checkpoint knows."""
        if not self.multilingual:
            return ["en"]
        return [token.strip("<|>") for token in self._model.generation_config.lang_to_id]

    def prepare(self, input_features: Features, language: str | None = None, task: str | None = None) -> Window:
        """A window that `transcribe` can take.

        Raises InvalidInput if its shape, values, language or task are not for this checkpoint.
        """
        window = Window(input_features, language or None, task or None)
        shape = window.input_features.shape
        if shape != (self.n_mels, N_FRAMES):
            raise InvalidInput(f"input_features must have shape [{self.n_mels}, {N_FRAMES}], got {list(shape)}")
        if not np.isfinite(window.input_features).all():
            raise InvalidInput("input_features hold values that are no numbers (NaN or infinity)")
        if window.task not in (None, *TASKS):
            raise InvalidInput(f"task is {window.task!r}, it must be one of {', '.join(TASKS)}")
        if window.task == "translate" and not self.multilingual:
            raise InvalidInput("task 'translate' needs a multilingual checkpoint; this one transcribes English only")
        if window.language is not None and _code(window.language) not in self.languages:
            raise InvalidInput(f"language {window.language!r} is unknown; this checkpoint has {self._offer()}")
        return window

    def transcribe(self, windows: Sequence[Window]) -> list[Transcript]:
        """Transcribe prepared windows in one batch per task, in order.

        Decoding is greedy, so a window's text does not depend on its neighbours.
        """
        transcripts: dict[int, Transcript] = {}
        for task in TASKS:
            rows = [row for row, window in enumerate(windows) if (window.task or "transcribe") == task]
            if rows:
                transcripts |= zip(rows, self._generate([windows[row] for row in rows], task), strict=True)
        return [transcripts[row] for row in range(len(windows))]

    @torch.inference_mode()
    def _generate(self, windows: list[Window], task: str) -> list[Transcript]:
        features = torch.from_numpy(np.stack([window.input_features for window in windows]))
        features = features.to(self._model.device, self._model.dtype)  # (batch, n_mels, 3000)
        languages = self._languages(windows, features)
        spoken = {"language": languages, "task": task} if self.multilingual else {}
        output = self._model.generate(
            features,
            attention_mask=torch.ones(len(windows), N_FRAMES, dtype=torch.long, device=features.device),
            return_timestamps=True,
            return_segments=True,
            temperature=0.0,
            no_speech_threshold=NO_SPEECH_PROBABILITY,
            logprob_threshold=LOG_PROBABILITY,
            **spoken,
        )
        return [self._transcript(row, language) for row, language in zip(output["segments"], languages, strict=True)]

    def _languages(self, windows: list[Window], features: torch.Tensor) -> list[str]:
        """Code of each window's language, detected where the caller left it open."""
        if not self.multilingual:
            return ["en"] * len(windows)
        stated = [window.language and _code(window.language) for window in windows]
        unknown = [row for row, language in enumerate(stated) if not language]
        if unknown:
            tokens = self._tokenizer.convert_ids_to_tokens(self._model.detect_language(features[unknown]).tolist())
            for row, token in zip(unknown, tokens, strict=True):
                stated[row] = token.strip("<|>")
        return [str(language) for language in stated]

    def _transcript(self, row: list[dict[str, torch.Tensor]], language: str) -> Transcript:
        segments = [
            Segment(round(float(part["start"]), 2), round(float(part["end"]), 2), self._text(part["tokens"]))
            for part in row
        ]
        segments = [segment for segment in segments if segment.text]
        return Transcript(" ".join(segment.text for segment in segments), language, tuple(segments))

    def _text(self, tokens: torch.Tensor) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    def _offer(self) -> str:
        return "English only" if not self.multilingual else f"{', '.join(self.languages)}"


def fastest_dtype(device: str) -> torch.dtype:
    """float16 on a GPU, bfloat16 on a CPU that multiplies it in hardware (3 times faster there), else float32."""
    if device.startswith("cuda"):
        return torch.float16
    capabilities = torch.cpu.get_capabilities()
    return torch.bfloat16 if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else torch.float32


def _code(language: str) -> str:
    """ "English", "en-US" and "EN" → "en"."""
    name = language.strip().lower()
    return TO_LANGUAGE_CODE.get(name, name.replace("_", "-").split("-")[0])

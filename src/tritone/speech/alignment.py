"""Audio and its text → when each word was said: CTC forced alignment on a `Wav2Vec2ForCTC` checkpoint.

The network says for every 20 ms how likely each letter is; the likeliest path that spells the text (Viterbi,
`torchaudio.functional.forced_align`) gives each letter its place. Long audio goes through the network in windows that
overlap; the path is searched over all of it at once, so no word is cut at a seam.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchaudio.functional import forced_align
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2Processor

from tritone.errors import InvalidInput
from tritone.precision import torch_dtype
from tritone.speech.reading.normalization import read

SAMPLING_RATE = 16_000
WINDOW_FRAMES = 1_000  # 20 s: what the network sees at once
CONTEXT_FRAMES = 50  # 1 s on each side that only serves as context
# Below it the text is not what is said: mean probability of the letters where the path puts them. The tiny aligner's
# evaluation: it would refuse 3 % of true texts, words never heard included, and accept 2 % of other sentences.
MATCHING_SCORE = 0.2
MIN_SECONDS = 0.1
CHARACTERS_A_SECOND = 50  # one a frame; nobody speaks half as fast. More is refused before it is read closely
MAX_WINDOWS = 8  # that go through the network at once


@dataclass(frozen=True)
class Word:
    """A word in time."""

    word: str  # as it was written
    start: float  # seconds
    end: float
    score: float  # 0–1: geometric mean of its letters' probabilities; 0 if it has no letters


@dataclass(frozen=True)
class Alignment:
    """A text in time."""

    words: tuple[Word, ...]
    score: float  # 0–1, mean of the words that have letters
    matches: bool  # whether the text is what is said


@dataclass(frozen=True)
class Reading:
    """Audio and text, ready to be aligned."""

    audio: NDArray[np.float32]  # (n_samples,), normalised as the checkpoint wants it
    words: tuple[str, ...]
    letters: tuple[tuple[int, ...], ...]  # of each word: vocabulary numbers


class Aligner:
    """A `Wav2Vec2ForCTC` with letters for a vocabulary."""

    def __init__(self, model: Wav2Vec2ForCTC, processor: Wav2Vec2Processor, max_seconds: float) -> None:
        self._model: Any = model
        self._extract = processor.feature_extractor
        vocabulary: dict[str, int] = processor.tokenizer.get_vocab()
        self._blank = int(processor.tokenizer.pad_token_id)
        self._gap = vocabulary[processor.tokenizer.word_delimiter_token]
        self._letters = {sign: number for sign, number in vocabulary.items() if sign.isalpha() or sign == "'"}
        self._max_seconds = max_seconds
        self._frames = Frames.of(model.config)
        # Frames of padded neighbours stay out of this kind of network; the other kind norms over time and sees them.
        self._masks_padding = model.config.feat_extract_norm == "layer"

    @classmethod
    def load(cls, directory: Path, device: str, dtype: str, max_seconds: float) -> Aligner:
        """Load a Hugging Face wav2vec2 directory and align once, to warm up.

        Args:
            dtype: one of `precision.torch_dtype`.
            max_seconds: the longest audio it will take.
        """
        model: Any = Wav2Vec2ForCTC.from_pretrained(directory, dtype=torch_dtype(dtype, device), local_files_only=True)
        processor = Wav2Vec2Processor.from_pretrained(directory, local_files_only=True)
        aligner = cls(model.eval().to(device), processor, max_seconds)
        aligner.align([aligner.prepare(np.zeros(SAMPLING_RATE, np.float32), "a")])
        return aligner

    def prepare(self, audio: NDArray[np.float32], text: str) -> Reading:
        """Audio (n_samples,) at 16 kHz and what is said in it, as `align` takes them.

        Raises InvalidInput if the audio is too short or too long, if the text has no letter that this checkpoint
        knows, or if it has more characters or letters than the audio has room for.
        """
        seconds = len(audio) / SAMPLING_RATE
        if not MIN_SECONDS <= seconds <= self._max_seconds:
            raise InvalidInput(f"the audio is {seconds:.2f} s long, must be {MIN_SECONDS:g}–{self._max_seconds:g} s")
        if not np.isfinite(audio).all():
            raise InvalidInput("the audio holds samples that are no numbers (NaN or infinity)")
        room = max(int(seconds * CHARACTERS_A_SECOND), CHARACTERS_A_SECOND)
        if len(text) > room:
            raise InvalidInput(f"text has {len(text):,} characters, the limit for {seconds:.2f} s of audio is {room:,}")
        words = read(text, "en")
        letters = tuple(self._spell(word.spoken) for word in words)
        spelled = [numbers for numbers in letters if numbers]
        if not spelled:
            known = "".join(sorted(self._letters))
            raise InvalidInput(f"text has no letter that can be aligned: {text[:40]!r}; known are {known}")
        needed = sum(map(_least_frames, spelled)) + len(spelled) - 1
        if needed > (frames := self._frames.count(len(audio))):
            raise InvalidInput(f"text needs {needed} frames, the audio of {seconds:.2f} s has {frames}")
        normed = self._extract(audio, sampling_rate=SAMPLING_RATE, return_tensors="np").input_values[0]
        return Reading(normed.astype(np.float32), tuple(word.text for word in words), letters)

    def align(self, readings: Sequence[Reading]) -> list[Alignment]:
        """Align each reading; the windows of all go through the network together."""
        windows = [list(self._frames.windows(len(reading.audio))) for reading in readings]
        pieces = [
            reading.audio[window.first : window.last]
            for reading, own in zip(readings, windows, strict=True)
            for window in own
        ]
        emissions = iter(self._emissions(pieces))
        return [
            self._align(reading, torch.cat([next(emissions)[window.skip : window.stop] for window in own]))
            for reading, own in zip(readings, windows, strict=True)
        ]

    def _spell(self, spoken: str) -> tuple[int, ...]:
        """Vocabulary numbers of a word; a number's words have the word gap between them."""
        plain = unicodedata.normalize("NFKD", spoken.replace("’", "'")).upper()
        words = [[self._letters[letter] for letter in word if letter in self._letters] for word in plain.split()]
        return tuple(number for word in words if word for number in (*word, self._gap))[:-1]

    @torch.inference_mode()
    def _emissions(self, pieces: Sequence[NDArray[np.float32]]) -> list[torch.Tensor]:
        """Log-probabilities float32 (n_frames, n_letters) of each piece of audio, on the CPU."""
        found: dict[int, torch.Tensor] = {}
        groups = _in_order_of_length(pieces) if self._masks_padding else _same_length(pieces)
        for group in groups:
            lengths = torch.tensor([len(pieces[row]) for row in group])
            batch = torch.zeros(len(group), int(lengths.max()))
            for row, number in enumerate(group):
                batch[row, : len(pieces[number])] = torch.from_numpy(pieces[number])
            mask = torch.arange(batch.shape[1])[None] < lengths[:, None]
            mask_input = {"attention_mask": mask.long().to(self._model.device)} if self._masks_padding else {}
            logits = self._model(batch.to(self._model.device, self._model.dtype), **mask_input).logits
            rows = logits.float().log_softmax(-1).cpu()  # (batch, n_frames, n_letters)
            found |= {
                number: row[: self._frames.count(len(pieces[number]))] for number, row in zip(group, rows, strict=True)
            }
        return [found[number] for number in range(len(pieces))]

    def _align(self, reading: Reading, emissions: torch.Tensor) -> Alignment:
        spelled = [index for index, letters in enumerate(reading.letters) if letters]
        tokens = [number for index in spelled for number in (self._gap, *reading.letters[index])][1:]
        path, scores = forced_align(emissions[None], torch.tensor([tokens], dtype=torch.int32), blank=self._blank)
        spans = _spans(path[0].tolist(), scores[0].exp().tolist(), self._blank)
        starts = np.cumsum([0, *(len(reading.letters[index]) + 1 for index in spelled)])
        placed = {
            index: self._word(reading, index, spans[first : first + len(reading.letters[index])])
            for index, first in zip(spelled, starts[:-1], strict=True)
        }
        score = float(np.mean([word.score for word in placed.values()]))
        return Alignment(tuple(_with_silent(reading.words, placed)), round(score, 4), score >= MATCHING_SCORE)

    def _word(self, reading: Reading, index: int, letters: Sequence[_Span]) -> Word:
        logs = [np.log(max(letter.probability, 1e-9)) for letter in letters if letter.token != self._gap]
        seconds = self._frames.hop / SAMPLING_RATE
        end = min(letters[-1].end * seconds, len(reading.audio) / SAMPLING_RATE)
        score = float(np.exp(np.mean(logs)))
        return Word(reading.words[index], round(letters[0].start * seconds, 3), round(end, 3), round(score, 4))


# ---- windows


@dataclass(frozen=True)
class Window:
    """A stretch of audio that goes through the network at once."""

    first: int  # samples
    last: int
    skip: int  # frames of it that belong to the window before
    stop: int  # frame behind its last own one


@dataclass(frozen=True)
class Frames:
    """How the network cuts audio into frames."""

    hop: int  # samples from one to the next: 320 are 20 ms
    field: int  # samples that one sees

    @classmethod
    def of(cls, config: Wav2Vec2Config) -> Frames:
        """Those of a network's convolutions."""
        hop = field = 1
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            field, hop = field + (kernel - 1) * hop, hop * stride
        return cls(hop, field)

    def count(self, n_samples: int) -> int:
        """Frames in so many samples."""
        return max((n_samples - self.field) // self.hop + 1, 0)

    def windows(self, n_samples: int) -> Iterator[Window]:
        """Windows whose own frames, one after another, are all frames of the audio."""
        total = self.count(n_samples)
        for begin in range(0, total, WINDOW_FRAMES):
            end = min(begin + WINDOW_FRAMES, total)
            first = max(begin - CONTEXT_FRAMES, 0)
            last = n_samples if end == total else min((end + CONTEXT_FRAMES - 1) * self.hop + self.field, n_samples)
            yield Window(first * self.hop, last, begin - first, end - first)


def _in_order_of_length(pieces: Sequence[NDArray[np.float32]]) -> list[list[int]]:
    """Groups of at most MAX_WINDOWS of about one length, so that little is computed for padding."""
    rows = sorted(range(len(pieces)), key=lambda row: len(pieces[row]))
    return [rows[first : first + MAX_WINDOWS] for first in range(0, len(rows), MAX_WINDOWS)]


def _same_length(pieces: Sequence[NDArray[np.float32]]) -> list[list[int]]:
    rows = sorted(range(len(pieces)), key=lambda row: len(pieces[row]))
    groups = [list(group) for _, group in groupby(rows, key=lambda row: len(pieces[row]))]
    return [group[first : first + MAX_WINDOWS] for group in groups for first in range(0, len(group), MAX_WINDOWS)]


# ---- paths


@dataclass(frozen=True)
class _Span:
    """One letter of the text on the path."""

    token: int
    start: int  # frames
    end: int
    probability: float  # geometric mean over its frames


def _spans(path: list[int], probabilities: list[float], blank: int) -> list[_Span]:
    """The letters of a path, in their order; two equal ones in a row have a blank between them."""
    spans, frame = [], 0
    for token, run in groupby(path):
        length = len(list(run))
        if token != blank:
            logs = np.log(np.maximum(probabilities[frame : frame + length], 1e-9))
            spans.append(_Span(token, frame, frame + length, float(np.exp(logs.mean()))))
        frame += length
    return spans


def _with_silent(words: Sequence[str], placed: dict[int, Word]) -> Iterator[Word]:
    """All words; one without letters ("—") stands at the end of the word before it, with score 0."""
    end = 0.0
    for index, word in enumerate(words):
        known = placed.get(index, Word(word, end, end, 0.0))
        end = known.end
        yield known


def _least_frames(letters: Sequence[int]) -> int:
    """Frames that a word needs: one a letter, and a blank between equal neighbours."""
    return len(letters) + sum(a == b for a, b in pairwise(letters))

"""Speech → text with Whisper: log-mel windows of 30 s in, text with timestamps out, many windows at once.

This module knows one window at a time, from `log_mel`; `tritone.speech.listening.recording` cuts longer audio.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import WhisperForConditionalGeneration, WhisperTokenizer
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from tritone.cuda_graphs import capture_on
from tritone.errors import InvalidInput
from tritone.precision import torch_dtype
from tritone.speech.listening.log_mel import N_FRAMES, NO_SOUND, WINDOW_SECONDS, Features
from tritone.speech.listening.log_mel import LogMel as LogMel
from tritone.speech.listening.transcript import Segment, Span, Transcript
from tritone.speech.listening.whisper_decoding import Decoded, Vocabulary, decode, detect_languages
from tritone.speech.listening.whisper_network import Memory, Network
from tritone.speech.listening.whisper_steps import StepGraphs
from tritone.speech.listening.whisper_words import SECONDS_A_POSITION, find_words

TASKS = ("transcribe", "translate")

# When a window is tried again, and when it holds no speech: openai/whisper whisper/transcribe.py.
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
COMPRESSION_RATIO = 2.4  # text that packs better says the same thing again and again
LOG_PROBABILITY = -1.0  # average over the window's tokens
NO_SPEECH_PROBABILITY = 0.6
# Nobody says more: seven words a second are about ten tokens, and Chinese is about as many. A loop would go on to the
# network's own limit.
TOKENS_A_SECOND = 15
LEAST_TOKENS = 16  # timestamps, and a word cut short

# With a `shortest_context` below 30 s, the encoder of a short window sees the sound, this much silence after it, not
# the rest of the 30 s. With less silence Whisper starts again from the beginning; and even so it mishears short words
# ("color is" → "colors"), as it was trained on 30 s, so the default is the whole window.
SILENCE_SECONDS = 6
BUCKET_SECONDS = 5  # windows are as long as the next multiple: equal lengths make batches without padding


@dataclass(frozen=True)
class Window:
    """Up to 30 s of sound and what to do with it."""

    input_features: Features  # (n_mels, 3000), from `LogMel`
    language: str | None = None  # code or English name: "en", "chinese"; None: detect it
    task: str | None = None  # "transcribe" (None) or "translate" (into English)
    initial_prompt: tuple[int, ...] = ()  # tokens of a text before it: names, style, the sentence so far
    word_timestamps: bool = False
    duration: float = WINDOW_SECONDS  # of the sound in it, in seconds; the rest is silence
    temperature: float = 0.0  # to sample at, once; 0: the likeliest text, sampled where it is doubtful


class Whisper:
    """A Whisper network with its tokenizer."""

    def __init__(
        self,
        model: WhisperForConditionalGeneration,
        tokenizer: WhisperTokenizer,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        shortest_context: float = WINDOW_SECONDS,
        cuda_graphs: bool = False,
        name: str = "whisper",
    ) -> None:
        """Take the weights of a model.

        Args:
            name: the checkpoint's, for those whom it cannot serve.
            shortest_context: seconds that the encoder sees at least; less than 30 is faster and hears worse.
            cuda_graphs: on a GPU, each token of few windows is one launch.
        """
        self._shortest_context, self._name = shortest_context, name
        settings: Any = model.generation_config
        self._tokenizer: Any = tokenizer
        self._network = Network(model, device, dtype)
        with torch.inference_mode():
            self.graphs = StepGraphs(self._network, capture_on(device, cuda_graphs))
        self._vocabulary = Vocabulary(settings, int(model.config.vocab_size))
        self._heads = getattr(settings, "alignment_heads", None) or _upper_half(model.config)
        self.n_mels = int(model.config.num_mel_bins)
        self.multilingual = bool(getattr(settings, "is_multilingual", True))

    @classmethod
    def load(
        cls,
        directory: Path,
        device: str,
        dtype: str,
        shortest_context: float = WINDOW_SECONDS,
        cuda_graphs: bool = False,
    ) -> Whisper:
        """Load a Hugging Face Whisper directory and transcribe once, to warm up.

        `dtype` is one of `precision.torch_dtype`, or "fastest".
        """
        precision = fastest_dtype(device) if dtype == "fastest" else torch_dtype(dtype, device)
        model = WhisperForConditionalGeneration.from_pretrained(directory, dtype=torch.float32, local_files_only=True)
        tokenizer = WhisperTokenizer.from_pretrained(directory, local_files_only=True)
        whisper = cls(model, tokenizer, device, precision, shortest_context, cuda_graphs, directory.name)
        whisper.warm_up()
        return whisper

    def warm_up(self) -> None:
        """Hear a silent window."""
        self.transcribe([Window(np.zeros((self.n_mels, N_FRAMES), np.float32), word_timestamps=True)])

    def describe(self) -> str:
        """What is in memory, for the log."""
        return self.graphs.describe()

    @property
    def languages(self) -> list[str]:
        """Codes of the languages this checkpoint knows."""
        return list(self._vocabulary.languages) if self.multilingual else ["en"]

    def prepare(
        self,
        input_features: Features,
        language: str | None = None,
        task: str | None = None,
        initial_prompt: str | None = None,
        word_timestamps: bool = False,
        duration: float = WINDOW_SECONDS,
        temperature: float = 0.0,
    ) -> Window:
        """A window that `transcribe` can take.

        Raises InvalidInput if its shape, values, language, task, prompt, duration or temperature are not for this
        checkpoint.
        """
        shape = input_features.shape
        if shape != (self.n_mels, N_FRAMES):
            raise InvalidInput(f"input_features must have shape [{self.n_mels}, {N_FRAMES}], got {list(shape)}")
        if not np.isfinite(input_features).all():
            raise InvalidInput("input_features hold values that are no numbers (NaN or infinity)")
        if task and task not in TASKS:
            raise InvalidInput(f"task is {task[:40]!r}, it must be one of {', '.join(TASKS)}")
        if task == "translate" and not self.multilingual:
            raise InvalidInput(
                f"task 'translate' needs a multilingual checkpoint; '{self._name}' transcribes English only"
            )
        if language and _code(language) not in self.languages:
            raise InvalidInput(f"language {language[:40]!r} is unknown; this checkpoint has {self._offer()}")
        if not 0 < duration <= WINDOW_SECONDS:
            raise InvalidInput(f"duration is {duration} s, it must be over 0 and at most {WINDOW_SECONDS}")
        if not 0 <= temperature <= TEMPERATURES[-1]:
            raise InvalidInput(f"temperature is {temperature:g}, it must be from 0 to {TEMPERATURES[-1]:g}")
        prompt = self._prompt(initial_prompt or "")
        return Window(
            input_features,
            language or None,
            task or None,
            prompt,
            bool(word_timestamps),
            float(duration),
            float(temperature),
        )

    def transcribe(self, windows: Sequence[Window]) -> list[Transcript]:
        """Transcribe prepared windows together, in order.

        A window's text does not depend on its neighbours.
        """
        done = dict(self.stream(windows))
        return [done[row] for row in range(len(windows))]

    @torch.inference_mode()
    def stream(self, windows: Sequence[Window]) -> Iterator[tuple[int, Transcript]]:
        """Transcribe prepared windows together and yield (row, transcript) as soon as each is done, short ones first.

        Decoding is greedy. A window whose text repeats itself, or which the network does not believe, is tried again
        after all others: with the whole 30 s before its encoder, then sampled at rising temperatures. A window with a
        temperature of its own is sampled at it, once.
        """
        encoded: dict[tuple[int, int], torch.Tensor] = {}  # of the windows that are still open: none is encoded twice
        open_rows = {row for row, window in enumerate(windows) if window.input_features.max() > NO_SOUND}
        for row in sorted(set(range(len(windows))) - open_rows):  # Whisper invents words for nothing at all
            yield row, Transcript(language=_code(windows[row].language or ""))
        whole = N_FRAMES // 2
        sampled = {row for row in open_rows if windows[row].temperature}
        open_rows -= sampled
        for temperature in sorted({windows[row].temperature for row in sampled}):
            rows = [row for row in sorted(sampled) if windows[row].temperature == temperature]
            yield from self._attempt(windows, rows, whole, temperature, sampled, encoded, is_last=True)
        for positions in sorted({self._positions(windows[row]) for row in open_rows}):
            rows = [row for row in sorted(open_rows) if self._positions(windows[row]) == positions]
            yield from self._attempt(windows, rows, positions, TEMPERATURES[0], open_rows, encoded, is_last=False)
        for temperature in TEMPERATURES:
            cut = [row for row in sorted(open_rows) if temperature or self._positions(windows[row]) < whole]
            last = temperature == TEMPERATURES[-1]
            if cut:
                yield from self._attempt(windows, cut, whole, temperature, open_rows, encoded, is_last=last)

    def _attempt(
        self,
        windows: Sequence[Window],
        rows: list[int],
        positions: int,
        temperature: float,
        open_rows: set[int],
        encoded: dict[tuple[int, int], torch.Tensor],
        is_last: bool,
    ) -> Iterator[tuple[int, Transcript]]:
        """Decode some rows once; what is good enough leaves `open_rows`."""
        batch = [windows[row] for row in rows]
        new = [row for row in rows if (row, positions) not in encoded]
        found = self._encode([windows[row] for row in new], positions) if new else []
        encoded.update(zip([(row, positions) for row in new], found, strict=True))
        memory = self._network.remember([encoded[row, positions] for row in rows])
        languages = self._languages(batch, memory)
        prompts = [
            self._vocabulary.prompt(language, window.task or "transcribe", window.initial_prompt)
            for window, language in zip(batch, languages, strict=True)
        ]
        longest = [_most_tokens(window) for window in batch]
        hopeless = None if is_last else self._repeats  # such an attempt is not believed, so it need not be finished
        network, graphs = self._network, self.graphs
        for place, decoded in decode(
            network, self._vocabulary, memory, prompts, temperature, longest, hopeless, graphs
        ):
            silent = _is_silent(decoded)
            if silent or is_last or not self._is_doubtful(decoded):
                open_rows.discard(rows[place])
                encoded.pop((rows[place], positions))
                said = replace(decoded, tokens=()) if silent else decoded
                segments = tuple(self._segments(said, temperature, batch[place].duration))
                words = self._words(batch[place], said, segments, languages[place], memory.row(place), prompts[place])
                text = " ".join(segment.text for segment in segments)
                yield rows[place], Transcript(text, languages[place], segments, words)

    def _positions(self, window: Window) -> int:
        """How many positions of 20 ms the encoder sees of a window."""
        seconds = -(-(window.duration + SILENCE_SECONDS) // BUCKET_SECONDS) * BUCKET_SECONDS
        return round(min(max(seconds, self._shortest_context), WINDOW_SECONDS) / SECONDS_A_POSITION)

    def _encode(self, windows: Sequence[Window], positions: int) -> list[torch.Tensor]:
        """Each window (positions, width). A processor gains nothing from a batch here, and its cache loses."""
        size = 1 if self._network.device.type == "cpu" else len(windows)
        encoded: list[torch.Tensor] = []
        for first in range(0, len(windows), size):
            features = np.stack([w.input_features[:, : 2 * positions] for w in windows[first : first + size]])
            encoded += self._network.encode(torch.from_numpy(features).to(self._network.device)).unbind(0)
        return encoded

    def _languages(self, windows: Sequence[Window], memory: Memory) -> list[str]:
        """Code of each window's language, detected where the caller left it open."""
        if not self.multilingual:
            return ["en"] * len(windows)
        stated = [window.language and _code(window.language) for window in windows]
        unknown = [row for row, language in enumerate(stated) if not language]
        if unknown:
            if len(unknown) < len(windows):  # all of them need no copy
                memory = memory.rows(torch.tensor(unknown, device=self._network.device))
            found = detect_languages(self._network, self._vocabulary, memory)
            for row, language in zip(unknown, found, strict=True):
                stated[row] = language
        return [str(language) for language in stated]

    def _is_doubtful(self, decoded: Decoded) -> bool:
        return self._repeats(decoded.tokens) or decoded.log_probability < LOG_PROBABILITY

    def _repeats(self, tokens: Sequence[int]) -> bool:
        """Whether a text says the same thing again and again."""
        return compression_ratio(self._text(tokens)) > COMPRESSION_RATIO

    def _words(
        self,
        window: Window,
        decoded: Decoded,
        segments: Sequence[Segment],
        language: str,
        memory: Memory,
        prompt: list[int],
    ) -> tuple[Span, ...]:
        if not window.word_timestamps or not segments:
            return ()
        words = find_words(
            self._network,
            self._tokenizer,
            memory,
            self._heads,
            [*prompt[prompt.index(self._vocabulary.start) :], self._vocabulary.no_timestamps],
            [token for token in decoded.tokens if token < self._vocabulary.end],
            window.duration,
            language,
            self._vocabulary.end,
        )
        return tuple(_within(word, segments) for word in words)

    def _segments(self, decoded: Decoded, temperature: float, duration: float) -> Iterator[Segment]:
        """Text between two timestamps; text that the window cuts off ends with it."""
        seek = 0  # a window is all that is known here
        ratio = compression_ratio(self._text(decoded.tokens))
        figures = (temperature, decoded.log_probability, ratio, decoded.no_speech_probability)
        start, said = 0.0, list[int]()
        for token in [*decoded.tokens, None]:
            said += [] if token is None else [token]
            if token is not None and token < self._vocabulary.first_time:
                continue
            time = duration if token is None else (token - self._vocabulary.first_time) * SECONDS_A_POSITION
            text = self._text(said)
            if text:
                end = round(max(start, min(time, duration)), 2)
                yield Segment(round(start, 2), end, text, tuple(said), seek, *figures)
            start, said = time, said[-1:] if not text else []

    def _text(self, tokens: Sequence[int]) -> str:
        """Text of tokens; "" for what has no letter and no digit, such as the full stop that noise can be."""
        text = str(self._tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()
        return text if any(map(str.isalnum, text)) else ""

    def _prompt(self, text: str) -> tuple[int, ...]:
        """The last tokens of a prompt, as many as the network's room allows."""
        if not text.strip():
            return ()
        tokens = self._tokenizer.encode(" " + text.strip(), add_special_tokens=False)
        if special := [token for token in tokens if token >= self._vocabulary.end]:
            word = self._tokenizer.convert_ids_to_tokens(special[0])
            raise InvalidInput(f"initial_prompt holds {word[:40]!r}, which is Whisper's own and no text")
        return tuple(tokens[-(self._network.longest // 2 - 1) :])

    def _offer(self) -> str:
        return "English only" if not self.multilingual else f"{', '.join(self.languages)}"


def fastest_dtype(device: str) -> torch.dtype:
    """float16 on a GPU, bfloat16 on a CPU that multiplies it in hardware (3 times faster there), else float32."""
    if device.startswith("cuda"):
        return torch.float16
    capabilities = torch.cpu.get_capabilities()
    return torch.bfloat16 if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else torch.float32


def compression_ratio(text: str) -> float:
    """Bytes of a text for each byte that zlib makes of it; a text that repeats itself packs well."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))


def _most_tokens(window: Window) -> int:
    return LEAST_TOKENS + round(TOKENS_A_SECOND * window.duration)


def _is_silent(decoded: Decoded) -> bool:
    """Whether the network hears no speech and does not believe in its own words."""
    return decoded.no_speech_probability > NO_SPEECH_PROBABILITY and decoded.log_probability < LOG_PROBABILITY


def _within(word: Span, segments: Sequence[Span]) -> Span:
    """The word without the pause after it: it ends with its segment at the latest."""
    ends = [segment.end for segment in segments if segment.start <= word.start < segment.end]
    return replace(word, end=min(word.end, *ends)) if ends else word


def _upper_half(config: Any) -> list[list[int]]:
    """Alignment heads of a checkpoint that names none: all of the decoder's upper half, as openai/whisper has it."""
    layers, heads = int(config.decoder_layers), int(config.decoder_attention_heads)
    return [[layer, head] for layer in range(layers // 2, layers) for head in range(heads)]


def _code(language: str) -> str:
    """ "English", "en-US" and "EN" → "en"."""
    name = language.strip().lower()
    return TO_LANGUAGE_CODE.get(name, name.replace("_", "-").split("-")[0])

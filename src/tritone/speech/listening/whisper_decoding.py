"""From a network and a sound it remembers to tokens: Whisper's rules, greedy or sampled, many rows at once.

The rules are those of openai/whisper whisper/decoding.py (SuppressBlank, SuppressTokens, ApplyTimestampRules), for all
rows of a batch in a few operations. This module knows tokens; it knows nothing of text and of sound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from tritone.speech.listening.whisper_network import Memory, Network
from tritone.speech.listening.whisper_steps import PlainSteps, StepGraphs, Steps

SEED = 0  # of sampled attempts: the same window gets the same text
LOOK = 32  # tokens from one look at what has been said to the next
COMPACT = 0.75  # rows that still run, below which the finished ones are taken out of the batch


@dataclass(frozen=True)
class Decoded:
    """The tokens of one row, and how sure the network is of them."""

    tokens: tuple[int, ...]  # text and timestamps, without prompt and end
    log_probability: float  # average over the tokens and the end
    no_speech_probability: float  # that the window holds no speech


class Vocabulary:
    """The special tokens of a checkpoint, and which tokens are never said."""

    def __init__(self, settings: GenerationConfig, size: int) -> None:
        given: dict[str, Any] = settings.to_dict()
        self.end = _first(given["eos_token_id"])
        self.start = _first(given["decoder_start_token_id"])
        self.no_timestamps = int(given["no_timestamps_token_id"])
        self.no_speech = self.no_timestamps - 1
        self.first_time = self.no_timestamps + 1  # <|0.00|>; one more token is 0.02 s later
        self.previous: int | None = given.get("prev_sot_token_id")
        self.languages: dict[str, int] = {
            token.strip("<|>"): number for token, number in (given.get("lang_to_id") or {}).items()
        }
        self.tasks: dict[str, int] = given.get("task_to_id") or {}
        never = [*(given.get("suppress_tokens") or ()), self.no_timestamps]
        self.never = _minus_infinity(size, never)
        self.never_first = _minus_infinity(size, given.get("begin_suppress_tokens") or ())
        latest = given.get("max_initial_timestamp_index")
        self.latest_start = size - self.first_time if latest is None else int(latest)  # of the first timestamp

    def prompt(self, language: str | None, task: str | None, previous: Sequence[int] = ()) -> list[int]:
        """The tokens that a row starts with; language and task where the checkpoint has them."""
        before = [self.previous, *previous] if previous and self.previous is not None else []
        told = [self.languages[language]] if language in self.languages else []
        told += [self.tasks[task]] if told and task in self.tasks else []
        return [*before, self.start, *told]


def decode(
    network: Network,
    vocabulary: Vocabulary,
    memory: Memory,
    prompts: Sequence[list[int]],
    temperature: float = 0.0,
    longest: Sequence[int] | None = None,
    is_hopeless: Callable[[Sequence[int]], bool] | None = None,
    graphs: StepGraphs | None = None,
) -> Iterator[tuple[int, Decoded]]:
    """Yield (row, tokens) as soon as a row is done; each row's tokens are those it would have alone.

    Args:
        longest: tokens that each row may have, at most half of the network's room, as openai/whisper has it, which is
            also what None means.
        is_hopeless: whether tokens said so far are a text that nobody wants; it is asked now and then, and ends a row.
        graphs: the network's, if it has any.
    """
    room = min(network.longest // 2, network.longest - max(map(len, prompts)))
    limits = [min(room, limit) for limit in longest or [room] * len(prompts)]
    tokens, cache = network.start(prompts, max(limits))
    states = network.decode(tokens, cache, memory)
    rows = _Rows(vocabulary, limits, network.device, temperature, is_hopeless)
    no_speech = _no_speech(network, vocabulary, prompts, states)
    numbers = list(range(len(prompts)))  # of the rows still in the batch
    running = set(numbers)
    step: Steps = graphs.steps(cache, memory) if graphs else PlainSteps(network, cache, memory)
    del cache  # whoever makes the steps has what is needed of it
    logits = network.logits(states[:, -1])
    for _ in range(max(limits)):
        chosen = rows.choose(logits)
        for place in [place for place, number in enumerate(numbers) if number in running and rows.done[place]]:
            running.discard(numbers[place])
            yield numbers[place], rows.decoded(place, no_speech[numbers[place]])
        if not running:
            return
        if len(running) <= COMPACT * len(numbers):
            kept = torch.tensor([place for place, number in enumerate(numbers) if number in running])
            kept = kept.to(network.device)
            step, chosen = step.rows(kept), chosen[kept]
            rows.keep(kept.tolist())
            numbers = [numbers[place] for place in kept.tolist()]
        logits = step(chosen)


def detect_languages(network: Network, vocabulary: Vocabulary, memory: Memory) -> list[str]:
    """The likeliest language of each row, as the checkpoint's code."""
    count = len(memory.layers[0][0])
    tokens, cache = network.start([[vocabulary.start]] * count, 0)
    logits = network.logits(network.decode(tokens, cache, memory)[:, -1])
    codes, numbers = list(vocabulary.languages), list(vocabulary.languages.values())
    return [codes[best] for best in logits[:, numbers].argmax(-1).tolist()]


class _Rows:
    """What has been said in each row, and what may come next."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        limits: Sequence[int],
        device: torch.device,
        temperature: float,
        is_hopeless: Callable[[Sequence[int]], bool] | None,
    ) -> None:
        count = len(limits)
        self._is_hopeless = is_hopeless
        self._vocabulary, self._limits = vocabulary, list(limits)
        self._never, self._never_first = vocabulary.never.to(device), vocabulary.never_first.to(device)
        self._temperature = temperature
        self._random = [torch.Generator(device).manual_seed(SEED) for _ in range(count if temperature else 0)]
        self.tokens: list[list[int]] = [[] for _ in range(count)]
        self._sums = [0.0] * count
        self.done = [False] * count
        self._times = torch.arange(len(vocabulary.never) - vocabulary.first_time, device=device)

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """The next token of each row from float32 logits (rows, V), which are changed."""
        allowed = self._rule(logits)
        chosen = self._sample(allowed) if self._temperature else allowed.argmax(-1)
        sure = allowed.gather(1, chosen[:, None])[:, 0] - allowed.logsumexp(-1)
        # One wait for the device; float32 holds a token's number exactly.
        for place, (number, log_probability) in enumerate(torch.stack([chosen.float(), sure], dim=1).tolist()):
            token = int(number)
            if self.done[place]:
                continue
            self._sums[place] += log_probability
            if token == self._vocabulary.end:
                self.done[place] = True
            else:
                self.tokens[place].append(token)
                self.done[place] = self._must_end(place)
        return chosen

    def _must_end(self, place: int) -> bool:
        tokens = self.tokens[place]
        if len(tokens) >= self._limits[place]:
            return True
        return self._is_hopeless is not None and len(tokens) % LOOK == 0 and self._is_hopeless(tokens)

    def keep(self, places: list[int]) -> None:
        """Forget the other rows."""
        self.tokens, self._sums = [self.tokens[i] for i in places], [self._sums[i] for i in places]
        self.done, self._limits = [self.done[i] for i in places], [self._limits[i] for i in places]
        self._random = [self._random[i] for i in places] if self._random else []

    def decoded(self, place: int, no_speech: float) -> Decoded:
        """What a row has become."""
        tokens = tuple(self.tokens[place])
        return Decoded(tokens, self._sums[place] / (len(tokens) + 1), no_speech)

    def _rule(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits with −inf for each token that may not come next."""
        first_time, end = self._vocabulary.first_time, self._vocabulary.end
        logits += self._never
        text, times = logits[:, :first_time], logits[:, first_time:]
        if not any(self.tokens):  # every row starts with a timestamp
            logits += self._never_first
            text[:] = -math.inf
            times[:, self._vocabulary.latest_start + 1 :] = -math.inf
            return logits
        for place, tokens in enumerate(self.tokens):
            last_is_time = tokens[-1] >= first_time if tokens else False
            opens = last_is_time and (len(tokens) < 2 or tokens[-2] >= first_time)
            if opens:  # two timestamps, or the first: text comes next
                times[place] = -math.inf
                continue
            if last_is_time:  # one timestamp after text: another or the end comes next
                text[place, :end] = -math.inf
            latest = max((token for token in tokens if token >= first_time), default=first_time - 1)
            times[place, : latest - first_time + (0 if last_is_time else 1)] = -math.inf
        prefers_time = times.logsumexp(-1) > text.max(-1).values
        text.masked_fill_(prefers_time[:, None], -math.inf)
        return logits

    def _sample(self, logits: torch.Tensor) -> torch.Tensor:
        probabilities = (logits / self._temperature).softmax(-1)
        drawn = [
            torch.multinomial(row, 1, generator=random) for row, random in zip(probabilities, self._random, strict=True)
        ]
        return torch.cat(drawn)


def _no_speech(
    network: Network, vocabulary: Vocabulary, prompts: Sequence[list[int]], states: torch.Tensor
) -> list[float]:
    """The probability of "no speech" after each row's start token."""
    longest = max(map(len, prompts))
    places = [longest - len(prompt) + prompt.index(vocabulary.start) for prompt in prompts]
    at_start = torch.stack([states[row, place] for row, place in enumerate(places)])
    probabilities: list[float] = network.logits(at_start).softmax(-1)[:, vocabulary.no_speech].tolist()
    return probabilities


def _minus_infinity(size: int, tokens: Sequence[int]) -> torch.Tensor:
    bias = torch.zeros(size)
    bias[list(tokens)] = -math.inf
    return bias


def _first(token: int | list[int]) -> int:
    return int(token[0] if isinstance(token, list) else token)

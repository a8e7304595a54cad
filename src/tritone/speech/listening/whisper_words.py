"""When each word was said: the decoder's attention to the sound, followed from token to token.

As openai/whisper whisper/timing.py: some heads of a checkpoint (`alignment_heads`) look at the sound that they are
writing down. Their attention, smoothed, is a map of tokens against time; dynamic time warping finds the way through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import WhisperTokenizer
from transformers.models.whisper.tokenization_whisper import LANGUAGES, _combine_tokens_into_words

from tritone.speech.listening.transcript import Span
from tritone.speech.listening.whisper_network import Memory, Network

SECONDS_A_POSITION = 0.02
LONGEST_MEDIAN = 0.7  # seconds; as in openai/whisper, whatever the words of a window say
SENTENCE_ENDS = tuple(".。!！?？")
FILTER = 7  # positions of the median filter


def find_words(
    network: Network,
    tokenizer: WhisperTokenizer,
    memory: Memory,
    heads: Sequence[Sequence[int]],
    prompt: list[int],
    text: list[int],
    seconds: float,
    language: str,
    end: int,
) -> list[Span]:
    """The words of one window.

    Args:
        memory: of the window's sound, one row.
        heads: (layer, head) of those that follow the sound.
        prompt: ending with the token for "no timestamps".
        text: the tokens that were said, without timestamps.
        seconds: of the window's sound; no word ends later.
        end: the token that ends a text.
    """
    if not text:
        return []
    tokens, cache = network.start([[*prompt, *text, end]], 0)
    layers: dict[int, list[torch.Tensor]] = {layer: [] for layer, _ in heads}
    network.decode(tokens, cache, memory, layers)
    attention = torch.stack([layers[layer][0][0, head] for layer, head in heads])  # (heads, T, S)
    positions = max(1, min(attention.shape[-1], round(seconds / SECONDS_A_POSITION)))
    times = token_times(attention[..., :positions], len(prompt))
    return without_pauses(_words(tokenizer, text, times, language))


def token_times(attention: torch.Tensor, skipped: int) -> NDArray[np.float64]:
    """Start of each token after the `skipped` first ones, the end token included, from float32 (heads, T, S)."""
    spread, mean = torch.std_mean(attention, dim=-2, keepdim=True, unbiased=False)
    # What attends while a token is said is the token before it.
    weights = _median((attention - mean) / spread.clamp_min(1e-9)).mean(0)[skipped - 1 : -1]
    tokens, positions = warp(-weights.double().cpu().numpy())
    first = np.diff(tokens, prepend=-1) > 0
    return np.asarray(positions[first] * SECONDS_A_POSITION)


def warp(cost: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cheapest way from the first to the last cell of (rows, columns), as the rows and columns that it visits.

    Dynamic time warping, one antidiagonal at a time: all its cells depend on the two before it alone.
    """
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    came = np.zeros((rows + 1, columns + 1), np.int8)
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        before = np.stack([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
        came[i, j] = best = before.argmin(0)
        total[i, j] = cost[i - 1, j - 1] + before[best, np.arange(len(i))]
    came[0, :], came[:, 0] = 2, 1
    way, row, column = [], rows, columns
    while row > 0 or column > 0:
        way.append((row - 1, column - 1))
        row, column = row - int(came[row, column] != 2), column - int(came[row, column] != 1)
    visited = np.array(way[::-1], np.int64)
    return visited[:, 0], visited[:, 1]


def without_pauses(words: list[Span]) -> list[Span]:
    """Words at the borders of sentences, without the pauses that the warp has given them.

    As in openai/whisper whisper/timing.py: such a word is at most twice as long as the median.
    """
    if not words:
        return []
    longest = 2 * min(LONGEST_MEDIAN, float(np.median([word.end - word.start for word in words])))
    cut = []
    for number, word in enumerate(words):
        if word.end - word.start > longest > 0:
            if number == 0 or words[number - 1].text.endswith(SENTENCE_ENDS):
                word = replace(word, start=round(word.end - longest, 2))
            elif word.text.endswith(SENTENCE_ENDS):
                word = replace(word, end=round(word.start + longest, 2))
        cut.append(word)
    return cut


def _median(x: torch.Tensor) -> torch.Tensor:
    """Median of every FILTER neighbours along the last axis."""
    half = FILTER // 2
    if x.shape[-1] <= half:
        return x
    padded = torch.nn.functional.pad(x, (half, half), mode="reflect")
    return padded.unfold(-1, FILTER, 1).median(-1).values


def _words(tokenizer: WhisperTokenizer, text: list[int], times: NDArray[np.float64], language: str) -> list[Span]:
    """Tokens joined to words; `times` has the start of each token and of the end."""
    # Private, as transformers has no public way to it; its version is pinned.
    words, groups, _ = _combine_tokens_into_words(tokenizer, text, LANGUAGES.get(language, "english"))
    borders = np.cumsum([0, *map(len, groups)])
    return [
        Span(round(float(times[first]), 2), round(float(times[last]), 2), word.strip())
        for word, first, last in zip(words, borders[:-1], borders[1:], strict=True)
        if word.strip()
    ]

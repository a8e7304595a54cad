"""How the next token is chosen: greedily, or drawn with the caller's own random numbers. It knows tensors only.

The order of the steps is that of transformers' `generate`: repetition penalty, temperature, top-k, top-p. A grammar
comes after the penalty. Log-probabilities are of the network's own distribution, before all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tritone.errors import InvalidInput
from tritone.language.choosing import grammar
from tritone.language.choosing.grammar import Grammar
from tritone.language.choosing.logprobs import MAX_TOP, Logprobs, TokenLogprob
from tritone.transfers import put


@dataclass(frozen=True)
class Sampling:
    """What a caller wants. Temperature 0 is greedy; otherwise the seed decides."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    top_k: int = 0  # 0: all tokens
    repetition_penalty: float = 1.0  # 1: none (Keskar et al. 2019)
    grammar: Grammar | None = None  # what the answer must be
    top_logprobs: int | None = None  # the likeliest tokens that are told with each; None: no log-probability is

    def __post_init__(self) -> None:
        """Refuse what cannot be meant. Raises: InvalidInput: naming the value and the limit."""
        if not 0 <= self.temperature <= 2:
            raise InvalidInput(f"temperature is {self.temperature:g}, must be 0 to 2")
        if not 0 < self.top_p <= 1:
            raise InvalidInput(f"top_p is {self.top_p:g}, must be over 0 and at most 1")
        if not 0 <= self.seed < 2**63:
            raise InvalidInput(f"seed is {self.seed}, must be 0 to {2**63 - 1}")
        if self.top_k < 0:
            raise InvalidInput(f"top_k is {self.top_k}, must be 0 (all tokens) or more")
        if not 0 < self.repetition_penalty <= 10:
            raise InvalidInput(f"repetition_penalty is {self.repetition_penalty:g}, must be over 0 and at most 10")
        if self.top_logprobs is not None and not 0 <= self.top_logprobs <= MAX_TOP:
            raise InvalidInput(f"top_logprobs is {self.top_logprobs}, must be 0 to {MAX_TOP}")


class Sampler:
    """One answer's random numbers, the tokens that its penalty remembers, and its place in its grammar.

    The numbers are drawn on the host: a seed draws the same on every device, and none of it is waited for.

    Args:
        prompt: token ids of the prompt (length,); as in `generate`, they count as said.
    """

    def __init__(self, sampling: Sampling, prompt: torch.Tensor, vocabulary: int, device: torch.device) -> None:
        self.sampling = sampling
        self._generator = torch.Generator().manual_seed(sampling.seed)
        self.progress = sampling.grammar.begin() if sampling.grammar else None
        self.logprob: TokenLogprob | None = None  # of the last token, where they are asked for
        self.said: torch.Tensor | None = None  # bool (vocabulary,)
        if sampling.repetition_penalty != 1:
            self.said = torch.zeros(vocabulary, dtype=torch.bool, device=device)
            self.said.index_fill_(0, prompt.to(device, non_blocking=True), True)

    def random(self) -> float:
        """The answer's next random number, [0, 1): one a token, whoever else is being answered."""
        return torch.rand((), generator=self._generator, dtype=torch.float64).item()

    @property
    def fault(self) -> InvalidInput | None:
        """Why its grammar cannot go on."""
        return self.progress.fault if self.progress else None

    def chose(self, token: int, logprob: TokenLogprob | None = None) -> int:
        """Remember a token of the answer; −1 in its place where the grammar cannot go on."""
        self.logprob = logprob
        if self.progress and not self.progress.take(token):
            return -1
        if self.said is not None:
            self.said[token].fill_(True)  # not "= True", which copies a True from the host and waits for that
        return token


def choose(logits: torch.Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """The next token of each row of float32 logits (rows, vocabulary), which are written over.

    −1 where a row is not finite, and where its grammar cannot go on, which is then the sampler's `fault`.

    The host waits for the device once.
    """
    logprobs = Logprobs(logits, [sampler.sampling.top_logprobs for sampler in samplers])
    for row, sampler in enumerate(samplers):
        if sampler.said is not None:
            logits[row] = _penalise(logits[row], sampler.said, sampler.sampling.repetition_penalty)
    # The maximum passes on NaN and infinity, so it says both what is likeliest and whether it means anything.
    highest, chosen = logits.max(-1)
    if held := [row for row, sampler in enumerate(samplers) if sampler.progress]:
        _hold(logits, chosen, held, samplers)
    drawing = [row for row, sampler in enumerate(samplers) if sampler.sampling.temperature > 0]
    if drawing:
        rows = put(drawing, logits.device)
        chosen[rows] = _draw(logits[rows], [samplers[row] for row in drawing])
    # One transfer; float64 holds every token id.
    numbers = torch.cat([highest.double(), chosen.double(), *logprobs.numbers(chosen)]).tolist()
    count = len(samplers)
    values, tokens = numbers[:count], [int(token) for token in numbers[count : 2 * count]]
    measured = logprobs.read(numbers[2 * count :], tokens)
    return [
        sampler.chose(token, measured.get(row)) if abs(value) < torch.inf else -1
        for row, (value, token, sampler) in enumerate(zip(values, tokens, samplers, strict=True))
    ]


def _hold(logits: torch.Tensor, chosen: torch.Tensor, held: list[int], samplers: Sequence[Sampler]) -> None:
    """Leave these rows only what their grammars allow. It is found out on the host, while the device is at the logits.

    Args:
        chosen: the likeliest token of each row.
    """
    rows = put(held, logits.device)
    progress = [each for row in held if (each := samplers[row].progress)]
    may = grammar.allowed(progress, logits.shape[-1], logits.device)
    left = logits[rows].masked_fill_(~may, -torch.inf)
    logits[rows] = left
    chosen[rows] = left.argmax(-1)


def _penalise(logits: torch.Tensor, said: torch.Tensor, penalty: float) -> torch.Tensor:
    return torch.where(said, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def _draw(logits: torch.Tensor, samplers: Sequence[Sampler]) -> torch.Tensor:
    """Token ids (rows,), each drawn by its sampler's next random number.

    The number is looked up in the distribution summed over the vocabulary in its own order, in float64: so the last
    bits of the logits, which depend on how many rows the network ran, move no boundary by more than themselves.
    """
    settings = [sampler.sampling for sampler in samplers]
    size = logits.shape[-1]
    columns = [
        [each.temperature for each in settings],
        [each.top_p for each in settings],
        [min(each.top_k or size, size) - 1 for each in settings],
        [sampler.random() for sampler in samplers],
    ]
    temperature, top_p, last, number = put(columns, logits.device, torch.float64)[..., None]
    scores = logits.double() / temperature
    if any(each.top_k or each.top_p < 1 for each in settings):
        # Sorted as they came, in float32: a temperature changes no order.
        descending = logits.sort(descending=True).values.double() / temperature
        descending = descending.where(descending >= descending.gather(-1, last.long()), -torch.inf)
        # A token stays while those before it hold less than top_p, so the likeliest stays (Holtzman et al. 2020).
        probabilities = descending.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities
        stays = (before < top_p) & (descending > -torch.inf)
        lowest = descending.where(stays, torch.inf).amin(-1, keepdim=True)
        scores = scores.where(scores >= lowest, -torch.inf)
    summed = scores.softmax(-1).cumsum(-1)
    below: torch.Tensor = summed <= number * summed[:, -1:]
    return below.sum(-1).clamp(max=size - 1)

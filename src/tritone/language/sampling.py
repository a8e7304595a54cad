"""How the next token is chosen: greedily, or drawn with the caller's own random numbers. It knows tensors only.

The order of the steps is that of transformers' `generate`: repetition penalty, temperature, top-k, top-p.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tritone.errors import InvalidInput
from tritone.transfers import put


@dataclass(frozen=True)
class Sampling:
    """What a caller wants. Temperature 0 is greedy; otherwise the seed decides."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    top_k: int = 0  # 0: all tokens
    repetition_penalty: float = 1.0  # 1: none (Keskar et al. 2019)

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


class Sampler:
    """One answer's random numbers and the tokens that its penalty remembers.

    The numbers are drawn on the host: a seed draws the same on every device, and none of it is waited for.

    Args:
        prompt: token ids of the prompt (length,); as in `generate`, they count as said.
    """

    def __init__(self, sampling: Sampling, prompt: torch.Tensor, vocabulary: int, device: torch.device) -> None:
        self.sampling = sampling
        self._generator = torch.Generator().manual_seed(sampling.seed)
        self.said: torch.Tensor | None = None  # bool (vocabulary,)
        if sampling.repetition_penalty != 1:
            self.said = torch.zeros(vocabulary, dtype=torch.bool, device=device)
            self.said.index_fill_(0, prompt.to(device, non_blocking=True), True)

    def random(self) -> float:
        """The answer's next random number, [0, 1): one a token, whoever else is being answered."""
        return torch.rand((), generator=self._generator, dtype=torch.float64).item()

    def chose(self, token: int) -> None:
        """Remember a token of the answer."""
        if self.said is not None:
            self.said[token].fill_(True)  # not "= True", which copies a True from the host and waits for that


def choose(logits: torch.Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """The next token of each row of float32 logits (rows, vocabulary); −1 where a row is not finite.

    The host waits for the device once.
    """
    for row, sampler in enumerate(samplers):
        if sampler.said is not None:
            logits[row] = _penalise(logits[row], sampler.said, sampler.sampling.repetition_penalty)
    # The maximum passes on NaN and infinity, so it says both what is likeliest and whether it means anything.
    highest, chosen = logits.max(-1)
    drawing = [row for row, sampler in enumerate(samplers) if sampler.sampling.temperature > 0]
    if drawing:
        rows = put(drawing, logits.device)
        chosen[rows] = _draw(logits[rows], [samplers[row] for row in drawing])
    # One transfer; float64 holds every token id.
    values, tokens = torch.stack((highest.double(), chosen.double())).tolist()
    said = [int(token) if abs(value) < torch.inf else -1 for value, token in zip(values, tokens, strict=True)]
    for token, sampler in zip(said, samplers, strict=True):
        sampler.chose(token)
    return said


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

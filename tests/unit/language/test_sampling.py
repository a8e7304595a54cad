"""The choice of the next token: against transformers' own steps, and against the distribution it should follow."""

import pytest
import torch
from fakes.fake_cuda import count_synchronisations
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tritone.language.choosing.sampling import Sampler, Sampling, choose

PROMPT = torch.tensor([0, 3])


def sampler(size=4, **options):
    return Sampler(Sampling(**options), PROMPT, size, torch.device("cpu"))


def draw(logits, sampler_, times):
    return [choose(logits.clone(), [sampler_])[0] for _ in range(times)]


def test_the_nucleus_holds_the_likeliest_tokens_only():
    logits = torch.log(torch.tensor([[0.1, 0.5, 0.15, 0.25]]))
    assert set(draw(logits, sampler(temperature=1.0, top_p=0.6), 200)) == {1, 3}
    assert set(draw(logits, sampler(temperature=1.0, top_p=0.01), 20)) == {1}
    assert set(draw(logits, sampler(temperature=1.0, top_k=3), 300)) == {1, 2, 3}
    assert set(draw(logits, sampler(temperature=1.0, top_k=3, top_p=0.7), 300)) == {1, 3}
    assert set(draw(logits, sampler(), 5)) == {1}


def test_frequencies_follow_the_temperature():
    for temperature in (0.5, 1.0, 2.0):
        drawn = draw(torch.tensor([[0.0, 1.0]]), sampler(2, temperature=temperature), 4000)
        assert sum(drawn) / 4000 == pytest.approx(torch.sigmoid(torch.tensor(1 / temperature)).item(), abs=0.03)


def test_what_may_be_drawn_is_what_transformers_leaves():
    """Penalty, temperature, top-k and top-p, in `generate`'s order, on random logits."""
    for seed in range(30):
        logits = torch.randn(1, 40, generator=torch.Generator().manual_seed(seed)) * 3
        options = {"temperature": 0.7, "top_k": 12, "top_p": 0.8, "repetition_penalty": 1.5}
        theirs = LogitsProcessorList(
            [
                RepetitionPenaltyLogitsProcessor(1.5),
                TemperatureLogitsWarper(0.7),
                TopKLogitsWarper(12),
                TopPLogitsWarper(0.8),
            ]
        )(PROMPT[None], logits.clone())
        allowed = set(torch.isfinite(theirs[0]).nonzero().flatten().tolist())
        drawn = set()
        for number in range(400):
            drawn.update(choose(logits.clone(), [sampler(40, seed=1000 * seed + number, **options)]))
        assert drawn <= allowed
        likely = (theirs[0].softmax(-1) > 0.03).nonzero().flatten().tolist()
        assert drawn >= set(likely)


def test_neighbours_do_not_change_what_a_seed_draws():
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(0))
    alone, crowd = sampler(50, temperature=1.2, seed=9), [sampler(50, temperature=1.2, seed=n) for n in range(4)]
    together = sampler(50, temperature=1.2, seed=9)
    for _ in range(50):
        [expected] = choose(logits[2:3].clone(), [alone])
        assert choose(logits.clone(), [*crowd[:2], together, *crowd[2:]])[2] == expected


def test_the_last_bits_of_the_logits_change_no_draw():
    """What another batch shape does to the network's sums."""
    random = torch.Generator().manual_seed(0)
    one, other = (sampler(1000, temperature=1.0, top_p=0.95, seed=3) for _ in range(2))
    for _ in range(500):
        logits = torch.randn(1, 1000, generator=random)
        noise = 2e-6 * torch.randn(1, 1000, generator=random)
        assert choose(logits.clone(), [one]) == choose(logits + noise, [other])


def test_a_row_that_is_not_finite_is_told_apart_and_harms_no_other():
    logits = torch.tensor([[0.0, 1.0], [float("nan"), 0.0], [float("inf"), 0.0], [2.0, 1.0]])
    rows = [sampler(2) for _ in range(3)] + [sampler(2, temperature=0.01)]
    rows[1] = sampler(2, temperature=1.0)
    assert choose(logits, rows) == [1, -1, -1, 0]


def test_every_row_is_read_in_one_transfer():
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    rows = [sampler(50), *(sampler(50, temperature=1.0, top_p=0.9, repetition_penalty=1.1) for _ in range(3))]
    with count_synchronisations("cpu") as waits:
        choose(logits, rows)
    assert [wait for wait in waits.found if "tolist" in wait] == waits.found[-1:]

"""Whisper's steps as CUDA graphs, by a stand-in that does what it saw at the capture: the tokens are those without."""

import itertools

import pytest
import torch
from fakes.fake_graph import FakeCapture
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

from tritone.speech.listening.whisper_decoding import Vocabulary, decode
from tritone.speech.listening.whisper_network import Network
from tritone.speech.listening.whisper_steps import PlainSteps, StepGraphs

WORDS, END, START, NO_TIMES = 60, 60, 61, 64
SETTINGS = GenerationConfig(eos_token_id=END, decoder_start_token_id=START, no_timestamps_token_id=NO_TIMES)


@pytest.fixture(scope="module")
def network():
    """Random and far from uniform, so that no two tokens are nearly as likely."""
    config = WhisperConfig(
        vocab_size=80, num_mel_bins=8, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_source_positions=100,
        max_target_positions=60, init_std=0.3, pad_token_id=0, bos_token_id=1, eos_token_id=END,
        decoder_start_token_id=START,
    )  # fmt: skip
    torch.manual_seed(0)
    return Network(WhisperForConditionalGeneration(config).eval(), "cpu", torch.float32)


@pytest.fixture
def graphs(network):
    with torch.inference_mode():
        made = StepGraphs(network, FakeCapture())
    assert len(made) == 3, made.without
    return made


def remembered(network, lengths, seed=0):
    """What the network remembers of random sounds of so many positions."""
    generator = torch.Generator().manual_seed(seed)
    return network.remember([torch.randn(length, 32, generator=generator) for length in lengths])


def near(logits, others):
    return torch.allclose(logits, others, atol=1e-4)


PROMPTS = [[START], [5, 6, 7, START], [9, START], [START]]


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@torch.inference_mode()
def test_every_step_gives_what_it_gives_without_graphs(network, graphs, rows):
    """Prompts and sounds of different lengths; again and again, shorter after longer, over the same memory."""
    for turn, lengths in enumerate([[100, 37, 64, 100], [20, 20, 20, 20], [90, 11, 12, 13]]):
        memory = remembered(network, lengths[:rows], seed=turn)
        sides = []
        for make in (graphs.steps, lambda *held: PlainSteps(network, *held)):
            tokens, cache = network.start(PROMPTS[:rows], 20)
            network.decode(tokens, cache, memory)
            sides.append(make(cache, memory))
        assert not isinstance(sides[0], PlainSteps)
        for token in range(20):
            tokens = (torch.arange(rows) * 7 + token) % WORDS
            assert near(*(side(tokens) for side in sides)), (turn, token)
        del sides


@torch.inference_mode()
def test_rows_that_are_taken_out_are_those_without_graphs(network, graphs):
    memory = remembered(network, [100, 37, 64, 80])
    sides = []
    for make in (graphs.steps, lambda *held: PlainSteps(network, *held)):
        tokens, cache = network.start(PROMPTS, 20)
        network.decode(tokens, cache, memory)
        sides.append(make(cache, memory))
    for kept in ([0, 1, 2, 3], [1, 2, 3], [2, 1], [1]):
        sides = [side.rows(torch.tensor(kept)) for side in sides]
        assert near(*(side(torch.arange(len(kept)) + 3) for side in sides))


@torch.inference_mode()
def test_a_batch_that_gets_small_enough_goes_on_as_graphs(network, graphs):
    tokens, cache = network.start([[START]] * 6, 20)
    memory = remembered(network, [50] * 6)
    network.decode(tokens, cache, memory)
    steps = graphs.steps(cache, memory)
    assert isinstance(steps, PlainSteps)
    steps(torch.arange(6))
    fewer = steps.rows(torch.tensor([5, 0, 2]))
    assert not isinstance(fewer, PlainSteps)
    plain = PlainSteps(network, cache, memory).rows(torch.tensor([5, 0, 2]))
    assert near(fewer(torch.tensor([3, 4, 5])), plain(torch.tensor([3, 4, 5])))


@torch.inference_mode()
def test_a_decoding_in_the_middle_keeps_the_graphs_and_another_goes_on_without(network, graphs):
    def held(seed):
        tokens, cache = network.start([[START]], 20)
        memory = remembered(network, [50], seed)
        network.decode(tokens, cache, memory)
        return cache, memory

    first, second = graphs.steps(*held(1)), graphs.steps(*held(2))
    assert isinstance(second, PlainSteps)
    alone = PlainSteps(network, *held(1)), PlainSteps(network, *held(2))
    for token in (torch.tensor([4]), torch.tensor([8])):
        for one, other in zip((first, second), alone, strict=True):
            assert near(one(token), other(token))
    del first, one
    assert not isinstance(graphs.steps(*held(3)), PlainSteps)


@pytest.mark.parametrize("count", [1, 4, 7])
@torch.inference_mode()
def test_decoding_says_the_same_with_graphs_as_without(network, graphs, count):
    vocabulary = Vocabulary(SETTINGS, 80)
    memory = remembered(network, [20 + 10 * row for row in range(count)], seed=count)
    prompts = [PROMPTS[row % 4] for row in range(count)]
    limits = [6 + 3 * row for row in range(count)]
    found, expected = (
        dict(decode(network, vocabulary, memory, prompts, longest=limits, graphs=some)) for some in (graphs, None)
    )
    assert [found[row].tokens for row in range(count)] == [expected[row].tokens for row in range(count)]
    assert len({row.tokens for row in found.values()}) == count


@torch.inference_mode()
def test_a_sound_that_is_not_finite_leaves_nothing_to_those_after_it(network, graphs):
    broken = remembered(network, [100] * 4)
    for pair in broken.layers:
        for each in pair:
            each.fill_(torch.nan)
    for memory in (broken, remembered(network, [30, 40, 50])):
        rows = len(memory.layers[0][0])
        tokens, cache = network.start([[START]] * rows, 20)
        network.decode(tokens, cache, memory)
        steps = graphs.steps(cache, memory)
        logits = [steps(torch.full((rows,), 3)) for _ in range(3)][-1]
        del steps
    assert logits.isfinite().all()


@pytest.mark.parametrize("what", ["tokens", "column"])
@torch.inference_mode()
def test_graphs_that_hold_a_token_or_a_place_are_not_used(network, monkeypatch, what):
    numbers, step = itertools.count(), Network.step

    def fixed(self, tokens, column, cache, memory):
        number = next(numbers)
        if what == "tokens":
            tokens = torch.full_like(tokens, number)
        else:
            column = torch.full_like(column, number)
        return step(self, tokens, column, cache, memory)

    monkeypatch.setattr(Network, "step", fixed)
    graphs = StepGraphs(network, FakeCapture())
    assert len(graphs) == 0
    assert graphs.without == "ArithmeticError: the graph of 4 rows computes something else"

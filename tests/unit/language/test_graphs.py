"""Decoding steps as graphs, run by a stand-in that does what it saw at the capture: equal to the step without."""

import itertools
from random import Random

import pytest
import torch
from fakes.fake_graph import FakeCapture
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from tritone.language.adapters import Adapters
from tritone.language.decoder import Decoder
from tritone.language.graphs import Graphs
from tritone.language.kv_cache import SlotCache

SLOTS, LENGTH = 6, 800
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def model(request):
    """Keys and values are shared by two heads each."""
    text = LlamaConfig(vocab_size=100, max_position_embeddings=LENGTH, num_key_value_heads=2, **SIZES)
    vision = CLIPVisionConfig(image_size=32, patch_size=16, projection_dim=16, **SIZES)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=3)
    config._attn_implementation = text._attn_implementation = request.param
    torch.manual_seed(0)
    return LlavaForConditionalGeneration._from_config(config, attn_implementation=request.param).eval()


@torch.inference_mode()
def decoder(model, capture=None):
    network = Decoder(model, Adapters(), SLOTS, LENGTH, capture=capture)
    network.prepare()
    return network


@pytest.fixture(scope="module")
def both(model):
    """A decoder with graphs, and one without."""
    pair = decoder(model, FakeCapture()), decoder(model)
    assert [len(each.graphs) for each in pair] == [4 * 4, 0], pair[0].graphs.without
    return pair


def read(networks, slot, length, seed):
    """Put a random prompt of so many tokens into a slot of each network."""
    ids = torch.randint(4, 100, (length,), generator=torch.Generator().manual_seed(seed))
    return [each.prefill(slot, [0], [each.embed(ids, None, "")], [""]) for each in networks]


def taken(network, slot, length):
    """The keys and values of a slot's first tokens in all layers."""
    return torch.stack([layer[:, slot, :, :length] for layer in network.cache._layers])


def near(logits, others):
    return torch.allclose(logits, others, atol=1e-5)


@torch.inference_mode()
def test_a_step_of_every_size_gives_what_it_gives_without_graphs(both):
    graphs, plain = both
    random = Random(0)
    for slot in range(SLOTS):
        read(both, slot, LENGTH, seed=slot)  # of which each step sees the beginning
    for rows, longest in itertools.product((1, 3, 6), (1, 255, 256, 257, 511, 600, 798)):
        starts = [random.randint(1, longest) for _ in range(rows - 1)] + [longest]
        tokens = [random.randrange(100) for _ in starts]
        found = graphs.decode(tokens, starts, [""] * rows)
        assert near(found, plain.decode(tokens, starts, [""] * rows))
        assert near(*(taken(each, slice(0, SLOTS), LENGTH - 1) for each in both))


@torch.inference_mode()
def test_a_step_that_is_filled_up_harms_no_bit_of_its_neighbours(both):
    """Behind three rows that decode there is a prompt that is being read, longer than what the step looks at."""
    network, _ = both
    lengths = [40, 50, 30, 700, 20, 300]
    for slot, length in enumerate(lengths):
        read([network], slot, length, seed=slot)
    before = [layer.clone() for layer in network.cache._layers]
    network.decode([5, 6, 7], lengths[:3], [""] * 3)
    for layer, old in zip(network.cache._layers, before, strict=True):
        changed = (layer != old).any(-1).any(2).any(0)  # (slots, columns)
        written = {(slot, column) for slot, column in changed.nonzero().tolist() if column != network.cache.spare}
        assert written == {(0, 40), (1, 50), (2, 30)}


@torch.inference_mode()
def test_a_prompt_that_is_read_between_filled_up_steps_is_read_to_the_same_bit(both):
    interrupted, alone = both
    read(both, 0, 20, seed=0)
    embeds = alone.embed(torch.arange(4, 94), None, "")
    for start in range(0, 90, 30):
        stretch = [embeds[start : start + 30]]
        assert torch.equal(*(each.prefill(1, [start], stretch, [""]) for each in (interrupted, alone)))
        interrupted.decode([9], [20 + start], [""])
        assert torch.equal(*(taken(each, 1, start + 30) for each in (interrupted, alone)))


@torch.inference_mode()
def test_a_row_says_the_same_alone_and_among_others(both):
    graphs, _ = both
    for slot in range(SLOTS):
        read([graphs], slot, 100 + 60 * slot, seed=slot)
    starts = [100 + 60 * slot for slot in range(SLOTS)]
    together = graphs.decode(list(range(10, 16)), starts, [""] * SLOTS).clone()
    for slot in range(SLOTS):
        network = graphs.decode(list(range(10, 11 + slot)), starts[: slot + 1], [""] * (slot + 1))
        assert near(network, together[: slot + 1])


@torch.inference_mode()
def test_rows_with_an_adapter_are_no_graphs(both, monkeypatch):
    graphs, plain = both
    for each in both:
        read([each], 0, 9, seed=3)
    monkeypatch.setattr(graphs.graphs, "run", None)
    assert near(graphs.decode([8], [9], ["flowers"]), plain.decode([8], [9], [""]))


@torch.inference_mode()
@pytest.mark.parametrize("name", ["", "flowers"])
def test_each_pass_takes_note_once_of_what_it_writes_with_a_graph_or_without(both, monkeypatch, name):
    for network in both:
        noted = []
        monkeypatch.setattr(network.cache, "write", lambda *note, noted=noted: noted.append(note))
        read([network], 2, 9, seed=0)
        network.decode([8, 7], [9, 30], [name, name])
        assert noted == [(2, [0], 9), (0, [9, 30], 1)]


def test_emptying_a_slot_touches_what_was_written_there_and_no_more():
    """Memory of a processor that nobody has written is not there yet."""
    cache = SlotCache(LlamaConfig(**SIZES), 3, 40, torch.float32, [torch.device("cpu")])
    [layer] = cache._layers
    layer.fill_(7)
    cache.write(1, [10, 3], 5)
    cache.write(1, [20], 1)
    cache.move(1, 0, 12)
    cache.clear(1)
    cache.clear(2, 4)
    kept = [(layer[:, slot] == 7).all(-1).all(1).all(0).nonzero().flatten().tolist() for slot in range(3)]
    assert kept == [list(range(39)), list(range(21, 39)), [*range(4), *range(8, 39)]]


# ---- which, and whether


def graphs_of(step, rows=2, length=300):
    graphs = Graphs(step, rows, length, 7, length - 1, "cpu")
    capture = FakeCapture()
    graphs.capture(capture)
    return graphs, capture


def table(tokens, starts, length):
    """A step whose logits depend on each token, each place and the columns."""
    return torch.cos(tokens + 10 * starts + torch.arange(7.0) * length)


@pytest.mark.parametrize(("rows", "length", "count"), [(1, 256, 1), (8, 4096, 32), (13, 4096, 40), (29, 4096, 56)])
def test_the_graphs_of_a_cache_are_few(rows, length, count):
    graphs, _ = graphs_of(table, rows, length)
    assert len(graphs) == count, graphs.without


def test_the_largest_graph_is_captured_first_so_that_the_others_find_room_in_its_memory():
    sizes = []
    graphs_of(lambda tokens, starts, length: (sizes.append((len(tokens), length)), table(tokens, starts, length))[1], 9)
    assert sizes[0] == (9, 300)
    assert sizes == sorted(sizes, reverse=True)


def test_a_graph_runs_no_python_and_takes_what_is_new():
    calls = []
    graphs, capture = graphs_of(lambda *args: (calls.append(1), table(*args))[1])
    before = len(calls)
    for tokens, starts in (([1, 2], [3, 4]), ([6, 5], [299, 0]), ([1], [255]), ([2], [256])):
        columns = torch.tensor([tokens, starts])[..., None]
        assert torch.allclose(graphs.run(tokens, starts), table(*columns, 256 if max(starts) < 256 else 300))
    assert len(calls) == before
    assert sum(graph.replays for graph in capture.graphs) == len(graphs) + 4  # each was tried once


@pytest.mark.parametrize("which", ["token", "place", "call"])
def test_where_a_graph_holds_what_should_change_there_are_none(which):
    numbers = itertools.count()

    def step(tokens, starts, length):
        if which == "token":
            tokens = torch.full_like(tokens, next(numbers))
        elif which == "place":
            starts = torch.full_like(starts, next(numbers))
        else:
            tokens = tokens + 40 * next(numbers)
        return table(tokens, starts, length)

    graphs, _ = graphs_of(step)
    assert (len(graphs), graphs.run([1], [2])) == (0, None)
    assert "ArithmeticError: the graph of 2 rows and 300 columns computes something else" in graphs.without


@pytest.mark.parametrize("which", ["token", "place"])
@torch.inference_mode()
def test_a_networks_graph_that_holds_a_token_or_a_place_is_found(model, which):
    network = decoder(model)

    def step(tokens, starts, length):
        fixed = torch.full_like(tokens, network.cache.spare if which == "place" else 0)
        return network._step(*((tokens, fixed) if which == "place" else (fixed, starts)), length)

    def capture(work):
        """Of the step with what is fixed, while the step itself is not."""
        network.graphs._step, plain = step, network.graphs._step
        replay = FakeCapture()(work)
        network.graphs._step = plain
        return replay

    network.graphs.capture(capture)
    assert "computes something else" in network.graphs.without


def test_where_a_step_cannot_be_captured_there_are_no_graphs_and_the_reason_is_kept():
    graphs, _ = graphs_of(lambda tokens, starts, length: table(tokens, int(starts.max()), length))
    assert (len(graphs), graphs.run([1], [2])) == (0, None)
    assert "operation not permitted when stream is capturing" in graphs.without

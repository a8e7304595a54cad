"""The decoder and the sampler on a CUDA device that is not there: what a card would refuse, and when the host waits.

Tensors have shapes, dtypes and devices here and no numbers, so LLaVA-1.5-7B in its true shapes costs nothing.
"""

import pytest
import torch
from fakes.fake_cuda import count_synchronisations, fake_cuda
from fakes.fake_graph import FakeCapture
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from tritone import checkpoints
from tritone.errors import NotServed
from tritone.language.adapters import Adapters
from tritone.language.choosing.grammar import Grammar, Vocabulary
from tritone.language.choosing.sampling import Sampler, Sampling, choose
from tritone.language.decoder import Decoder

IMAGE = 3
CARD = torch.device("cuda:1")


def small():
    """Of the architecture of llava-hf/llava-1.5-7b-hf; 16 tokens a picture."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4}
    vision = CLIPVisionConfig(image_size=64, patch_size=16, projection_dim=16, **sizes)
    return _config(vision, LlamaConfig(vocab_size=320, max_position_embeddings=512, **sizes))


def true():
    """The shapes of llava-hf/llava-1.5-7b-hf; 576 tokens a picture."""
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    return _config(vision, LlamaConfig(vocab_size=32064, max_position_embeddings=4096, rms_norm_eps=1e-5))


def _config(vision, text):
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=IMAGE,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )


def decoder(config, dtype, attention="sdpa", slots=4, **options):
    config._attn_implementation = attention
    torch.set_default_dtype(dtype)
    try:
        with CARD:
            model = LlavaForConditionalGeneration._from_config(config, attn_implementation=attention).eval()
    finally:
        torch.set_default_dtype(torch.float32)
    return Decoder(model, Adapters(), slots, **options)


def prompt(config, words):
    """A picture among words, as a caller's thread on the CPU makes it."""
    vision = config.vision_config
    ids = torch.tensor([5] * words + [IMAGE] * (vision.image_size // vision.patch_size) ** 2 + [7] * words)
    return ids, torch.zeros(1, 3, vision.image_size, vision.image_size)


def samplers(count, ids, vocabulary, **options):
    return [Sampler(Sampling(seed=seed, **options), ids, vocabulary, CARD) for seed in range(count)]


DRAWN = {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.2}


@pytest.mark.parametrize(
    ("make", "dtype", "attention"),
    [
        (small, torch.float16, "sdpa"),
        (small, torch.float16, "eager"),
        (small, torch.bfloat16, "sdpa"),
        (small, torch.bfloat16, "eager"),
        (true, torch.float16, "sdpa"),
    ],
)
@torch.inference_mode()
def test_every_tensor_is_on_the_card_and_of_one_dtype(make, dtype, attention):
    """A tensor that was left on the CPU, and a matrix of another dtype, raise here as they do on a card."""
    config = make()
    with fake_cuda():
        network = decoder(config, dtype, attention)
        ids, pixels = prompt(config, 20)
        embeds = network.embed(ids, pixels, "")
        assert (embeds.shape, embeds.dtype, embeds.device) == ((len(ids), config.text_config.hidden_size), dtype, CARD)
        for starts in ([0, 0], [30, 30], [30, 0]):  # from the beginning, the next stretch, neighbours apart
            hidden = network.prefill(1, starts, [embeds[:30], embeds[:20]], ["", ""])
            assert (hidden.shape, hidden.dtype, hidden.device) == ((2, config.text_config.hidden_size), dtype, CARD)
        for starts in ([50, 50, 50], [50, 30, 20]):
            logits = network.decode([1, 2, 3], starts, [""] * 3)
            assert (logits.shape, logits.dtype, logits.device) == ((3, network.vocabulary), torch.float32, CARD)
        for options in ({}, DRAWN):
            assert len(choose(logits, samplers(3, ids, network.vocabulary, **options))) == 3
        network.cache.swap(0, 1, 50)
        network.cache.move(2, 0, 50)
        network.cache.clear(2)


@pytest.mark.parametrize("options", [{}, DRAWN, {"temperature": 1.0}], ids=["greedy", "drawn", "plain"])
@pytest.mark.parametrize("starts", [[50] * 3, [50, 30, 20]], ids=["even", "uneven"])
@torch.inference_mode()
def test_the_host_waits_for_the_card_once_a_token(starts, options):
    """For the tokens themselves, which it needs to know whose answer has ended; whatever the number of rows."""
    with fake_cuda():
        network = decoder(small(), torch.float16)
        ids, _ = prompt(small(), 4)
        drawing = samplers(3, ids, network.vocabulary, **options)
        with count_synchronisations() as waits:
            choose(network.decode([1, 2, 3], starts, [""] * 3), drawing)
    assert len(waits) == 1, waits.found
    assert "sampling.py" in waits.found[0]


@pytest.mark.parametrize("options", [{}, DRAWN], ids=["greedy", "drawn"])
@torch.inference_mode()
def test_with_graphs_too_the_host_waits_for_the_card_once_a_token(options):
    with fake_cuda(number=1):
        network = decoder(small(), torch.float16, capture=FakeCapture())
        network.prepare()
        assert len(network.graphs) == 3 * 2, network.graphs.without
        ids, _ = prompt(small(), 4)
        drawing = samplers(3, ids, network.vocabulary, **options)
        with count_synchronisations() as waits:
            logits = network.decode([1, 2, 3], [50, 30, 20], [""] * 3)
            choose(logits, drawing)
    assert (logits.shape, logits.dtype, logits.device) == ((3, network.vocabulary), torch.float32, CARD)
    assert len(waits) == 1, waits.found
    assert "sampling.py" in waits.found[0]


@pytest.mark.parametrize("capture", [None, FakeCapture], ids=["plain", "graphs"])
@torch.inference_mode()
def test_with_grammars_and_logprobs_too_the_host_waits_for_the_card_once_a_token(capture):
    """What may come is found out on the host, behind the launch of the pass, and goes to the card without waiting."""
    tokenizer = LlavaProcessor.from_pretrained(checkpoints.path("llava")).tokenizer
    config = small()
    config.text_config.vocab_size = len(tokenizer)
    grammar = Grammar(Vocabulary(tokenizer, len(tokenizer), [2]), '{"type": "object"}')
    brace = tokenizer.convert_tokens_to_ids("{")
    with fake_cuda(number=brace):
        network = decoder(config, torch.float16, capture=capture and capture())
        network.prepare()
        ids, _ = prompt(config, 4)
        wishes = [{"grammar": grammar}, {}, {"grammar": grammar, **DRAWN, "top_logprobs": 5}, {"top_logprobs": 2}]
        rows = [Sampler(Sampling(**wish), ids, network.vocabulary, CARD) for wish in wishes]
        with count_synchronisations() as waits:
            tokens = choose(network.decode([1, 2, 3, 4], [50, 30, 20, 10], [""] * 4), rows)
    assert tokens == [brace] * 4  # the number that is read of everything, and the beginning of an object
    assert [row.logprob is not None for row in rows] == [False, False, True, True]
    assert len(waits) == 1, waits.found
    assert "sampling.py" in waits.found[0]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(("make", "dtype"), [(small, torch.bfloat16), (true, torch.float16)])
@torch.inference_mode()
def test_nothing_in_a_graph_is_on_the_host(make, dtype, attention):
    """A copy from there would be captured as its address, and read when something else is there."""
    capture = FakeCapture()
    with fake_cuda(number=1):
        network = decoder(make(), dtype, attention, slots=1, length=256, capture=capture)
        network.prepare()
    [graph] = capture.graphs
    assert len(graph.operators) > 20 * len(network.model.model.language_model.layers)
    assert graph.devices() == {CARD}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.inference_mode()
def test_reading_a_prompt_does_not_wait_for_the_card(attention):
    with fake_cuda():
        network = decoder(small(), torch.float16, attention)
        ids, pixels = prompt(small(), 20)
        with count_synchronisations() as waits:
            embeds = network.embed(ids, pixels, "")
            for starts in ([0, 0], [30, 0]):
                network.prefill(0, starts, [embeds[:30], embeds[:20]], ["", ""])
            samplers(2, ids, network.vocabulary, **DRAWN)
    assert waits.found == []


@torch.inference_mode()
def test_the_mask_of_a_pass_is_made_once_in_the_networks_dtype():
    """Layers are given what they add as it is: a bool mask would be made into it in each of them."""
    with fake_cuda() as card:
        network = decoder(small(), torch.float16)
        before = len(card.placed)
        network.decode([1, 2, 3], [50, 30, 20], [""] * 3)
        placed = card.placed[before:]
    assert [(each.dtype, each.shape) for each in placed if "masked_fill" in each.operator] == [
        (torch.float16, (3, 1, 1, 64))  # 51 columns, the rows of memory a multiple of 16 apart
    ]
    assert not any("where" in each.operator for each in placed)


@torch.inference_mode()
def test_as_many_slots_as_fit_beside_llava_7bs_true_weights():
    with fake_cuda(memory=80 * 2**30):
        network = decoder(true(), torch.float16, slots=0, memory_reserve=0.5)
    [budget] = network.budgets
    assert budget.weights / 2**30 == pytest.approx(13.16, abs=0.05)
    assert network.cache.slots == budget.slots == 13
    assert network.cache.nbytes == 13 * 4096 * 512 * 2**10


def test_where_not_one_slot_fits_the_load_is_refused_with_the_sum():
    with fake_cuda(memory=22 * 2**30), pytest.raises(NotServed, match=r"cuda:1 has 22.0 GiB: weights 13.2 GiB"):
        decoder(true(), torch.float16, slots=0, memory_reserve=0.5)

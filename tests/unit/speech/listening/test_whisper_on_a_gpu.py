"""Whisper's network as large-v3 has it (fewer layers) on a GPU that is not there: its dtypes, its memory, its waits."""

import numpy as np
import pytest
import torch
from fake_cuda import count_synchronisations, fake_cuda
from fakes.fake_graph import FakeCapture
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

from tritone.speech.listening import whisper_network, whisper_steps
from tritone.speech.listening.whisper import Whisper, Window
from tritone.speech.listening.whisper_decoding import Vocabulary, decode
from tritone.speech.listening.whisper_network import Memory, Network

DEVICE, LAYERS, HEADS, WIDTH, VOCABULARY = "cuda:1", 3, 20, 1280, 51_866
SETTINGS = GenerationConfig(
    eos_token_id=50_257, decoder_start_token_id=50_258, no_timestamps_token_id=50_364, is_multilingual=True,
    lang_to_id={"<|en|>": 50_259, "<|zh|>": 50_260}, task_to_id={"transcribe": 50_360, "translate": 50_359},
)  # fmt: skip


@pytest.fixture
def card():
    with fake_cuda() as card:
        yield card


@pytest.fixture
def model(card):
    config = WhisperConfig(
        vocab_size=VOCABULARY, num_mel_bins=128, d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=LAYERS,
        encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    model.generation_config = SETTINGS
    return model


def remembered(network, rows=2):
    encoded = network.encode(torch.zeros(rows, 128, 3000, device=DEVICE))
    return network.remember(list(encoded))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.inference_mode()
def test_sound_goes_in_and_logits_come_out_on_the_card(model, dtype):
    network = Network(model, DEVICE, dtype)
    encoded = network.encode(torch.zeros(2, 128, 3000, device=DEVICE))
    assert (encoded.shape, encoded.dtype) == ((2, 1500, WIDTH), torch.float32)
    memory = network.remember([encoded[0], encoded[1, :500]])
    tokens, cache = network.start([[1, 2, 3], [4]], 4)
    for _ in range(2):
        states = network.decode(tokens, cache, memory)
        tokens = network.logits(states[:, -1]).argmax(-1, keepdim=True)
    assert (cache.length, tokens.device) == (4, torch.device(DEVICE))
    kept = {each.dtype for layer in [*memory.layers, *cache.layers] for each in layer}
    assert kept == {dtype}


@torch.inference_mode()
def test_the_decoder_waits_for_nothing(model):
    network = Network(model, DEVICE, torch.float16)
    memory = remembered(network)
    tokens, cache = network.start([[1], [2]], 4)
    with count_synchronisations() as waits:
        for _ in range(4):
            tokens = network.logits(network.decode(tokens, cache, memory)[:, -1]).argmax(-1, keepdim=True)
    assert waits.found == []


@torch.inference_mode()
def test_a_token_more_is_one_wait_more(model):
    network, vocabulary = Network(model, DEVICE, torch.float16), Vocabulary(SETTINGS, VOCABULARY)
    memory, prompts = remembered(network), [[50_258, 50_259, 50_360]] * 2

    def waits(tokens):
        with count_synchronisations() as waits:
            done = dict(decode(network, vocabulary, memory, prompts, longest=[tokens, tokens]))
        assert [len(row.tokens) for row in done.values()] == [tokens, tokens]
        return len(waits)

    assert waits(9) - waits(8) == 1


@torch.inference_mode()
def test_a_step_is_a_graph_of_which_nothing_is_on_the_host(model, monkeypatch):
    monkeypatch.setattr(whisper_steps, "must_be_near", lambda *_: None)  # there are no numbers
    network, capture = Network(model, DEVICE, torch.float16), FakeCapture()
    graphs = whisper_steps.StepGraphs(network, capture)
    assert len(graphs) == 3, graphs.without
    assert [graph.devices() for graph in capture.graphs] == [{torch.device(DEVICE)}] * 3
    memory = remembered(network)
    tokens, cache = network.start([[1], [2]], 4)
    network.decode(tokens, cache, memory)
    with count_synchronisations() as waits:
        steps = graphs.steps(cache, memory)
        for _ in range(3):
            logits = steps(tokens[:, 0])
        steps = steps.rows(torch.tensor([1]).to(DEVICE, non_blocking=True))
        steps(tokens[:1, 0])
    assert waits.found == []
    assert (logits.shape, logits.dtype, logits.device) == ((2, VOCABULARY), torch.float32, torch.device(DEVICE))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_no_matrix_is_ever_in_float32_on_the_card(card, model, dtype):
    Network(model, DEVICE, dtype)
    assert {len(shape) for shape in card.shapes(torch.float32)} == {1}  # the norms' vectors
    assert (VOCABULARY, WIDTH) in card.shapes(dtype)


def test_each_weight_comes_to_the_card_once(card, model):
    Network(model, DEVICE, torch.float16)
    numbers = sum(torch.Size(each.shape).numel() for each in card.placed if "_to_copy" in each.operator)
    assert numbers == pytest.approx(sum(each.numel() for each in model.parameters()), rel=1e-3)


@torch.inference_mode()
def test_word_times_keep_the_attention_of_the_alignment_heads_layers_alone(model, monkeypatch):
    seen, weights = [], whisper_network._weights
    monkeypatch.setattr(whisper_network, "_weights", lambda *given: seen.append(given) or weights(*given))
    network = Network(model, DEVICE, torch.float16)
    attention = {1: []}
    tokens, cache = network.start([[1, 2]], 0)
    network.decode(tokens, cache, remembered(network, 1), attention)
    assert len(seen) == 1
    assert [(each.shape, each.dtype) for each in attention[1]] == [((1, HEADS, 2, 1500), torch.float32)]


class Tokenizer:
    def decode(self, tokens, skip_special_tokens):
        return "word"


def test_a_language_is_detected_without_a_copy_of_what_was_heard(model, monkeypatch):
    whisper = Whisper(model, Tokenizer(), DEVICE, torch.float16)
    copies = []
    rows = Memory.rows
    monkeypatch.setattr(Memory, "rows", lambda memory, index: copies.append(len(index)) or rows(memory, index))
    window = Window(np.zeros((128, 3000), np.float32), duration=0.1)
    with torch.inference_mode():
        memory = remembered(whisper._network, 3)
        assert whisper._languages([window] * 3, memory) == ["en"] * 3
        assert copies == []
        stated = Window(window.input_features, language="zh")
        assert whisper._languages([window, stated, window], memory) == ["en", "zh", "en"]
    assert copies == [2]


def test_a_window_is_heard_from_beginning_to_end(model):
    whisper = Whisper(model, Tokenizer(), DEVICE, torch.float16)
    windows = [Window(np.zeros((128, 3000), np.float32), duration=duration) for duration in (0.1, 0.5)]
    assert [transcript.text for transcript in whisper.transcribe(windows)] == ["word", "word"]

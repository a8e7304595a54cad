"""whisper-large-v3's shape with random weights: equality with transformers, memory, encoder and steps."""

from __future__ import annotations

from typing import Any

import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from gpu.measuring import Card, Report, cudnn_attention
from tritone.speech.listening.whisper_network import Network
from tritone.speech.listening.whisper_steps import PlainSteps, StepGraphs

PART = "whisper"
PROMPT = [1, 5, 7, 9]
SMALL = {
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "vocab_size": 1000, "num_mel_bins": 128, "pad_token_id": 0,
    "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 1,
}  # fmt: skip
TRUE = {
    "d_model": 1280, "encoder_layers": 32, "decoder_layers": 32, "encoder_attention_heads": 20,
    "decoder_attention_heads": 20, "encoder_ffn_dim": 5120, "decoder_ffn_dim": 5120, "vocab_size": 51866,
    "num_mel_bins": 128,
}  # fmt: skip


def run(card: Card, report: Report) -> None:
    """All of it."""
    torch.manual_seed(0)
    # On the host and in float32, as `Whisper.load` has it.
    model = WhisperForConditionalGeneration(WhisperConfig(**(SMALL if card.small else TRUE))).eval()
    network = Network(model, card.device, card.dtype)
    report.add(PART, **{f"after loading, {name}": size for name, size in card.memory().items()})
    features = torch.randn(1, 128, 3000)
    with torch.inference_mode():
        _equality(card, report, network, model, features)
        del model
        card.forget()
        for rows in (1, 2 if card.small else 16):
            _speed(card, report, network, features.to(card.device).expand(rows, -1, -1))
        _graphs(card, report, network, features.to(card.device))
    del network
    card.forget()


def _equality(card: Card, report: Report, network: Network, model: Any, features: torch.Tensor) -> None:
    ids = torch.tensor([PROMPT], device=card.device)
    features = features.to(card.device)
    wanted = model.to(card.device)(input_features=features, decoder_input_ids=ids).logits.float()
    memory = network.remember(network.encode(features).unbind(0))
    tokens, cache = network.start([PROMPT], len(PROMPT))
    got = network.logits(network.decode(tokens, cache, memory)).float()
    error = float((got - wanted).norm() / wanted.norm())
    report.add(PART, **{"relative error of the logits": error})
    report.must(PART, "logits are transformers'", error < 0.01)


def _graphs(card: Card, report: Report, network: Network, features: torch.Tensor) -> None:
    """Steps of few rows as CUDA graphs against those without."""
    with cudnn_attention(False):
        graphs = StepGraphs(network, card.capture())
        report.must(PART, f"steps can be captured ({graphs.without or 'they are'})", len(graphs) > 0)
        for rows in (1, 3):
            memory = network.remember([*network.encode(features)] * rows)
            tokens, cache = network.start([PROMPT] * rows, 60)
            network.decode(tokens, cache, memory)
            one = torch.full((rows,), 5, device=card.device)
            steps, plain = graphs.steps(cache, memory), PlainSteps(network, cache, memory)
            wanted, got = plain(one), steps(one)
            error = float((got - wanted).norm() / wanted.norm())
            report.must(PART, f"a graph of {rows} rows gives the same (error {error:.5f})", error < 0.01)
            took = card.milliseconds(lambda _, steps=steps, one=one: steps(one))
            report.add(PART, **{f"step as a graph, {rows} rows, ms": took, **card.memory()})
            del steps


def _speed(card: Card, report: Report, network: Network, features: torch.Tensor) -> None:
    rows = len(features)
    report.add(PART, **{f"encoder, {rows} windows, ms": card.milliseconds(lambda _: network.encode(features), 3)})
    memory = network.remember(network.encode(features).unbind(0))
    one = torch.full((rows, 1), 5, device=card.device)
    for allowed in (False, True):
        tokens, cache = network.start([PROMPT] * rows, 60)
        network.decode(tokens, cache, memory)
        with cudnn_attention(allowed):
            took = card.milliseconds(lambda _, cache=cache: network.logits(network.decode(one, cache, memory)[:, -1]))
        report.add(PART, **{f"step, {rows} rows, ms" + " with cuDNN's attention" * allowed: took})
    waits = card.waits(lambda: network.decode(one, cache, memory))
    report.add(PART, **{f"host waits a step, {rows} rows": waits, **card.memory()})

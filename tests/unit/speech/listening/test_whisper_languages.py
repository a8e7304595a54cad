"""Checkpoints of Whisper that know more than English."""

from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)
from unit.speech.listening.spoken import SENTENCES, SILENCE

from tritone import checkpoints
from tritone.media.audio import SAMPLING_RATE
from tritone.speech.listening.whisper import LogMel, Whisper, Window


@pytest.fixture(scope="module")
def multilingual(directory: Path) -> Whisper:
    """A random network of one narrow layer that calls itself multilingual."""
    tokenizer = WhisperTokenizer.from_pretrained(directory)
    number = tokenizer.convert_tokens_to_ids
    config = WhisperConfig(
        vocab_size=51_864,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        decoder_start_token_id=number("<|startoftranscript|>"),
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config).eval()
    model.generation_config = GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        max_length=12,
        is_multilingual=True,
        no_timestamps_token_id=number("<|notimestamps|>"),
        lang_to_id={f"<|{code}|>": number(f"<|{code}|>") for code in ("en", "zh", "de")},
        task_to_id={task: number(f"<|{task}|>") for task in ("transcribe", "translate")},
    )
    return Whisper(model, tokenizer)


def test_each_window_keeps_its_language_and_task(multilingual: Whisper) -> None:
    windows = [Window(SILENCE, "zh", "translate"), Window(SILENCE, "German"), Window(SILENCE, "en", "translate")]
    assert [transcript.language for transcript in multilingual.transcribe(windows)] == ["zh", "de", "en"]


def test_a_language_left_open_is_detected(multilingual: Whisper) -> None:
    first, second = multilingual.transcribe([Window(SILENCE), Window(SILENCE, "zh")])
    assert first.language in {"en", "zh", "de"}
    assert second.language == "zh"


@pytest.fixture(scope="module")
def base() -> Whisper:
    return Whisper.load(checkpoints.path("whisper_multilingual"), "cpu", "fastest")


def test_the_multilingual_checkpoint_hears_which_language_is_spoken(base: Whisper, recordings) -> None:
    log_mel = LogMel.load(checkpoints.path("whisper_multilingual"))
    windows = [
        base.prepare(log_mel(recording), duration=np.float32(len(recording) / SAMPLING_RATE))
        for recording in recordings
    ]
    transcripts = base.transcribe(windows)
    assert [transcript.language for transcript in transcripts] == ["en"] * len(SENTENCES)
    assert jiwer.wer(" ".join(SENTENCES), " ".join(transcript.text for transcript in transcripts)) < 0.2


def test_the_multilingual_checkpoint_has_languages_and_both_tasks(base: Whisper) -> None:
    assert base.multilingual
    assert {"en", "zh", "de"} <= set(base.languages)
    assert base.prepare(SILENCE, "Chinese", "translate").task == "translate"

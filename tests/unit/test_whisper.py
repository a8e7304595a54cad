"""Whisper hears what the voice says, whoever else is in the batch, and refuses what it cannot do."""

from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from tritone import checkpoints
from tritone.audio import SAMPLING_RATE
from tritone.errors import InvalidInput
from tritone.tts import Speaker
from tritone.whisper import LogMel, Whisper, Window

QUESTION = "What color is the circle in this picture?"
SENTENCES = [QUESTION, "Is there a yellow star on the left side?", "The square is blue and the triangle is green."]


@pytest.fixture(scope="module")
def directory() -> Path:
    return checkpoints.path("whisper")


@pytest.fixture(scope="module")
def log_mel(directory: Path) -> LogMel:
    return LogMel.load(directory)


@pytest.fixture(scope="module")
def whisper(directory: Path) -> Whisper:
    return Whisper.load(directory, "cpu", "float32")


@pytest.fixture(scope="module")
def recordings() -> list[np.ndarray]:
    """Mono 16 kHz audio of each sentence, spoken by the tiny voice."""
    speaker = Speaker.load([checkpoints.path("tts")], "cpu", 200)
    speeches = speaker.speak([speaker.prepare(sentence) for sentence in SENTENCES])
    return [soxr.resample(speech.audio, speech.sampling_rate, SAMPLING_RATE) for speech in speeches]


def test_the_question_comes_back_word_for_word(whisper: Whisper, log_mel: LogMel, recordings) -> None:
    (transcript,) = whisper.transcribe([Window(log_mel(recordings[0]))])
    assert transcript.text == QUESTION
    assert transcript.language == "en"


def test_segments_carry_the_text_and_its_times(whisper: Whisper, log_mel: LogMel, recordings) -> None:
    pause = np.zeros(2 * SAMPLING_RATE, np.float32)
    (transcript,) = whisper.transcribe([Window(log_mel(np.concatenate([recordings[0], pause, recordings[2]])))])
    first, last = transcript.segments[0], transcript.segments[-1]
    spoken = len(recordings[0]) / SAMPLING_RATE
    assert (first.start, first.end) == (0.0, pytest.approx(spoken, abs=0.5))
    assert last.end == pytest.approx(spoken + 2 + len(recordings[2]) / SAMPLING_RATE, abs=0.5)
    assert last.start > first.end
    assert " ".join(segment.text for segment in transcript.segments) == transcript.text


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_neighbours_in_a_batch_do_not_change_the_text(directory: Path, log_mel: LogMel, recordings, dtype) -> None:
    whisper = Whisper.load(directory, "cpu", dtype)
    windows = [Window(log_mel(recording)) for recording in recordings]
    together = whisper.transcribe(windows)
    assert together == [whisper.transcribe([window])[0] for window in windows]
    assert together[2].text == SENTENCES[2]


def test_text_equals_plain_transformers(directory: Path, whisper: Whisper, log_mel: LogMel, recordings) -> None:
    features = log_mel(recordings[1])
    model = WhisperForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)
    tokens = model.generate(torch.from_numpy(features[None]), return_timestamps=True)
    expected = WhisperTokenizer.from_pretrained(directory).decode(tokens[0], skip_special_tokens=True)
    assert whisper.transcribe([Window(features)])[0].text == expected.strip()


def test_noise_without_speech_has_no_text(whisper: Whisper, log_mel: LogMel) -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(2 * SAMPLING_RATE).astype(np.float32)
    (transcript,) = whisper.transcribe([Window(log_mel(noise))])
    assert (transcript.text, transcript.segments) == ("", ())


def test_the_converted_checkpoint_has_every_weight_and_no_other(directory: Path) -> None:
    _, loading = WhisperForConditionalGeneration.from_pretrained(directory, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]


def test_log_mel_equals_its_formula(log_mel: LogMel, directory: Path, recordings) -> None:
    """Source of the formula: openai/whisper whisper/audio.py."""
    padded = np.zeros(30 * SAMPLING_RATE)
    padded[: len(recordings[0])] = recordings[0]
    padded = np.pad(padded, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][:-1]  # (3000, 400)
    power = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1])) ** 2
    filters = np.asarray(WhisperFeatureExtractor.from_pretrained(directory).mel_filters)  # (201, n_mels)
    expected = np.log10(np.maximum(power @ filters, 1e-10)).T
    expected = (np.maximum(expected, expected.max() - 8) + 4) / 4
    np.testing.assert_allclose(log_mel(recordings[0]), expected, atol=1e-3)


def test_more_than_a_window_is_refused(log_mel: LogMel) -> None:
    with pytest.raises(InvalidInput, match=r"a window holds 30 s of audio, got 30\.50 s"):
        log_mel(np.zeros(int(30.5 * SAMPLING_RATE), np.float32))


SILENCE = np.full((80, 3_000), -1.0, np.float32)


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        (Window(SILENCE[:, :100]), r"must have shape \[80, 3000\], got \[80, 100\]"),
        (Window(np.zeros((128, 3_000), np.float32)), r"got \[128, 3000\]"),
        (Window(np.full_like(SILENCE, np.nan)), "no numbers"),
        (Window(SILENCE, language="zh"), "language 'zh' is unknown; this checkpoint has English only"),
        (Window(SILENCE, language="klingon"), "language 'klingon' is unknown"),
        (Window(SILENCE, task="translate"), "needs a multilingual checkpoint"),
        (Window(SILENCE, task="summarise"), "task is 'summarise', it must be one of transcribe, translate"),
    ],
)
def test_what_the_checkpoint_cannot_do_is_refused(whisper: Whisper, window: Window, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        whisper.prepare(window.input_features, window.language, window.task)


@pytest.mark.parametrize("language", ["en", "EN", "English", "en-US"])
def test_english_may_be_named_in_many_ways(whisper: Whisper, language: str) -> None:
    assert whisper.prepare(SILENCE, language, "transcribe").language == language


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

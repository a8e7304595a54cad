"""Whisper hears what the voice says, whoever else is in the batch, and refuses what it cannot do."""

import re
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch
from transformers import (
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTimeStampLogitsProcessor,
    WhisperTokenizer,
)
from transformers.models.whisper.generation_whisper import _dynamic_time_warping
from unit.speech.listening.spoken import QUESTION, SENTENCES, SILENCE

from tritone.errors import InvalidInput
from tritone.media.audio import SAMPLING_RATE
from tritone.speech.listening.whisper import LogMel, Whisper, Window, _most_tokens
from tritone.speech.listening.whisper_decoding import LOOK, Vocabulary, decode
from tritone.speech.listening.whisper_network import Network
from tritone.speech.listening.whisper_words import warp


def test_the_question_comes_back_word_for_word(whisper: Whisper, log_mel: LogMel, recordings) -> None:
    (transcript,) = whisper.transcribe([Window(log_mel(recordings[0]))])
    assert transcript.text == QUESTION
    assert transcript.language == "en"


def test_segments_carry_the_text_and_its_times(whisper: Whisper, log_mel: LogMel, recordings) -> None:
    pause = np.zeros(2 * SAMPLING_RATE, np.float32)
    (transcript,) = whisper.transcribe([Window(log_mel(np.concatenate([recordings[0], pause, recordings[2]])))])
    first, last = transcript.segments[0], transcript.segments[-1]
    spoken = len(recordings[0]) / SAMPLING_RATE
    assert first.start == 0.0
    assert spoken - 0.5 < first.end < spoken + 2.0  # in the pause
    assert last.end == pytest.approx(spoken + 2 + len(recordings[2]) / SAMPLING_RATE, abs=0.5)
    assert last.start >= first.end
    assert " ".join(segment.text for segment in transcript.segments) == transcript.text


def test_segments_have_the_figures_of_openai_whisper(whisper: Whisper, directory: Path, log_mel, recordings) -> None:
    """Its formulas (decoding.py, utils.py) on transformers' tokens, rules and logits, for a window of two segments."""
    pause = np.zeros(2 * SAMPLING_RATE, np.float32)
    features = log_mel(np.concatenate([recordings[0], pause, recordings[2]]))
    first, last = whisper.transcribe([Window(features)])[0].segments
    model = WhisperForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()
    settings, sound = model.generation_config, torch.from_numpy(features[None])
    tokens = model.generate(sound, return_timestamps=True)[0].tolist()
    start, end, no_speech = settings.decoder_start_token_id, settings.eos_token_id, settings.no_timestamps_token_id - 1
    said = [token for token in tokens if token not in (start, end)]
    ids = torch.tensor([[start, *said]])
    with torch.inference_mode():
        logits = model(sound, decoder_input_ids=ids).logits
    rules = [
        SuppressTokensAtBeginLogitsProcessor(settings.begin_suppress_tokens, begin_index=1),
        SuppressTokensLogitsProcessor(settings.suppress_tokens),
        WhisperTimeStampLogitsProcessor(settings, begin_index=1),
    ]
    total = 0.0
    for place, token in enumerate([*said, end]):
        scores = logits[:, place].clone()
        for rule in rules:
            scores = rule(ids[:, : place + 1], scores)
        total += float(scores.log_softmax(-1)[0, token])
    text = WhisperTokenizer.from_pretrained(directory).decode(said, skip_special_tokens=True).strip()
    assert [*first.tokens, *last.tokens] == said
    assert all(segment.tokens[0] > no_speech < segment.tokens[-1] for segment in (first, last))  # timestamps
    for segment in (first, last):
        assert (segment.seek, segment.temperature) == (0, 0.0)
        assert segment.avg_logprob == pytest.approx(total / (len(said) + 1), abs=1e-4)
        assert segment.no_speech_prob == pytest.approx(float(logits[0, 0].softmax(-1)[no_speech]), rel=1e-3)
        assert segment.compression_ratio == len(text.encode()) / len(zlib.compress(text.encode()))


def test_a_window_with_a_temperature_is_sampled_at_it_and_its_neighbour_is_not(whisper, log_mel, recordings) -> None:
    windows = [whisper.prepare(log_mel(recordings[0]), temperature=0.75), Window(log_mel(recordings[1]))]
    sampled, likeliest = whisper.transcribe(windows)
    assert [segment.temperature for segment in sampled.segments] == [0.75]
    assert (
        sampled.segments[0].avg_logprob
        < whisper.transcribe([Window(log_mel(recordings[0]))])[0].segments[0].avg_logprob
    )
    assert jiwer.wer(QUESTION, sampled.text) < 0.5
    assert (likeliest.text, likeliest.segments[0].temperature) == (SENTENCES[1], 0.0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_neighbours_in_a_batch_do_not_change_the_text(directory: Path, log_mel: LogMel, recordings, dtype) -> None:
    whisper = Whisper.load(directory, "cpu", dtype)
    windows = [Window(log_mel(recording)) for recording in recordings]
    together = whisper.transcribe(windows)
    alone = [whisper.transcribe([window])[0] for window in windows]
    assert [transcript.text for transcript in together] == [transcript.text for transcript in alone]
    for here, there in zip(together, alone, strict=True):
        assert [(s.start, s.end, s.tokens) for s in here.segments] == [
            (s.start, s.end, s.tokens) for s in there.segments
        ]
    assert together[2].text == SENTENCES[2]


def test_tokens_equal_plain_transformers(directory: Path, log_mel: LogMel, recordings) -> None:
    """Token for token, in float32, a batch with the encoder's whole 30 s."""
    model = WhisperForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)
    features = torch.from_numpy(np.stack([log_mel(recording) for recording in recordings]))
    expected = model.generate(features, return_timestamps=True)
    network = Network(model, "cpu", torch.float32)
    vocabulary = Vocabulary(model.generation_config, model.config.vocab_size)
    with torch.inference_mode():
        memory = network.remember(list(network.encode(features)))
        decoded = dict(decode(network, vocabulary, memory, [vocabulary.prompt(None, None)] * len(recordings)))
    special = (vocabulary.start, vocabulary.end)
    for row, tokens in enumerate(expected.tolist()):
        assert list(decoded[row].tokens) == [token for token in tokens if token not in special]


def test_the_network_equals_plain_transformers_for_unequal_prompts_and_sounds(directory: Path, log_mel, recordings):
    model = WhisperForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()
    network = Network(model, "cpu", torch.float32)
    features = torch.from_numpy(np.stack([log_mel(recording) for recording in recordings[:2]]))
    prompts = [[50360, 383, 50257, 50363, 318], [50257, 50363]]
    with torch.inference_mode():
        short = network.encode(features[1:, :, :1200])
        tokens, cache = network.start(prompts, 4)
        memory = network.remember([network.encode(features[:1])[0], short[0]])
        ours = network.logits(network.decode(tokens, cache, memory))
        whole = model(features[:1], decoder_input_ids=torch.tensor(prompts[:1])).logits
        cut = model(encoder_outputs=(short,), decoder_input_ids=torch.tensor(prompts[1:])).logits
    torch.testing.assert_close(ours[0], whole[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(ours[1, 3:], cut[0], atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["silence", "white", "hum"])
def test_sound_without_speech_has_no_text(directory: Path, log_mel: LogMel, kind: str) -> None:
    whisper = Whisper.load(directory, "cpu", "fastest")
    random, time = np.random.default_rng(0), np.arange(20 * SAMPLING_RATE) / SAMPLING_RATE
    white = random.standard_normal(len(time))
    sound = {"silence": 0 * time, "white": 0.05 * white, "hum": 0.1 * np.sin(2 * np.pi * 50 * time) + 0.005 * white}
    audio = sound[kind].astype(np.float32)
    (transcript,) = whisper.transcribe([Window(log_mel(audio), duration=20.0)])
    assert (transcript.text, transcript.segments, transcript.words) == ("", (), ())


def test_short_windows_are_answered_before_long_ones(directory: Path, log_mel: LogMel, recordings) -> None:
    whisper = Whisper.load(directory, "cpu", "fastest", shortest_context=10)
    long = np.concatenate([np.concatenate(recordings), np.zeros(SAMPLING_RATE, np.float32)] * 2)
    windows = [Window(log_mel(long[: 29 * SAMPLING_RATE]), duration=29.0), Window(log_mel(recordings[0]), duration=3.0)]
    assert [row for row, _ in whisper.stream(windows)] == [1, 0]


def test_a_text_that_repeats_itself_is_tried_again_alone(whisper: Whisper, log_mel: LogMel, recordings, monkeypatch):
    """The first attempt of one row goes round in circles; its neighbour is answered first, and both are right."""
    temperatures = []

    def spoiled(network, vocabulary, memory, prompts, temperature, *limits):
        temperatures.append(temperature)
        for row, decoded in decode(network, vocabulary, memory, prompts, temperature, *limits):
            loop = replace(decoded, tokens=(vocabulary.first_time, *[3797] * 200))
            yield row, loop if len(temperatures) == 1 and row == 0 else decoded

    monkeypatch.setattr("tritone.speech.listening.whisper.decode", spoiled)
    windows = [Window(log_mel(recording)) for recording in recordings[:2]]
    answers = list(whisper.stream(windows))
    assert [(row, transcript.text) for row, transcript in answers] == [(1, SENTENCES[1]), (0, SENTENCES[0])]
    assert temperatures == [0.0, 0.2]
    assert [transcript.segments[0].temperature for _, transcript in answers] == [0.0, 0.2]


def test_a_loop_ends_as_soon_as_it_is_seen_and_no_row_says_more_than_its_sound_can_hold(
    directory: Path, log_mel: LogMel, recordings
) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)
    network = Network(model, "cpu", torch.float32)
    vocabulary = Vocabulary(model.generation_config, model.config.vocab_size)
    vocabulary.never[vocabulary.end] = -torch.inf  # a network that does not find its end
    with torch.inference_mode():
        memory = network.remember(list(network.encode(torch.from_numpy(log_mel(recordings[0])[None]))) * 2)
        prompts = [vocabulary.prompt(None, None)] * 2
        limited = dict(decode(network, vocabulary, memory, prompts, 0.0, [5, 40]))
        looping = dict(decode(network, vocabulary, memory, prompts, 0.0, None, lambda tokens: True))
    assert [len(limited[row].tokens) for row in (0, 1)] == [5, 40]
    assert limited[1].tokens[:5] == limited[0].tokens
    assert [len(looping[row].tokens) for row in (0, 1)] == [LOOK, LOOK]


def test_a_short_sound_is_given_few_tokens_and_speech_enough() -> None:
    features = np.zeros((80, 3000), np.float32)
    assert _most_tokens(Window(features, duration=1.0)) <= 40
    assert _most_tokens(Window(features)) > 224  # the network's own limit holds there


def test_an_unknown_language_of_any_length_is_quoted_briefly(whisper: Whisper) -> None:
    for given in ({"language": "x" * 20_000}, {"task": "x" * 20_000}):
        with pytest.raises(InvalidInput) as refused:
            whisper.prepare(np.zeros((80, 3000), np.float32), **given)
        assert len(str(refused.value)) < 1_000


def test_sampling_gives_the_same_text_every_time(directory: Path, log_mel: LogMel, recordings) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)
    network = Network(model, "cpu", torch.float32)
    vocabulary = Vocabulary(model.generation_config, model.config.vocab_size)
    with torch.inference_mode():
        memory = network.remember([network.encode(torch.from_numpy(log_mel(recordings[0])[None]))[0]] * 2)
        prompts = [vocabulary.prompt(None, None)] * 2
        first = dict(decode(network, vocabulary, memory, prompts, temperature=1.0))
        assert first == dict(decode(network, vocabulary, memory, prompts, temperature=1.0))
    assert first[0].tokens == first[1].tokens  # a neighbour does not take part in the draw


def test_a_prompt_leads_the_spelling(whisper: Whisper, log_mel: LogMel, recordings) -> None:
    features = log_mel(recordings[0])
    window = whisper.prepare(features, initial_prompt="What colour is the sky? My favourite colour is grey.")
    led, free = whisper.transcribe([window, Window(features)])
    assert free.text == QUESTION
    assert led.text == QUESTION.replace("color", "colour")


def test_words_have_their_times(whisper: Whisper, log_mel: LogMel, recordings) -> None:
    """Between two sentences lies a second of silence: the words before it and after it stand where they were said."""
    first, last = recordings[0], recordings[2]
    audio = np.concatenate([first, np.zeros(SAMPLING_RATE, np.float32), last])
    seconds = [len(part) / SAMPLING_RATE for part in (first, audio)]
    window = Window(log_mel(audio), word_timestamps=True, duration=seconds[1])
    (transcript,) = whisper.transcribe([window])
    words = transcript.words
    assert " ".join(word.text for word in words) == f"{QUESTION} {SENTENCES[2]}"
    assert all(word.start <= word.end for word in words)
    assert all(before.end <= after.start + 1e-6 for before, after in pairwise(words))
    count = len(QUESTION.split())
    assert all(word.end <= seconds[0] + 0.3 for word in words[: count - 1])
    assert all(word.start >= seconds[0] + 0.7 for word in words[count + 1 :])
    assert words[-1].end == pytest.approx(seconds[1], abs=0.5)


def test_dynamic_time_warping_equals_the_slow_one_of_transformers() -> None:
    cost = np.random.default_rng(0).standard_normal((7, 40))
    for ours, theirs in zip(warp(cost), _dynamic_time_warping(cost), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_converted_checkpoint_has_every_weight_and_no_other(directory: Path) -> None:
    _, loading = WhisperForConditionalGeneration.from_pretrained(directory, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]


@pytest.mark.parametrize("samples", [1, 100, 479_000, 480_000])
def test_log_mel_equals_the_feature_extractors(log_mel: LogMel, directory: Path, samples: int) -> None:
    extractor = WhisperFeatureExtractor.from_pretrained(directory)
    audio = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    expected = extractor(audio, sampling_rate=SAMPLING_RATE, return_tensors="np")["input_features"][0]
    np.testing.assert_allclose(log_mel(audio), expected, atol=1e-5)


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


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        (Window(SILENCE[:, :100]), r"must have shape \[80, 3000\], got \[80, 100\]"),
        (Window(np.zeros((128, 3_000), np.float32)), r"got \[128, 3000\]"),
        (Window(np.full_like(SILENCE, np.nan)), "no numbers"),
        (Window(SILENCE, language="zh"), "language 'zh' is unknown; this checkpoint has English only"),
        (Window(SILENCE, language="klingon"), "language 'klingon' is unknown"),
        (Window(SILENCE, task="translate"), "needs a multilingual checkpoint; 'whisper' transcribes English only"),
        (Window(SILENCE, task="summarise"), "task is 'summarise', it must be one of transcribe, translate"),
    ],
)
def test_what_the_checkpoint_cannot_do_is_refused(whisper: Whisper, window: Window, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        whisper.prepare(window.input_features, window.language, window.task)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"initial_prompt": "<|endoftext|> hello"}, "holds '<|endoftext|>'"),
        ({"duration": 0.0}, "duration is 0.0 s, it must be over 0 and at most 30"),
        ({"duration": 30.5}, "duration is 30.5 s"),
        ({"duration": float("nan")}, "duration is nan s"),
        ({"temperature": 1.5}, "temperature is 1.5, it must be from 0 to 1"),
        ({"temperature": float("nan")}, "temperature is nan"),
    ],
)
def test_options_out_of_range_are_refused(whisper: Whisper, options: dict, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        whisper.prepare(SILENCE, **options)


def test_of_a_long_prompt_the_end_is_kept(whisper: Whisper) -> None:
    window = whisper.prepare(SILENCE, initial_prompt="blue " * 400 + "green")
    assert len(window.initial_prompt) == 223
    assert window.initial_prompt[-1] == whisper.prepare(SILENCE, initial_prompt="green").initial_prompt[0]


@pytest.mark.parametrize("language", ["en", "EN", "English", "en-US"])
def test_english_may_be_named_in_many_ways(whisper: Whisper, language: str) -> None:
    assert whisper.prepare(SILENCE, language, "transcribe").language == language

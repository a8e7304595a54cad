"""Each real model.py that hears or speaks, with the tiny checkpoints, under a fake `pb_utils`."""

import base64
import dataclasses
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from server.asking import INVALID, message, plug, png, wav, words

from tritone.media.audio import SAMPLING_RATE

SENTENCES = ("The quick brown fox jumps over the lazy dog.", "There are two circles in the picture.", "Good morning.")
SEGMENT = ("start", "end", "tokens", "seek", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
FIRST_TIME = 50_363  # <|0.00|> of tiny.en
SPOKEN = Path(__file__).parents[2] / "docs" / "demo_answer.wav"


def tone(seconds, hertz=440):
    return np.sin(np.arange(int(seconds * SAMPLING_RATE)) * 2 * np.pi * hertz / SAMPLING_RATE).astype(np.float32) / 2


def test_sounds_of_different_length_come_back_to_their_callers_and_a_bad_one_fails_alone(serve):
    decoder = serve("audio_decoder")
    sounds = [wav(tone(0.5)), b"not a sound", wav(tone(1.25, 330), 8000)]
    half, bad, other = decoder.execute(*(decoder.request(audio_bytes=[sound]) for sound in sounds))
    assert half["duration"] == pytest.approx(0.5)
    assert np.abs(half["audio"] - tone(0.5)).max() < 1e-3
    assert other["duration"] == pytest.approx(2.5)
    assert bad.error().code() == INVALID


def test_sounds_may_come_as_text_and_a_broken_one_fails_alone(serve):
    decoder, file = serve("audio_decoder", max_bytes="20000"), wav(tone(0.5))
    texts = [file, base64.b64encode(file), b"data:image/png;base64," + base64.encodebytes(file)]
    broken = [base64.b64encode(file)[:-1], b"file:///etc/passwd", base64.b64encode(wav(tone(1.0)))]
    [right, *same], errors = (
        decoder.execute(*(decoder.request(audio_bytes=[each]) for each in each_kind)) for each_kind in (texts, broken)
    )
    assert all(np.array_equal(right["audio"], other["audio"]) for other in same)
    sentences = ["is broken base64 of", "is a URL, and this server", "has 32,044 bytes, the limit is 20,000 bytes"]
    for error, sentence in zip(errors, sentences, strict=True):
        assert message(error).startswith(f"audio_bytes {sentence}")


def test_an_openai_chat_is_heard_seen_and_answered_aloud_in_one_call(serve):
    """Sounds and pictures within messages, nothing beside them."""
    models = ("audio_decoder", "whisper", "transcribe", "llava", "tts")
    plug(**{name: serve(name) for name in models})
    assistant, tts = serve("voice_assistant_stream"), serve("tts")
    [[question]] = tts.execute(tts.request(text=["What color is the circle?"]))
    data = base64.b64encode(question["audio_wav"][0]).decode()
    url = "data:image/png;base64," + base64.b64encode(png(("red", "circle"))).decode()
    parts = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}},
    ]
    deaf = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"no sound at all").decode()}}
    chunks, [error] = assistant.execute(
        *(assistant.request(messages=[json.dumps([{"role": "user", "content": each}])]) for each in (parts, [deaf]))
    )
    assert words(chunks[0]["transcript"][0].decode()) == words("What color is the circle?")
    assert chunks[0]["duration"][0] > 1.0
    assert "".join(chunk["text_output"][0].decode() for chunk in chunks) == "The circle is red."
    transcribe = serve("transcribe")
    [[heard]] = transcribe.execute(transcribe.request(audio_bytes=[chunks[-1]["audio_wav"][0]]))
    assert words(heard["text"][0].decode()) == words("The circle is red.")
    assert error.error().code() == INVALID
    assert message(error).startswith("messages at 0.content.0.input_audio is no readable WAV")


@pytest.mark.parametrize("seconds", [0.0, 60.5])
def test_sounds_without_length_or_over_the_limit_are_refused_with_numbers(serve, seconds):
    decoder = serve("audio_decoder", max_seconds="60")
    [response] = decoder.execute(decoder.request(audio_bytes=[wav(np.zeros(int(seconds * 8000), np.float32), 8000)]))
    assert response.error().code() == INVALID
    assert "60.5" in message(response) or "no sample" in message(response).lower() or "0 s" in message(response)


def test_speech_is_the_same_alone_and_among_others_and_comes_back_word_for_word(serve):
    tts, whisper = serve("tts"), serve("whisper")
    together = tts.execute(
        tts.request(text=[SENTENCES[0]]), tts.request(text=["   "]), tts.request(text=[SENTENCES[1]], speed=[1.2])
    )
    together = [response for [response] in together]
    [[alone]] = tts.execute(tts.request(text=[SENTENCES[0]]))
    assert np.array_equal(together[0]["audio"], alone["audio"])
    assert together[1].error().code() == INVALID
    plug(audio_decoder=serve("audio_decoder"), whisper=whisper)
    transcribe = serve("transcribe")
    for response, sentence in zip((together[0], together[2]), (SENTENCES[0], SENTENCES[1]), strict=True):
        [[heard]] = transcribe.execute(transcribe.request(audio_bytes=[response["audio_wav"][0]]))
        assert words(heard["text"][0].decode()) == words(sentence)
        assert heard["segment_end"][-1] <= heard["duration"][0] + 0.5


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"speed": [9.0]}, "9"),
        ({"voice": ["nobody"]}, "nobody"),
        ({"language": ["tlh"]}, "tlh"),
        ({"response_format": ["wma"]}, "'wma', it must be one of wav, flac, mp3, opus, aac, pcm"),
    ],
)
def test_a_wish_that_the_voice_cannot_grant_is_named(serve, inputs, named):
    tts = serve("tts")
    [bad], [good] = tts.execute(tts.request(text=["Hello."], **inputs), tts.request(text=["Hello."]))
    assert named in message(bad)
    assert not good.has_error()


def test_text_over_the_limit_is_refused_with_both_numbers(serve):
    tts = serve("tts", max_characters="20")
    [[response]] = tts.execute(tts.request(text=["a" * 21]))
    assert "21" in message(response)
    assert "20" in message(response)


def test_windows_of_many_users_come_back_to_their_callers(serve):
    tts, whisper, log_mel = serve("tts"), serve("whisper"), serve("transcribe").model.listener.log_mel
    spoken = [tts.execute(tts.request(text=[sentence]))[0][0] for sentence in SENTENCES]
    features = [log_mel(soxr.resample(speech["audio"], speech["sampling_rate"][0], SAMPLING_RATE)) for speech in spoken]
    requests = [whisper.request(input_features=[f], language=[""], task=[""]) for f in features]
    broken = whisper.request(input_features=[np.full_like(features[0], np.nan)])
    [first], [bad], [second], [third] = whisper.execute(requests[0], broken, *requests[1:])
    for response, sentence in zip((first, second, third), SENTENCES, strict=True):
        assert words(response["text"][0].decode()) == words(sentence)
    assert "NaN" in message(bad)


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"task": ["translate"]}, "translate"),
        ({"language": ["zh"]}, "zh"),
        ({"task": ["sing"]}, "sing"),
        ({"duration": [31.0]}, "31"),
        ({"temperature": [2.0]}, "temperature is 2, it must be from 0 to 1"),
        ({"initial_prompt": ["<|endoftext|>"]}, "endoftext"),
    ],
)
def test_a_language_or_task_that_the_checkpoint_lacks_is_refused(serve, inputs, named):
    whisper = serve("whisper")
    [[response]] = whisper.execute(whisper.request(input_features=[np.zeros((80, 3000), np.float32)], **inputs))
    assert named in message(response)


def test_transcribe_passes_text_through_and_wants_one_of_the_two(serve):
    transcribe = serve("transcribe")
    text, neither, both = transcribe.execute(
        transcribe.request(text_input=["这是什么？"]),
        transcribe.request(),
        transcribe.request(text_input=["x"], audio_bytes=[b"y"]),
    )
    assert text[0]["text"][0].decode() == "这是什么？"
    assert "neither" in message(neither[0])
    assert "both" in message(both[0])


def test_transcribe_says_what_its_decoder_says_and_hears_nothing_where_nothing_is(serve):
    plug(audio_decoder=serve("audio_decoder"), whisper=serve("whisper"))
    transcribe = serve("transcribe")
    empty, long, silent = transcribe.execute(
        transcribe.request(audio_bytes=[b""]),
        transcribe.request(audio_bytes=[SPOKEN.read_bytes()], language=["zh"]),
        transcribe.request(audio_bytes=[wav(np.zeros(8000, np.float32), 8000)]),
    )
    assert "empty" in message(empty[0])
    assert "'zh' is unknown" in message(long[0])
    assert silent[0]["text"][0] == b""
    assert silent[0]["duration"] == pytest.approx(1.0)


def test_a_multilingual_checkpoint_translates_into_english_and_an_english_one_says_its_name(serve):
    tts = serve("tts")
    [[french]] = tts.execute(tts.request(text=["Je voudrais une tasse de café."], language=["fr"]))
    sound, answers = french["audio_wav"][0], {}
    for checkpoint in ("whisper_multilingual", "whisper"):
        plug(audio_decoder=serve("audio_decoder"), whisper=serve("whisper", checkpoint=checkpoint))
        transcribe = serve("transcribe", checkpoint=checkpoint)
        requests = [transcribe.request(audio_bytes=[sound], task=[task]) for task in ("transcribe", "translate")]
        answers[checkpoint] = [answer for [answer] in transcribe.execute(*requests)]
    original, english = answers["whisper_multilingual"]
    assert "café" in words(original["text"][0].decode())
    assert (original["language"][0], english["language"][0]) == (b"fr", b"fr")  # the language that was spoken
    assert "coffee" in words(english["text"][0].decode())
    refused = answers["whisper"][1]
    assert refused.error().code() == INVALID
    assert message(refused) == "task 'translate' needs a multilingual checkpoint; 'whisper' transcribes English only"


@pytest.mark.parametrize("response_format", ["wav", "flac", "mp3", "opus", "aac", "pcm"])
def test_speech_of_every_format_is_heard_as_the_same_words(serve, response_format):
    plug(audio_decoder=serve("audio_decoder"), whisper=serve("whisper"))
    tts, transcribe = serve("tts"), serve("transcribe")
    [[spoken]] = tts.execute(tts.request(text=[SENTENCES[0]], response_format=[response_format]))
    sound = spoken["audio_bytes"][0]
    if response_format == "pcm":
        sound = wav(np.frombuffer(sound, "<i2"), int(spoken["sampling_rate"][0]))
    [[heard]] = transcribe.execute(transcribe.request(audio_bytes=[sound]))
    assert words(heard["text"][0].decode()) == words(SENTENCES[0])
    assert heard["duration"][0] == pytest.approx(len(spoken["audio"]) / spoken["sampling_rate"][0], abs=0.15)


def test_a_long_recording_is_heard_whole_and_in_pieces(serve):
    """Three sentences with long pauses between them: two windows, the same words alone, in a stream, with times."""
    tts = serve("tts")
    spoken = [tts.execute(tts.request(text=[sentence]))[0][0] for sentence in SENTENCES]
    sounds = [soxr.resample(speech["audio"], speech["sampling_rate"][0], SAMPLING_RATE) for speech in spoken]
    pause = np.zeros(14 * SAMPLING_RATE, np.float32)
    sound = wav(np.concatenate([part for each in sounds for part in (each, pause)]))
    plug(audio_decoder=serve("audio_decoder"), whisper=serve("whisper"))
    transcribe, stream = serve("transcribe"), serve("transcribe_stream")
    [[whole]] = transcribe.execute(transcribe.request(audio_bytes=[sound], word_timestamps=[True]))
    [pieces] = stream.execute(stream.request(audio_bytes=[sound]))
    assert words(whole["text"][0].decode()) == words(" ".join(SENTENCES))
    assert len(whole["word"]) == len(words(" ".join(SENTENCES)))
    assert len(whole["word_start"]) == len(whole["word_end"]) == len(whole["word"])
    for heard in (whole, *pieces):  # silent stretches too
        assert {len(heard[f"segment_{name}"]) for name in SEGMENT} == {len(heard["segment_text"])}
    starts = [0, *np.cumsum([len(each) / SAMPLING_RATE + 14 for each in sounds])[:2]]
    assert whole["segment_seek"] == pytest.approx([100 * max(0, start - 0.5) for start in starts], abs=50)
    assert all(json.loads(tokens)[0] >= FIRST_TIME for tokens in whole["segment_tokens"])
    assert (whole["segment_avg_logprob"] > -1).all()
    assert (whole["segment_avg_logprob"] < 0).all()
    assert ((whole["segment_no_speech_prob"] > 0) & (whole["segment_no_speech_prob"] < 0.6)).all()
    text = whole["segment_text"][0]
    assert whole["segment_compression_ratio"][0] == pytest.approx(len(text) / len(zlib.compress(text)))
    second = whole["word"].tolist().index(b"There")
    assert whole["word_start"][second] == pytest.approx(len(sounds[0]) / SAMPLING_RATE + 14, abs=0.7)
    assert [piece["index"][0] for piece in pieces] == list(range(len(pieces)))
    assert len(pieces) > 1
    assert [bool(piece["is_final"][0]) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    said = " ".join(piece["text"][0].decode() for piece in pieces if piece["text"][0])
    assert said == whole["text"][0].decode()
    assert pieces[-1]["end"][0] == pytest.approx(pieces[0]["duration"][0])
    assert len(pieces[0]["word"]) == 0


@pytest.mark.parametrize("sound", [b"", b"junk", wav(np.zeros(0, np.float32))])
def test_a_bad_sound_ends_its_stream_with_an_error_alone(serve, sound):
    plug(audio_decoder=serve("audio_decoder"), whisper=serve("whisper"))
    stream = serve("transcribe_stream")
    good, bad = stream.execute(stream.request(audio_bytes=[wav(tone(1))]), stream.request(audio_bytes=[sound]))
    assert not good[0].has_error()
    assert bad[0].error().code() == INVALID
    assert len(bad) == 1


def test_a_text_is_streamed_clause_by_clause_as_it_would_be_spoken_at_once(serve):
    tts, stream = serve("tts"), serve("speak_stream")
    plug(tts=tts)
    text = " ".join(SENTENCES)
    [[whole]] = tts.execute(tts.request(text=[text]))
    [pieces] = stream.execute(stream.request(text=[text], response_format=["mp3"]))
    assert [piece["index"][0] for piece in pieces] == [0, 1, 2]
    assert [piece["text"][0].decode() for piece in pieces] == list(SENTENCES)
    assert np.array_equal(np.concatenate([piece["audio"] for piece in pieces]), whole["audio"])
    for name in ("word_start", "word_end"):
        assert np.concatenate([piece[name] for piece in pieces]) == pytest.approx(whole[name], abs=0.01)
    assert b" ".join(word for piece in pieces for word in piece["word"]).decode() == text
    rate = pieces[0]["sampling_rate"][0]
    file = soundfile.SoundFile(io.BytesIO(pieces[0]["audio_bytes"][0]))
    assert (file.format, file.samplerate) == ("MP3", rate)
    assert file.frames == pytest.approx(len(pieces[0]["audio"]), abs=2400)


def test_a_stream_that_cannot_be_spoken_is_refused(serve):
    plug(tts=serve("tts"))
    stream = serve("speak_stream", max_characters="20")
    [[nothing], [long], [foreign]] = stream.execute(
        stream.request(text=["?!"]), stream.request(text=["a" * 21]), stream.request(text=["សួស្តី"])
    )
    assert [response.error().code() for response in (nothing, long, foreign)] == [INVALID] * 3
    assert "nothing to speak" in message(nothing)
    assert "21 characters, the limit is 20" in message(long)
    assert "voices and their languages: en_US-joe-medium (en); espeak-ng (116 languages, listed in" in message(foreign)


def test_an_answer_that_cannot_be_spoken_is_silence_with_the_reason(serve):
    plug(tts=serve("tts"))
    face = serve("speak_answer")
    [[good], [foreign]] = face.execute(face.request(text=["Yes."]), face.request(text=["សួស្តី"]))
    assert good["speech_error"][0] == b""
    assert good["word"].tolist() == [b"Yes."]
    assert soundfile.info(io.BytesIO(good["audio_wav"][0])).duration > 0.3
    assert "'ស', which no voice can read" in foreign["speech_error"][0].decode()
    assert soundfile.info(io.BytesIO(foreign["audio_wav"][0])).frames == 0


def test_what_of_markdown_is_not_read_is_said(serve):
    plug(tts=serve("tts"))
    text = "Yes, **two**:\n```\nx\n```\nand Да."
    face, stream = serve("speak_answer"), serve("speak_stream")
    [[answer]] = face.execute(face.request(text=[text]))
    assert answer["word"].tolist() == [b"Yes,", b"two:", b"and", "Да.".encode()]
    [pieces] = stream.execute(stream.request(text=[text]))
    assert [piece["text"][0].decode() for piece in pieces] == ["Yes, two:", "and Да."]
    assert [piece["voice"][0] for piece in pieces] == [b"en_US-joe-medium", b"espeak-ng"]
    notes = [answer["speech_error"][0], *(piece["note"][0] for piece in pieces)]
    assert notes == [b"not read aloud: a code block", b"not read aloud: a code block", b""]


def test_a_spoken_question_about_a_picture_is_answered_aloud_in_a_stream(serve):
    tts, whisper = serve("tts"), serve("whisper")
    plug(tts=tts, whisper=whisper, audio_decoder=serve("audio_decoder"), llava=serve("llava"))
    plug(transcribe=serve("transcribe"))
    [[question]] = tts.execute(tts.request(text=["What color is the circle in this picture?"]))
    assistant = serve("voice_assistant_stream")
    request = assistant.request(audio_bytes=[question["audio_wav"][0]], image_bytes=[[png(("red", "circle"))]])
    [[first, *pieces]] = assistant.execute(request)
    assert words(first["transcript"][0].decode()) == ["what", "color", "is", "the", "circle", "in", "this", "picture"]
    assert first["hear_ms"][0] > 0
    text = b"".join(piece["text_output"][0] for piece in pieces).decode()
    assert "red" in text.lower()
    assert pieces[-1]["finish_reason"][0] == b"stop"
    transcribe = serve("transcribe")
    sound = np.concatenate([piece["audio"] for piece in pieces])
    [[heard]] = transcribe.execute(transcribe.request(audio_bytes=[wav(sound, pieces[0]["sampling_rate"][0])]))
    assert words(heard["text"][0].decode()) == words(text)


def test_spoken_words_are_found_where_the_voice_says_them(serve):
    tts, aligner = serve("tts"), serve("forced_aligner")
    [[spoken]] = tts.execute(tts.request(text=[SENTENCES[0]]))
    sound = soxr.resample(spoken["audio"], spoken["sampling_rate"][0], SAMPLING_RATE)
    found, other, bad = aligner.execute(
        aligner.request(audio=[sound], text=[SENTENCES[0]]),
        aligner.request(audio=[sound], text=["Nobody ever said these words"]),
        aligner.request(audio=[sound], text=["?!"]),
    )
    assert found["word"].tolist() == spoken["word"].tolist()
    assert found["matches"][0]
    errors = np.abs(np.concatenate([found["start"] - spoken["word_start"], found["end"] - spoken["word_end"]]))
    assert np.median(errors) < 0.04
    assert errors.max() < 0.25
    assert not other["matches"][0]
    assert bad.error().code() == INVALID


def test_a_voice_that_does_not_know_its_times_asks_the_aligner(serve, monkeypatch):
    tts = serve("tts")
    plug(forced_aligner=serve("forced_aligner"))
    [[timed]] = tts.execute(tts.request(text=[SENTENCES[0]]))
    worker = tts.model.worker

    async def without_words(script, due):
        return dataclasses.replace(await worker(script, due), words=())

    monkeypatch.setattr(tts.model, "worker", without_words)
    [found], [chinese] = tts.execute(tts.request(text=[SENTENCES[0]]), tts.request(text=["你好。"]))
    assert found["word"].tolist() == timed["word"].tolist()
    assert np.median(np.abs(found["word_start"] - timed["word_start"])) < 0.04
    assert (len(chinese["word"]), len(chinese["audio"]) > 1000) == (0, True)  # the aligner cannot read it

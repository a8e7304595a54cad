"""/v1/audio/speech, transcriptions, translations, alignments and voices; a mock of the server behind."""

import base64
import io
import json

import av
import numpy as np
import openai
import pytest
from mock_tritone import answers, heard, speech

from tritone_client import InvalidInput

WAV = ("question.wav", b"RIFF....", "audio/wav")
CODECS = {"mp3": "mp3", "opus": "opus", "aac": "aac", "flac": "flac", "wav": "pcm_s16le"}


def tone_of(sound):
    """The codec, the length in seconds and the pitch in Hz of a sound file."""
    with av.open(io.BytesIO(sound)) as file:
        stream = file.streams.audio[0]
        codec, rate = stream.codec_context.name, stream.rate
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)]).astype(float)
    return codec, len(samples) / rate, np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples)


@pytest.mark.parametrize("wanted", CODECS)
def test_every_format_holds_what_was_spoken(gateway, wanted):
    answer = gateway.sdk.audio.speech.create(model="tts", voice="alloy", input="红色", response_format=wanted)
    codec, seconds, pitch = tone_of(answer.read())
    assert codec.startswith(CODECS[wanted])
    assert seconds == pytest.approx(0.5, abs=0.1)  # lossy formats begin and end with silence
    assert pitch == pytest.approx(440, abs=5)
    assert gateway.asked.text("text") == "红色"


def test_mp3_is_the_default_and_pcm_is_24_khz_of_16_bits(gateway):
    answer = gateway.sdk.audio.speech.create(model="tts-1", voice="nova", input="Hello.")
    assert answer.response.headers["content-type"] == "audio/mpeg"
    assert tone_of(answer.read())[0].startswith("mp3")
    pcm = gateway.sdk.audio.speech.create(model="tts", voice="nova", input="Hello.", response_format="pcm").read()
    samples = np.frombuffer(pcm, "<i2")
    assert len(samples) == pytest.approx(12_000, abs=50)
    assert np.argmax(np.abs(np.fft.rfft(samples))) * 24_000 / len(samples) == pytest.approx(440, abs=5)


def test_openais_voices_are_the_servers_choice_and_others_are_named(serve):
    gateway = serve(voices={"onyx": "joe"})

    def voice_of(name):
        gateway.sdk.audio.speech.create(model="tts", voice=name, input="Hello.", speed=1.5)
        return gateway.asked.text("voice") if "voice" in gateway.asked.inputs else None

    assert [voice_of(name) for name in ("alloy", "cedar", "onyx", "ada", {"id": "ada"})] == [
        None,
        None,
        "joe",
        "ada",
        "ada",
    ]
    assert gateway.asked.inputs["speed"][0, 0] == 1.5


def test_a_clause_is_sent_before_the_next_is_spoken(serve):
    came = []

    def speaking(request):
        for index in range(3):
            came.append(index)
            yield {"index": index, "text": "a", **speech("a", seconds=1.0)}

    body = {"model": "tts", "voice": "alloy", "input": "Hello.", "response_format": "pcm"}
    with serve(speaking).http.stream("POST", "/v1/audio/speech", json=body) as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        first = next(answer.iter_raw())
        assert len(first) >= 40_000
        assert len(came) < 3 or len(first) < 100_000


def test_speech_comes_as_events_too(gateway):
    body = {"model": "tts", "voice": "alloy", "input": "Hello.", "response_format": "pcm", "stream_format": "sse"}
    lines = gateway.http.post("/v1/audio/speech", json=body).text.split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"
    assert len(sound) / 48_000 == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": "a" * 4097}, "input"),
        ({"speed": 5}, "speed"),
        ({"response_format": "ogg"}, "response_format"),
        ({"instructions": "Whisper."}, "instructions"),
        ({"pitch": 2}, "pitch"),
    ],
)
def test_speech_that_cannot_be_made_is_refused_by_name(gateway, wish, param):
    body = {"model": "tts", "voice": "alloy", "input": "Hello.", **wish}
    answer = gateway.http.post("/v1/audio/speech", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_voice_that_the_server_has_not_is_an_error_with_a_status(serve):
    def unknown(request):
        raise InvalidInput("voice 'ada' is unknown; voices and their languages: joe (en)")
        yield

    with pytest.raises(openai.BadRequestError, match="joe") as caught:
        serve(unknown).sdk.audio.speech.create(model="tts", voice="ada", input="Hello.")
    assert caught.value.param == "voice"


def test_voices_are_listed(serve):
    voices = serve(voices={"chef": "joe"}).http.get("/v1/audio/voices").json()["data"]
    assert voices[0] == {"id": "joe", "object": "audio.voice", "name": "joe", "languages": ["en"]}
    names = [voice["id"] for voice in voices]
    assert names[:2] == ["joe", "espeak"]
    assert {"alloy", "marin", "chef"} <= set(names)
    assert len(names) == 16


def test_a_transcript_has_its_text_and_its_seconds(gateway):
    answer = gateway.sdk.audio.transcriptions.create(model="whisper-1", file=WAV, language="en", prompt="circle")
    assert (answer.text, answer.usage.seconds, answer.usage.type) == ("What color is it?", 2.5, "duration")
    assert gateway.asked.inputs["audio_bytes"][0, 0] == b"RIFF...."
    assert (gateway.asked.text("language"), gateway.asked.text("initial_prompt")) == ("en", "circle")


def test_new_names_for_hints_are_taken(gateway):
    gateway.sdk.audio.transcriptions.create(
        model="whisper", file=WAV, languages=["zh"], keywords=["圆", "方"], prompt="图"
    )
    assert (gateway.asked.text("language"), gateway.asked.text("initial_prompt")) == ("zh", "圆, 方, 图")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("text", "What color is it?\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:02,500\nWhat color is it?\n"),
        ("vtt", "WEBVTT\n\n1\n00:00:00.000 --> 00:00:02.500\nWhat color is it?\n"),
    ],
)
def test_transcripts_come_as_text_and_as_captions(gateway, wanted, said):
    answer = gateway.sdk.audio.transcriptions.create(model="whisper", file=WAV, response_format=wanted)
    assert answer.strip() == said.strip()


def test_words_come_with_their_times_where_they_are_asked_for(gateway):
    answer = gateway.sdk.audio.transcriptions.create(
        model="whisper", file=WAV, response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert [word.word for word in answer.words] == ["What", "color", "is", "it?"]
    assert answer.words[1].start == pytest.approx(0.625)
    assert (answer.segments, answer.duration, answer.language) == (None, 2.5, "en")
    assert gateway.asked.inputs["word_timestamps"][0, 0]


def test_segments_have_true_figures_and_are_what_verbose_json_has_unless_told(gateway):
    answer = gateway.sdk.audio.transcriptions.create(
        model="whisper", file=WAV, response_format="verbose_json", temperature=0.5
    )
    assert [segment.to_dict() for segment in answer.segments] == [
        {
            "id": 0,
            "start": 0.0,
            "end": 2.5,
            "text": "What color is it?",
            "tokens": [50364, 708, 2017],
            "seek": 50,
            "temperature": 0.25,
            "avg_logprob": -0.5,
            "compression_ratio": 1.5,
            "no_speech_prob": 0.125,
        }
    ]
    assert (answer.words, answer.usage.seconds) == (None, 2.5)
    assert gateway.asked.inputs["temperature"][0, 0] == 0.5


def test_a_transcript_streams_stretch_by_stretch(gateway):
    events = list(gateway.sdk.audio.transcriptions.create(model="whisper", file=WAV, stream=True))
    assert [event.type for event in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == "What color is it?"


def test_translation_is_into_english(serve):
    gateway = serve(lambda request: heard("A red circle."))
    answer = gateway.sdk.audio.translations.create(model="whisper", file=WAV)
    assert answer.text == "A red circle."
    assert gateway.asked.text("task") == "translate"


def test_a_whisper_that_knows_english_only_says_so(serve):
    def english(request):
        raise InvalidInput("task 'translate' needs a multilingual checkpoint; 'whisper' transcribes English only")

    with pytest.raises(openai.BadRequestError, match="multilingual") as caught:
        serve(english).sdk.audio.translations.create(model="whisper", file=WAV)
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "srt", "stream": True}, "stream"),
        ({"include": ["logprobs"]}, "include"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"languages": ["en", "zh"]}, "languages"),
        ({"known_speaker_names": ["Ann"]}, "known_speaker_names"),
        ({"extra_body": {"hotwords": "a"}}, "hotwords"),
    ],
)
def test_what_cannot_be_heard_so_is_refused_by_name(gateway, wish, param):
    with pytest.raises(openai.BadRequestError) as caught:
        gateway.sdk.audio.transcriptions.create(model="whisper", file=WAV, **wish)
    assert caught.value.param == param


def test_a_form_without_its_file_says_so(gateway):
    answer = gateway.http.post("/v1/audio/transcriptions", files={"model": (None, "whisper")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
    answer = gateway.http.post("/v1/audio/transcriptions", files={"model": (None, "whisper"), "file": (None, "text")})
    assert answer.json()["error"]["message"] == "'file' must be a file"
    assert gateway.http.post("/v1/audio/transcriptions", json={}).json()["error"]["code"] == "invalid_content_type"


def test_a_text_is_aligned(gateway):
    answer = gateway.http.post("/v1/audio/alignments", files={"file": WAV}, data={"text": "is red"}).json()
    assert answer["words"] == [
        {"word": "is", "start": 0.0, "end": 0.5, "score": pytest.approx(0.9)},
        {"word": "red", "start": 0.5, "end": 1.0, "score": pytest.approx(0.8)},
    ]
    assert (answer["matches"], answer["duration"]) == (True, 1.0)
    assert gateway.asked.text("text") == "is red"


def test_sound_is_counted(serve):
    gateway = serve(answers)
    gateway.sdk.audio.transcriptions.create(model="whisper", file=WAV)
    gateway.sdk.audio.speech.create(model="tts", voice="alloy", input="Hello.").read()
    page = gateway.http.get("/metrics").text
    assert 'tritone_gateway_audio_seconds_total{direction="heard"} 2.5' in page
    assert 'tritone_gateway_audio_seconds_total{direction="spoken"} 0.5' in page

"""The client's streams of speech, what a listener heard of them, and captions."""

import numpy as np
import pytest
from unit.client.test_client_verbs import WAV, sent

from tritone_client import AlignedWord, InferenceFailed, InvalidInput, ReplyChunk, Word, captions, heard

MS = {"hear_ms": 200.0, "think_ms": 50.0, "speak_ms": 100.0, "elapsed_ms": 350.0}
NO_WORDS = {"word": [], "word_start": [], "word_end": []}
TURN = [
    {"index": 0, "transcript": "What is it?", "text_output": "", "finish_reason": "", "audio": [], **NO_WORDS},
    {
        **{"index": 1, "transcript": "", "text_output": "It is, ", "finish_reason": "", "audio": [0.1, 0.2]},
        **{"word": ["It", "is,"], "word_start": [0.0, 0.2], "word_end": [0.2, 0.5]},
    },
    {
        **{"index": 2, "transcript": "", "text_output": "red.", "finish_reason": "stop", "audio": [0.3]},
        **{"word": ["red."], "word_start": [0.6], "word_end": [1.0]},
    },
]
COUNTS = {"prompt_tokens": 90, "image_tokens": 16, "completion_tokens": 3}
COMMON = {"duration": 1.5, "sampling_rate": 22_050, "audio_wav": WAV, "speech_error": "", **COUNTS, **MS}


def turn() -> list[dict]:
    return [{**response, **COMMON} for response in TURN]


def test_a_turn_comes_as_transcript_and_clauses_with_their_words(client_of):
    client, requests = client_of(turn())
    first, second, last = client.converse_stream(b"question", b"png", voice="joe", seed=3)
    assert sent(requests[0]) == {"audio_bytes": [b"question"], "image_bytes": [b"png"], "voice": [b"joe"], "seed": [3]}
    assert (first.transcript, first.text, first.speech, first.finish_reason) == ("What is it?", "", None, None)
    assert (second.transcript, second.text, second.index) == (None, "It is, ", 1)
    assert second.speech.audio.tolist() == np.float32([0.1, 0.2]).tolist()
    assert second.speech.words[1] == Word("is,", pytest.approx(0.2), 0.5)
    assert (last.finish_reason, last.latencies.speak) == ("stop", 100.0)
    assert (last.prompt_tokens, last.image_tokens, last.completion_tokens) == (90, 16, 3)


def test_a_silent_answer_is_asked_for(client_of):
    client, requests = client_of(turn())
    list(client.converse_stream(text="What?", aloud=False))
    assert sent(requests[0]) == {"text_input": [b"What?"], "modalities": [b"text"]}


def test_a_turn_that_breaks_off_is_an_error(client_of):
    client, _ = client_of(turn()[:2])
    with pytest.raises(InferenceFailed, match="broke off"):
        list(client.converse_stream(text="What?"))


def test_a_turn_is_spoken_or_typed(client_of):
    client, _ = client_of(turn())
    with pytest.raises(InvalidInput, match="either audio or text"):
        list(client.converse_stream())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, ""), (0.15, "It"), (0.4, "It is,"), (0.7, "It is,"), (0.9, "It is, red."), (9, "It is, red.")],
)
def test_an_answer_is_cut_at_the_word_that_was_heard(client_of, seconds, text):
    client, _ = client_of(turn())
    chunks: list[ReplyChunk] = list(client.converse_stream(text="What?"))
    assert heard(chunks, seconds) == text


def test_a_text_is_spoken_clause_by_clause(client_of):
    clause = {"sampling_rate": 22_050, "audio_wav": WAV, "voice": "joe", **NO_WORDS}
    pieces = [{"index": i, "text": text, "audio": [0.5], **clause} for i, text in enumerate(("One.", "Two."))]
    client, requests = client_of(pieces)
    assert [(chunk.index, chunk.text, chunk.speech.voice) for chunk in client.speak_stream("One. Two.", speed=2)] == [
        (0, "One.", "joe"),
        (1, "Two.", "joe"),
    ]
    assert requests[0].model == "speak_stream"


def test_another_format_is_asked_for_and_saved(client_of, tmp_path):
    clause = {"audio": [0.5], "sampling_rate": 22_050, "audio_wav": WAV, "voice": "joe", **NO_WORDS}
    client, requests = client_of({**clause, "audio_bytes": b"ID3"})
    speech = client.speak("Hi.", response_format="mp3")
    assert sent(requests[0])["response_format"] == [b"mp3"]
    speech.save(tmp_path / "hi.mp3")
    assert (tmp_path / "hi.mp3").read_bytes() == b"ID3"


WORDS = [
    Word("The", 0.0, 0.2),
    Word("circle", 0.2, 0.6),
    Word("is", 0.6, 0.7),
    Word("red.", 0.7, 1.25),
    Word("Yes.", 1.5, 2),
]


def test_captions_are_subrip():
    assert captions(WORDS).strip() == (
        "1\n00:00:00,000 --> 00:00:01,250\nThe circle is red.\n\n2\n00:00:01,500 --> 00:00:02,000\nYes."
    )


def test_captions_are_webvtt():
    assert captions(WORDS, "vtt").startswith("WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.250\nThe circle is red.")


def test_long_speech_is_cut_into_lines_that_can_be_read():
    words = [Word("wordy", i / 4, i / 4 + 0.2) for i in range(40)]
    lines = [line for line in captions(words).splitlines() if line.startswith("wordy")]
    assert len(lines) == 6
    assert all(len(line) <= 42 for line in lines)


def test_chinese_captions_have_no_spaces():
    words = [Word("图里", 0, 0.4), Word("有", 0.4, 0.6), Word("圆形。", 0.6, 1)]
    assert "图里有圆形。" in captions(words)


def test_align_reads_words_scores_and_whether_they_match(client_of):
    words = {"word": ["Hello,", "world."], "start": [0.0, 0.5], "end": [0.25, 1.0], "score": [0.5, 0.25]}
    client, requests = client_of({**words, "matches": True, "duration": 1.5})
    alignment = client.align(b"flac", "Hello, world.")
    assert sent(requests[0]) == {"audio_bytes": [b"flac"], "text": [b"Hello, world."]}
    assert alignment.words == (AlignedWord("Hello,", 0.0, 0.25, 0.5), AlignedWord("world.", 0.5, 1.0, 0.25))
    assert (alignment.matches, alignment.duration) == (True, 1.5)
    assert "Hello, world." in captions(alignment.words)

"""Long recordings are cut between words, heard piece by piece, and joined in order, in the recording's own time."""

import asyncio
import re
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soxr

from tritone import checkpoints
from tritone.media.audio import SAMPLING_RATE
from tritone.speech.listening import recording
from tritone.speech.listening.recording import Options
from tritone.speech.listening.transcript import Segment, Span, Transcript
from tritone.speech.listening.voice_activity import VoiceActivity
from tritone.speech.listening.whisper import LogMel, Whisper
from tritone.speech.speaking.tts import Speaker

SPOKEN = (Path(__file__).parents[3] / "data" / "spoken.txt").read_text(encoding="utf-8").splitlines()


def loud(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, int(seconds * SAMPLING_RATE)).astype(np.float32)


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * SAMPLING_RATE), np.float32)


async def always(audio):
    """Somebody speaks from the first sample to the last."""
    return [(0, len(audio))]


def segment(start, end, text):
    return Segment(start, end, text, (50363, 50413), 0, 0.0, -0.25, 1.5, 0.125)


def hear_all(audio, options, hear, at_once=4, voice=always):
    async def run():
        return [part async for part in recording.transcribe(recording.split(audio), options, voice, hear, at_once)]

    return asyncio.run(run())


@pytest.mark.parametrize("seconds", [0.1, 29.9, 30.0])
def test_a_window_is_one_piece(seconds: float) -> None:
    (piece,) = recording.split(loud(seconds))
    assert (piece.start, len(piece.audio)) == (0.0, int(seconds * SAMPLING_RATE))


@pytest.mark.parametrize("seconds", [30.1, 61.0, 200.0])
def test_pieces_are_the_whole_recording_and_fit_into_windows(seconds: float) -> None:
    audio = loud(seconds)
    pieces = recording.split(audio)
    np.testing.assert_array_equal(np.concatenate([piece.audio for piece in pieces]), audio)
    assert all(len(piece.audio) <= 30 * SAMPLING_RATE for piece in pieces)
    assert [piece.end for piece in pieces[:-1]] == pytest.approx([piece.start for piece in pieces[1:]])


def test_cuts_lie_in_the_pauses() -> None:
    audio = np.concatenate([loud(25.0), quiet(0.2), loud(20.0), quiet(0.3), loud(5.0)])
    first, second = recording.split(audio)
    assert 25.0 < first.end < 25.2
    assert second.end == pytest.approx(50.5)
    *_, last = recording.split(np.concatenate([audio, quiet(0.5), loud(10.0)]))
    assert last.start > 45.2


def test_a_long_pause_is_a_piece_of_its_own_and_a_short_one_is_not() -> None:
    pieces = recording.split(np.concatenate([loud(3.0), quiet(20.0), loud(4.0), quiet(2.0), loud(1.0)]))
    assert [piece.end for piece in pieces] == pytest.approx([3.5, 22.5, 30.0], abs=0.25)


def test_pieces_are_joined_in_order_in_the_recordings_time() -> None:
    async def hear(audio, options):
        seconds = len(audio) / SAMPLING_RATE
        await asyncio.sleep(0.02 if seconds > 20 else 0.0)  # the short last piece is done first
        return Transcript(f"{seconds:.0f}.", "en", (segment(0.0, 99.0, "x"),), (Span(1.0, 2.0, "y"),))

    audio = np.concatenate([loud(25.0), quiet(0.2), loud(25.0), quiet(0.2), loud(5.0)])
    parts = hear_all(audio, Options(language="en"), hear)
    heard = recording.join(parts)
    assert heard.text == "25. 25. 5."
    assert [word.start for word in heard.words] == pytest.approx([1.0, 26.1, 51.3], abs=0.1)
    assert [segment.end for segment in heard.segments] == pytest.approx([25.1, 50.3, 55.4], abs=0.1)
    assert [segment.seek for segment in heard.segments] == pytest.approx([0, 2510, 5030], abs=10)  # frames of 10 ms
    assert {segment.avg_logprob for segment in heard.segments} == {-0.25}


def test_silent_pieces_are_not_heard_and_the_first_language_is_that_of_all() -> None:
    languages = []

    async def hear(audio, options):
        languages.append(options.language)
        return Transcript("Hallo.", "de")

    parts = hear_all(np.concatenate([quiet(60.0), loud(70.0)]), Options(), hear)
    assert [part.text for part in parts[:2]] == ["", ""]
    assert recording.join(parts).language == "de"
    assert languages[0] == ""
    assert set(languages[1:]) == {"de"}


def test_no_more_pieces_are_under_way_than_allowed_and_leaving_stops_them() -> None:
    running, most, ended = 0, 0, []

    async def hear(audio, options):
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(0.01 if running == 1 else 0.05)
        finally:
            running -= 1
            ended.append(len(audio))
        return Transcript("x", "en")

    async def leave_after_the_first():
        parts = recording.transcribe(recording.split(loud(600.0)), Options(language="en"), always, hear, 3)
        await anext(parts)
        await parts.aclose()
        await asyncio.sleep(0.01)

    asyncio.run(leave_after_the_first())
    assert most == 3
    assert running == 0
    assert len(ended) <= 4


def test_words_that_a_window_left_out_are_heard_again_from_where_it_ended() -> None:
    heard_from = []

    async def hear(audio, options):
        """Stops after six seconds at the most."""
        seconds = len(audio) / SAMPLING_RATE
        heard_from.append(10.0 - seconds)
        return Transcript("said.", "en", (segment(0.0, min(seconds, 6.0), "said."),))

    heard = recording.join(hear_all(loud(10.0), Options(language="en"), hear))
    assert heard_from == [0.0, 6.0]
    assert [(span.start, span.end, span.seek) for span in heard.segments] == [(0.0, 6.0, 0), (6.0, 10.0, 600)]
    assert heard.text == "said. said."


def test_what_is_quiet_behind_the_last_word_is_not_heard_again() -> None:
    calls = []

    async def hear(audio, options):
        calls.append(len(audio))
        return Transcript("said.", "en", (segment(0.0, 3.0, "said."),))

    for rest in (0.01 * loud(3.0), np.concatenate([loud(0.3), quiet(1.0)])):  # a murmur; the last word's own end
        hear_all(np.concatenate([loud(3.0), rest]), Options(language="en"), hear)
    assert len(calls) == 2


def said_at(*spoken):
    async def voice(audio):
        return [(int(first * SAMPLING_RATE), int(last * SAMPLING_RATE)) for first, last in spoken]

    return voice


def test_only_where_somebody_speaks_is_heard_with_a_margin_and_in_the_recordings_time() -> None:
    lengths = []

    async def hear(audio, options):
        lengths.append(len(audio) / SAMPLING_RATE)
        return Transcript("said.", "en", (segment(0.5, lengths[-1], "said."),), (Span(0.5, 0.9, "said."),))

    voice = said_at((2.0, 3.0), (4.0, 5.0), (15.0, 16.0))
    heard = recording.join(hear_all(loud(20.0), Options(language="en"), hear, voice=voice))
    assert lengths == [4.0, 2.0]  # a pause of a second belongs to the words around it, one of ten does not
    assert [(span.start, span.end, span.seek) for span in heard.segments] == [(2.0, 5.5, 150), (15.0, 16.5, 1450)]
    assert [span.start for span in heard.words] == [2.0, 15.0]
    lengths.clear()
    assert recording.join(hear_all(loud(20.0), Options(), hear, voice=said_at())) == Transcript()
    assert lengths == []


@pytest.mark.parametrize("end", [0.02, 0.5, 3.0])
def test_a_loop_cannot_make_a_piece_be_heard_for_ever(end: float) -> None:
    starts = []

    async def hear(audio, options):
        starts.append(30.0 - len(audio) / SAMPLING_RATE)
        return Transcript("again.", "en", (segment(0.0, end, "again."),))

    hear_all(loud(30.0), Options(language="en"), hear)
    assert len(starts) == recording.MOST_PASSES
    assert min(np.diff(starts)) >= recording.SHORTEST_STEP_SECONDS


def test_music_behind_the_last_word_is_not_heard_again() -> None:
    calls = []

    async def hear(audio, options):
        calls.append(len(audio))
        return Transcript("said.", "en", (segment(0.0, 2.0, "said."),))

    hear_all(loud(9.0), Options(language="en"), hear, voice=said_at((0.0, 2.0), (5.0, 5.3)))
    assert len(calls) == 1


@pytest.mark.parametrize("decibels", [-60.0, -40.0, 0.0, 40.0])
def test_speech_is_brought_to_a_loudness_that_can_be_heard(decibels: float) -> None:
    speech = 0.3 * loud(1.0)
    heard = recording.levelled(np.float32(10 ** (decibels / 20)) * speech)
    loudness = float(np.sqrt(np.mean(heard**2)))
    assert recording.QUIETEST <= loudness <= recording.LOUDEST
    if not decibels:
        assert heard is not None
        np.testing.assert_array_equal(heard, speech)


def test_a_click_does_not_decide_how_loud_a_recording_is() -> None:
    sound = 0.003 * loud(3.0)
    sound[100] = 0.3
    assert np.sqrt(np.mean(recording.levelled(sound)[8_000:] ** 2)) > 0.01


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


def test_five_minutes_of_speech_lose_and_double_no_word_at_the_seams() -> None:
    speaker = Speaker.load([checkpoints.path("tts")], "cpu", 400)
    whisper = Whisper.load(checkpoints.path("whisper"), "cpu", "fastest")
    log_mel = LogMel.load(checkpoints.path("whisper"))
    sentences, parts = [], []
    speeches = speaker.speak([speaker.prepare(text) for text in SPOKEN])
    sounds = {
        text: soxr.resample(speech.audio, speech.sampling_rate, SAMPLING_RATE)
        for text, speech in zip(SPOKEN, speeches, strict=True)
    }
    while sum(map(len, parts)) < 300 * SAMPLING_RATE:
        text = SPOKEN[len(sentences) % len(SPOKEN)]
        sentences.append(text)
        parts += [sounds[text], quiet(0.25)]

    async def hear(audio, options):
        (heard,) = whisper.transcribe([whisper.prepare(log_mel(audio), duration=len(audio) / SAMPLING_RATE)])
        return heard

    activity = VoiceActivity.load()

    async def voice(audio):
        return activity.spoken(audio)

    heard = recording.join(hear_all(np.concatenate(parts), Options(), hear, voice=voice))
    spoken_words, heard_words = words(" ".join(sentences)), words(heard.text)
    assert jiwer.wer(" ".join(spoken_words), " ".join(heard_words)) <= 0.05
    # A seam that loses or doubles a sentence would show as a run of words; single words are Whisper's own mistakes.
    alignment = jiwer.process_words(" ".join(spoken_words), " ".join(heard_words)).alignments[0]
    lost = [chunk.ref_end_idx - chunk.ref_start_idx for chunk in alignment if chunk.type == "delete"]
    doubled = [chunk.hyp_end_idx - chunk.hyp_start_idx for chunk in alignment if chunk.type == "insert"]
    assert max([0, *lost, *doubled]) <= 2
    starts = [segment.start for segment in heard.segments]
    assert starts == sorted(starts)
    assert heard.segments[-1].end <= sum(map(len, parts)) / SAMPLING_RATE

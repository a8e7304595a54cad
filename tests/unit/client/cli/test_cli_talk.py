"""`tritone talk` and the microphone of `listen`: turns, answers that are played, and who speaks into them."""

import json
import threading

import numpy as np
import pytest
import soundfile
from unit.client.test_client_microphone import RATE, SENTENCES, silence, speech

from tritone_client import InvalidInput

WAV_RATE = 100  # Hz: an answer's clause of 100 samples lasts a second
CLAUSE = np.full(100, 0.5, np.float32)


def clause(index, text, *, first="", last=False, words=()):
    return {
        "index": index, "transcript": first, "text_output": text, "finish_reason": "stop" if last else "",
        "audio": CLAUSE, "sampling_rate": WAV_RATE, "audio_wav": b"", "speech_error": "",
        "word": [word for word, *_ in words], "word_start": [start for _, start, _ in words],
        "word_end": [end for *_, end in words], "hear_ms": 1.0, "think_ms": 2.0, "speak_ms": 3.0, "elapsed_ms": 6.0,
        "prompt_tokens": 9, "image_tokens": 0, "completion_tokens": index + 4, "duration": 2.5,
    }  # fmt: skip


ONE = [("It", 0.0, 0.4), ("is", 0.4, 0.6), ("red,", 0.6, 1.0)]
TWO = [("and", 1.0, 1.4), ("round.", 1.4, 2.0)]


def answer(request):
    yield clause(0, "It is red,", first="它是什么？", words=ONE)
    yield clause(1, " and round.", last=True, words=TWO)


class Loud:
    """A loudspeaker on which nothing ends by itself: `heard_s` of it have been heard when it is stopped."""

    def __init__(self, heard_s=0.0, lasts=False):
        self.clauses, self.stops, self.heard_s, self.lasts = 0, 0, heard_s, lasts
        self.playing = threading.Event()

    def play(self, speech):
        assert speech.audio.tolist() == CLAUSE.tolist()
        self.clauses += 1
        self.playing.set()

    def is_silent(self):
        return not self.lasts or self.stops > 0

    def stop(self):
        self.stops += 1
        return self.heard_s


@pytest.fixture
def files(tmp_path):
    (tmp_path / "问题.wav").write_bytes(b"a question")
    (tmp_path / "图.png").write_bytes(b"a picture")
    return tmp_path / "问题.wav", tmp_path / "图.png"


def test_a_question_in_a_file_is_answered_aloud(tritone, files):
    loud = Loud()
    run = tritone(answer, "talk", *files, "--voice", "joe", "--system", "简短。", loudspeaker=lambda: loud)
    assert (run.code, run.said, run.about) == (0, "It is red, and round.\n", "› 它是什么？\n")
    assert loud.clauses == 2
    assert run.requests[0].model == "voice_assistant_stream"
    sent = run.sent()
    assert json.loads(sent.pop("messages")[0]) == [{"role": "system", "content": "简短。"}]
    assert sent == {"audio_bytes": [b"a question"], "image_bytes": [b"a picture"], "voice": [b"joe"]}


def test_its_sound_is_kept_in_a_file(tritone, files, tmp_path):
    run = tritone(answer, "talk", *files, "-o", tmp_path / "a.wav")
    assert run.code == 0
    sound, rate = soundfile.read(tmp_path / "a.wav")
    assert (len(sound), rate) == (200, WAV_RATE)
    assert sound == pytest.approx(0.5, abs=1e-4)


def test_without_a_loudspeaker_the_answer_can_be_read(tritone, files):
    run = tritone(answer, "talk", *files)
    assert (run.code, run.said) == (0, "It is red, and round.\n")
    assert "this machine plays no sound" in run.about


def test_json_lines(tritone, files):
    first, last = map(json.loads, tritone(answer, "talk", *files, "--json", loudspeaker=Loud).said.splitlines())
    assert (first["transcript"], first["text"], first["finish_reason"]) == ("它是什么？", "It is red,", None)
    assert first["latencies"] == {"hear": 1.0, "think": 2.0, "speak": 3.0, "elapsed": 6.0}
    assert last["words"][1] == {"text": "round.", "start": 1.4, "end": 2.0}
    assert (last["transcript"], last["duration"], last["finish_reason"]) == (None, 1.0, "stop")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["q.wav", "-o", "a.mp3"], "a.mp3 must end in .wav"),
        (["q.wav", "-o", "-"], "the file and the text about it both go to standard output: name a file by -o"),
        (["-o", "a.wav"], "-o keeps the answer to a question in a file, not a conversation: name the question"),
        ([], "this machine plays no sound: it is a test"),
    ],
)
def test_what_cannot_be_heard_or_kept_is_refused(tritone, arguments, sentence):
    run = tritone(answer, "talk", *arguments)
    assert (run.code, run.requests) == (2, [])
    assert run.about.splitlines()[-1] == f"tritone: {sentence}"


def blocks_of(*sounds):
    sound = np.concatenate(sounds)
    yield from (sound[place : place + 480] for place in range(0, len(sound), 480))


FIRST, SECOND = map(speech, SENTENCES)


def test_turns_of_the_microphone_are_written_down(tritone):
    def hear(request):
        stretch = {"language": "en", "duration": 2.0, "segment_start": [], "segment_end": [], "segment_text": []}
        heard = {"word": [], "word_start": [], "word_end": [], "index": 0, "end": 2.0, "is_final": True}
        return [stretch | heard | {"text": f"turn {len(sounds)}" if sounds.append(request) is None else ""}]

    sounds = []

    def microphone():
        yield from blocks_of(silence(1), FIRST, silence(1.5), SECOND, silence(1.5))

    run = tritone(hear, "listen", "--microphone", microphone=microphone)
    assert (run.code, run.said) == (0, "turn 1\nturn 2\n")
    wav = sounds[0].inputs["audio_bytes"][0, 0]
    assert wav[:4] == b"RIFF"
    assert len(wav) / 2 / RATE == pytest.approx(len(FIRST) / RATE + 1, abs=0.5)


def test_a_conversation_remembers_what_was_said(tritone, files):
    def microphone():
        yield from blocks_of(silence(1), FIRST, silence(1.5))
        while not heard.stops:  # the first answer is over, and was remembered
            yield silence(0.03)
        yield from blocks_of(silence(1), SECOND, silence(1.5))

    heard = Loud()
    run = tritone(answer, "talk", "--image", files[1], microphone=microphone, loudspeaker=lambda: heard)
    assert (run.code, run.said) == (0, "It is red, and round.\n" * 2)
    question = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "它是什么？"}]}
    assert json.loads(run.sent(1)["messages"][0]) == [
        question,
        {"role": "assistant", "content": "It is red, and round."},
    ]
    assert [run.sent(turn)["image_bytes"] for turn in (0, 1)] == [[b"a picture"]] * 2


def test_speaking_into_an_answer_stops_it_and_only_what_was_heard_is_remembered(tritone):
    """The answer would never end: its second clause waits until the first request has been left."""
    closed, requests = threading.Event(), []

    def endless(request):
        requests.append(request)
        if len(requests) > 1:
            yield from answer(request)
            return
        try:
            yield clause(0, "It is red,", first="它是什么？", words=ONE)
            assert loud.stopped.wait(10)
            yield clause(1, " and round.", words=TWO)
            yield clause(2, " and it never ends.", words=[])
        finally:
            closed.set()

    class Stopping(Loud):
        def __init__(self):
            super().__init__(heard_s=0.55, lasts=True)
            self.stopped = threading.Event()

        def stop(self):
            self.stopped.set()
            return super().stop()

    loud = Stopping()

    def microphone():
        yield from blocks_of(silence(1), FIRST, silence(1.5))
        assert loud.playing.wait(10)
        yield from blocks_of(silence(0.5), SECOND[: RATE // 2])
        assert loud.stops == 1  # before the second turn is over
        yield from blocks_of(SECOND[RATE // 2 :], silence(1.5))

    run = tritone(endless, "talk", microphone=microphone, loudspeaker=lambda: loud)
    assert run.code == 0
    assert closed.wait(10)
    assert "never ends" not in run.said
    assert "(interrupted; heard: It is)" in run.about
    history = json.loads(run.sent(1)["messages"][0])
    assert history[1] == {"role": "assistant", "content": "It is"}


def test_words_that_cannot_be_heard_do_not_end_a_conversation(tritone):
    asked = []

    def deaf_at_first(request):
        asked.append(request)
        if len(asked) == 1:
            raise InvalidInput("no speech was found in the recording")
        return answer(request)

    def microphone():
        yield from blocks_of(silence(1), FIRST, silence(2))
        while not asked:
            yield silence(0.03)
        yield from blocks_of(silence(1), SECOND, silence(1.5))

    run = tritone(deaf_at_first, "talk", microphone=microphone, loudspeaker=Loud)
    assert (run.code, run.said) == (0, "It is red, and round.\n")
    assert "tritone: no speech was found in the recording" in run.about

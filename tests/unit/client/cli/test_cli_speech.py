"""`tritone listen`, `say` and `align`: words, files, captions and pipes."""

import json

import numpy as np
import pytest

from tritone_client import Speech

STRETCHES = [
    {
        "text": "Hello.", "language": "en", "duration": 3.5, "segment_start": [0.0], "segment_end": [1.0],
        "segment_text": ["Hello."], "word": ["Hello."], "word_start": [0.25], "word_end": [0.75], "index": 0,
        "end": 1.0, "is_final": False,
    },
    {
        "text": "你好。", "language": "en", "duration": 3.5, "segment_start": [2.0], "segment_end": [3.0],
        "segment_text": ["你好。"], "word": ["你好。"], "word_start": [2.1], "word_end": [3.0], "index": 1, "end": 3.5,
        "is_final": True,
    },
]  # fmt: skip
ROWS = "0.25\t0.75\tHello.\n2.10\t3.00\t你好。\n"
SRT = "1\n00:00:00,250 --> 00:00:00,750\nHello.\n\n2\n00:00:02,100 --> 00:00:03,000\n你好。\n"
SOUND = np.array([0.0, 0.5, -0.5, 0.25], np.float32)
WAV = b"RIFF\xff a sound"
SPOKEN = {
    "audio": SOUND, "sampling_rate": 4, "audio_wav": WAV, "word": ["你好。"], "word_start": [0.25], "word_end": [0.75],
    "voice": "joe", "note": "not read aloud: a table",
}  # fmt: skip
ALIGNED = {"word": ["Hello.", "你好。"], "start": [0.25, 2.1], "end": [0.75, 3.0], "score": [0.9, 0.5], "duration": 3.5}


def hear(request):
    return STRETCHES


def speak(request):
    encoded = {"audio_bytes": b"an mp3"} if "response_format" in request.inputs else {}
    if request.model == "tts":
        return SPOKEN | encoded
    return [SPOKEN | {"index": number, "text": text} for number, text in enumerate(("你好。", "再见。"))]


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "录音.wav"
    path.write_bytes(b"a recording")
    return path


class TestListen:
    def test_a_line_for_each_stretch(self, tritone, recording):
        run = tritone(hear, "listen", recording, "--language", "en", "--translate", "--prompt", "Tritone")
        assert (run.code, run.said, run.about) == (0, "Hello.\n你好。\n", "")
        assert run.sent() == {
            "audio_bytes": [b"a recording"], "language": [b"en"], "task": [b"translate"],
            "initial_prompt": [b"Tritone"],
        }  # fmt: skip

    def test_words_with_their_times(self, tritone, recording):
        run = tritone(hear, "listen", recording, "--words")
        assert run.said == ROWS
        assert run.sent()["word_timestamps"] == [True]

    def test_a_recording_from_a_pipe(self, tritone):
        assert tritone(hear, "listen", "-", stdin=b"RIFF\xff").sent() == {"audio_bytes": [b"RIFF\xff"]}

    def test_json_lines_as_it_is_heard(self, tritone, recording):
        first, second = map(json.loads, tritone(hear, "listen", recording, "--json", "--words").said.splitlines())
        assert (first["text"], first["end"], first["is_final"]) == ("Hello.", 1.0, False)
        assert second["words"] == [{"text": "你好。", "start": 2.1, "end": 3.0}]

    def test_one_json_object_of_the_whole(self, tritone, recording):
        found = json.loads(tritone(hear, "listen", recording, "--format", "json").said)
        assert (found["text"], found["language"], found["duration"]) == ("Hello. 你好。", "en", 3.5)
        assert [segment["text"] for segment in found["segments"]] == ["Hello.", "你好。"]

    def test_captions(self, tritone, recording):
        run = tritone(hear, "listen", recording, "--format", "srt")
        assert run.said.strip() == SRT.strip()
        assert run.sent()["word_timestamps"] == [True]
        assert tritone(hear, "listen", recording, "--format", "vtt").said.startswith("WEBVTT")

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ([], "name one source: a recording (- is standard input) or --microphone"),
            (["a.wav", "--microphone"], "name one source: a recording (- is standard input) or --microphone"),
            (["--microphone", "--format", "srt"], "--format is srt, but a microphone has no end: take text, or --json"),
            (["--microphone"], "this machine plays no sound: it is a test"),
        ],
    )
    def test_what_has_no_sound_is_refused(self, tritone, arguments, sentence):
        run = tritone(hear, "listen", *arguments)
        assert (run.code, run.about, run.requests) == (2, f"tritone: {sentence}\n", [])


class Loud:
    """A loudspeaker that remembers."""

    def __init__(self):
        self.played = []

    def play(self, speech: Speech):
        self.played.append(speech.audio.tolist())

    def is_silent(self):
        return True

    def stop(self):
        return 0.0


class TestSay:
    def test_into_a_file(self, tritone, tmp_path):
        out = tmp_path / "你好.wav"
        run = tritone(speak, "say", "你好。", "-o", out, "--voice", "joe", "--speed", 1.5, "--language", "zh")
        assert (run.code, run.said, run.about) == (0, "", "not read aloud: a table\n")
        assert out.read_bytes() == WAV
        assert run.sent() == {"text": ["你好。".encode()], "voice": [b"joe"], "speed": [1.5], "language": [b"zh"]}

    @pytest.mark.parametrize("arguments", [["-o", "{}/a.mp3"], ["-o", "{}/a.dat", "--format", "mp3"]])
    def test_in_the_format_of_its_name_or_of_the_option(self, tritone, tmp_path, arguments):
        names = [word.format(tmp_path) for word in arguments]
        assert tritone(speak, "say", "Hi.", *names).sent()["response_format"] == [b"mp3"]
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an mp3"]

    def test_through_pipes_both_ways(self, tritone):
        run = tritone(speak, "say", "-", "-o", "-", stdin="\ufeff你好。\n".encode())
        assert run.result.stdout_bytes == WAV
        assert run.sent() == {"text": ["你好。".encode()]}

    def test_words_and_json(self, tritone, tmp_path):
        out = tmp_path / "out.wav"
        assert tritone(speak, "say", "Hi.", "-o", out, "--words").said == "0.25\t0.75\t你好。\n"
        assert json.loads(tritone(speak, "say", "Hi.", "-o", out, "--json").said) == {
            "file": str(out), "duration": 1.0, "sampling_rate": 4, "voice": "joe", "note": "not read aloud: a table",
            "words": [{"text": "你好。", "start": 0.25, "end": 0.75}],
        }  # fmt: skip

    def test_aloud_where_no_file_is_named(self, tritone):
        loud = Loud()
        run = tritone(speak, "say", "你好。再见。", loudspeaker=lambda: loud)
        assert (run.code, run.requests[0].model) == (0, "speak_stream")
        assert loud.played == [SOUND.tolist()] * 2

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ([], "this machine plays no sound: it is a test: name a file by -o hello.wav, or -o - for standard output"),
            (["-o", "a.txt"], "a.txt must end in one of .wav, .flac, .mp3, .opus, .ogg: or say --format"),
            (["-o", "-", "--json"], "the file and the text about it both go to standard output: name a file by -o"),
            (["-o", "-", "--words"], "the file and the text about it both go to standard output: name a file by -o"),
            (["-o", "/nowhere/a.wav"], "/nowhere/a.wav cannot be written: there is no folder /nowhere"),
            (["-o", "/tmp"], "/tmp is a folder: name a file in it"),
        ],
    )
    def test_what_goes_nowhere_is_refused_before_it_is_spoken(self, tritone, arguments, sentence):
        run = tritone(speak, "say", "Hi.", *arguments)
        assert (run.code, run.about, run.requests) == (2, f"tritone: {sentence}\n", [])


class TestAlign:
    def test_a_table(self, tritone, recording):
        run = tritone(lambda _: ALIGNED | {"matches": True}, "align", recording, "Hello. 你好。")
        assert (run.said, run.about) == ("0.25\t0.75\tHello.\t0.90\n2.10\t3.00\t你好。\t0.50\n", "")
        assert run.sent() == {"audio_bytes": [b"a recording"], "text": ["Hello. 你好。".encode()]}

    def test_captions_and_json(self, tritone, recording):
        def align(request):
            return ALIGNED | {"matches": False}

        run = tritone(align, "align", recording, "-", "--format", "srt", stdin=b"Hello.")
        assert run.said.strip() == SRT.strip()
        assert run.about == "tritone: the recording says something else, so the times mean little\n"
        found = json.loads(tritone(align, "align", "-", "Hello.", "--json", stdin=b"sound").said)
        assert found["words"][1] == {"text": "你好。", "start": 2.1, "end": 3.0, "score": 0.5}
        assert found["matches"] is False

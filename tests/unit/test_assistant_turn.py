"""A turn of the assistant: transcript first, clauses in order while the next is thought, and always the text."""

import asyncio
import base64
import json
import time
from contextlib import aclosing

import numpy as np
import pytest

from tritone.assistant import Assistant, Limits
from tritone.errors import InvalidInput, TritoneError

CLAUSES = ["The circle is red, ", "the star is blue, ", "and that is all."]
RATE = 1_000
BROKEN = base64.b64encode(b"no sound")


class Refused(TritoneError):
    refused = True


class Models:
    """Stand-ins for transcribe, llava and tts that note when they are called."""

    def __init__(self, clauses=CLAUSES, heard="What is it?", think_s=0.0, speak_s=0.0, refuse="~") -> None:
        self.clauses, self.heard, self.think_s, self.speak_s, self.refuse = clauses, heard, think_s, speak_s, refuse
        self.calls: list[tuple[str, dict]] = []
        self.sounds: dict[bytes, str] = {}  # what is heard, of each that is not `heard`
        self.stopped = False

    async def call(self, model, inputs, outputs):
        self.calls.append((model, inputs))
        if model == "transcribe":
            if inputs["audio_bytes"] == BROKEN:
                raise Refused("audio_bytes is no readable WAV file")
            text = inputs["text_input"] or self.sounds.get(inputs["audio_bytes"], self.heard)
            return {"text": np.array([text.encode()], object), "duration": np.float32([1.5])}
        await asyncio.sleep(self.speak_s)
        if self.refuse in inputs["text"]:
            raise Refused(f"no voice can read {self.refuse}")
        words = np.array([word.encode() for word in inputs["text"].split()], object)
        starts = np.arange(len(words), dtype=np.float32) / 10
        sound = np.full(100 * len(words), 0.5, np.float32)
        spoken = {"audio": sound, "sampling_rate": np.int32([RATE]), "voice": np.array([b"joe"], object)}
        return {**spoken, "word": words, "word_start": starts, "word_end": starts + np.float32(0.1)}

    async def call_stream(self, model, inputs, outputs):
        self.calls.append((model, inputs))
        try:
            for number, clause in enumerate(self.clauses):
                await asyncio.sleep(self.think_s)
                reason = "stop" if number == len(self.clauses) - 1 else ""
                texts = {"text_output": clause, "finish_reason": reason}
                arrays = {name: np.array([text.encode()], object) for name, text in texts.items()}
                counts = {"prompt_tokens": 9, "completion_tokens": number + 1, "image_tokens": 4}
                yield arrays | {name: np.int32([count]) for name, count in counts.items()}
        except GeneratorExit:
            self.stopped = True
            raise

    def spoken(self) -> list[str]:
        return [inputs["text"] for model, inputs in self.calls if model == "tts"]


def answer(models: Models, ahead: int = 2, max_lead_s: float = 60.0, **inputs) -> list[dict]:
    async def run() -> list[dict]:
        assistant = Assistant(models.call, models.call_stream, Limits(ahead, max_lead_s))
        return [row async for row in assistant.answer(**inputs)]

    return asyncio.run(run())


def test_the_transcript_comes_first_and_the_clauses_in_order() -> None:
    models = Models()
    rows = answer(models, audio_bytes=b"sound", image_bytes=[b"png"], voice="joe", speed=1.5, max_tokens=9)
    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    assert [row["transcript"] for row in rows] == ["What is it?", "", "", ""]
    assert "".join(row["text_output"] for row in rows) == "".join(CLAUSES)
    assert [row["finish_reason"] for row in rows] == ["", "", "", "stop"]
    assert models.spoken() == ["The circle is red,", "the star is blue,", "and that is all."]
    asked = dict(models.calls)["llava"]
    assert (asked["text_input"], asked["stream_unit"], asked["max_tokens"]) == ("What is it?", "clause", 9)
    assert asked["image_bytes"] == [b"png"]
    assert dict(models.calls)["tts"]["speed"] == np.float32(1.5)


def test_what_the_answer_is_to_look_like_reaches_the_language_model() -> None:
    models = Models(clauses=['{"答案": "红色的圆形", ', '"sure": true}'])
    wanted = '{"type": "json_object"}'
    rows = answer(models, text_input="什么？", response_format=wanted, modalities=["text"])
    assert [inputs["response_format"] for model, inputs in models.calls if model == "llava"] == [wanted]
    assert "".join(row["text_output"] for row in rows) == '{"答案": "红色的圆形", "sure": true}'


def test_clauses_that_come_together_are_spoken_one_by_one() -> None:
    models = Models(["".join(CLAUSES[:2]), CLAUSES[2]])
    rows = answer(models, text_input="What?")
    assert [row["text_output"] for row in rows[1:]] == CLAUSES
    assert [row["finish_reason"] for row in rows[1:]] == ["", "", "stop"]


def test_word_times_count_from_the_start_of_the_answer() -> None:
    rows = answer(Models(), text_input="What?")
    starts = [start for row in rows for start in row["word_start"]]
    assert starts == pytest.approx([i / 10 for i in range(12)])
    assert [word for row in rows for word in row["word"]] == "".join(CLAUSES).split()


def test_the_next_clause_is_thought_while_one_is_spoken() -> None:
    started = time.monotonic()
    rows = answer(Models(think_s=0.1, speak_s=0.1), text_input="What?")
    took = time.monotonic() - started
    assert took < 0.55  # one after another: 0.6 s
    assert rows[1]["elapsed_ms"] < 300
    assert rows[1]["think_ms"] >= 100
    assert rows[1]["speak_ms"] >= 100


def test_a_clause_that_no_voice_can_speak_arrives_as_text_with_the_reason() -> None:
    rows = answer(Models(["Да ~, ", "yes."]), text_input="What?")
    assert [row["text_output"] for row in rows[1:]] == ["Да ~, ", "yes."]
    assert rows[1]["speech_error"] == "no voice can read ~"
    assert len(rows[1]["audio"]) == 0
    assert len(rows[2]["audio"]) == 100
    assert rows[2]["speech_error"] == ""


def test_marks_and_code_are_not_spoken_but_written_and_that_is_said() -> None:
    clauses = ["**Two, ", "stars**:\n", "```\n", "x = 1, ", "y\n", "```\n", "Done."]
    models = Models(clauses)
    rows = answer(models, text_input="What?")
    assert "".join(row["text_output"] for row in rows) == "".join(clauses)
    assert models.spoken() == ["Two,", "stars:", "Done."]
    assert [row["speech_error"] for row in rows if row["speech_error"]] == ["not read aloud: a code block"]
    assert not any(row["speech_error"] for row in answer(Models(clauses), text_input="?", modalities=["text"]))


def test_an_answer_in_text_alone_is_not_spoken() -> None:
    models = Models()
    rows = answer(models, text_input="What?", modalities=["text"])
    assert models.spoken() == []
    assert "".join(row["text_output"] for row in rows) == "".join(CLAUSES)


def test_silence_is_answered_with_silence() -> None:
    models = Models(heard=" ")
    [row] = answer(models, audio_bytes=b"silence")
    assert (row["transcript"], row["text_output"], row["finish_reason"]) == (" ", "", "stop")
    assert [model for model, _ in models.calls] == ["transcribe"]


def test_pieces_without_words_are_not_spoken() -> None:
    models = Models(["Yes. ", "… "])
    answer(models, text_input="What?")
    assert models.spoken() == ["Yes."]


def test_unknown_modalities_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"modalities are \['smell'\], must be of text, audio"):
        answer(Models(), text_input="What?", modalities=["smell"])


def test_a_listener_who_leaves_stops_the_language_model_and_the_voice() -> None:
    models = Models(["word, "] * 50, think_s=0.01, speak_s=0.02)

    async def run() -> None:
        assistant = Assistant(models.call, models.call_stream, Limits(2, 60.0))
        async with aclosing(assistant.answer(text_input="What?")) as rows:
            async for row in rows:
                if row["index"] == 1:
                    break
        assert models.stopped
        before = len(models.calls)
        await asyncio.sleep(0.1)
        assert len(models.calls) == before

    asyncio.run(run())
    assert len(models.spoken()) <= 4


def test_the_voice_does_not_run_far_ahead_of_its_listener() -> None:
    models = Models(["one two three four five, "] * 4)  # 0.5 s of sound each
    started = time.monotonic()
    answer(models, text_input="What?", max_lead_s=0.6)
    assert 1.3 < time.monotonic() - started < 2.5  # all but 0.6 s of 2 s was played


def sound(data: bytes) -> dict:
    return {"type": "input_audio", "input_audio": {"data": data.decode(), "format": "wav"}}


def test_an_openai_chat_alone_is_heard_and_answered() -> None:
    """Nothing but messages: each sound stands as its words, and the last turn is the question."""
    models = Models()
    first, last, picture = b"UklGAAAA", b"UklGAAAB", {"type": "image_url", "image_url": {"url": "data:,"}}
    models.sounds = {first: "图里有什么？", last: "and what color?"}
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [picture, sound(first)]},
        {"role": "assistant", "content": "一个圆形。"},
        {"role": "user", "content": [{"type": "text", "text": "Good,"}, sound(last)]},
    ]
    rows = answer(models, messages=json.dumps(messages), language="zh")
    assert rows[0]["transcript"] == "Good, and what color?"
    assert rows[0]["duration"] == 1.5  # of the last turn alone
    assert "".join(row["text_output"] for row in rows) == "".join(CLAUSES)
    heard = [inputs for model, inputs in models.calls if model == "transcribe"]
    assert [inputs["audio_bytes"] for inputs in heard] == [first, last]
    assert {inputs["language"] for inputs in heard} == {"zh"}
    asked = dict(models.calls)["llava"]
    assert asked.get("text_input") is None
    assert [turn["content"] for turn in json.loads(asked["messages"])] == [
        "Be short.",
        [picture, {"type": "text", "text": "图里有什么？"}],
        "一个圆形。",
        [{"type": "text", "text": "Good,"}, {"type": "text", "text": "and what color?"}],
    ]


def test_sounds_of_earlier_turns_are_heard_beside_a_question_of_its_own() -> None:
    models = Models()
    models.sounds = {b"UklGAAAA": "What shape is it?"}
    history = [{"role": "user", "content": [sound(b"UklGAAAA")]}, {"role": "assistant", "content": "A star."}]
    rows = answer(models, text_input="What color?", messages=json.dumps(history))
    assert (rows[0]["transcript"], rows[0]["duration"]) == ("What color?", 1.5)
    asked = dict(models.calls)["llava"]
    assert asked["text_input"] == "What color?"
    assert json.loads(asked["messages"])[0]["content"] == [{"type": "text", "text": "What shape is it?"}]


def test_messages_without_sounds_pass_as_they_came() -> None:
    models = Models()
    messages = ' [{"role": "user", "content": "Hello"}] '
    answer(models, audio_bytes=b"sound", messages=messages)
    assert dict(models.calls)["llava"]["messages"] == messages


def test_silence_in_the_last_turn_is_no_question() -> None:
    models = Models(heard="")
    [row] = answer(models, messages=json.dumps([{"role": "user", "content": [sound(b"UklGAAAA")]}]))
    assert (row["transcript"], row["finish_reason"]) == ("", "stop")
    assert "llava" not in dict(models.calls)


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([{"role": "user", "content": [sound(BROKEN)]}], "messages at 0.content.0.input_audio is no readable WAV"),
        ([{"role": "assistant", "content": "Hi."}], "messages do not end with a user's turn"),
        ([{"role": "user", "content": [sound(b"UklG")] * 17}], "messages hold 17 sounds, the limit is 16"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "input_audio: Field required"),
    ],
)
def test_a_conversation_that_cannot_be_heard_says_why(messages, sentence) -> None:
    with pytest.raises(TritoneError, match=sentence):
        answer(Models(), messages=json.dumps(messages))

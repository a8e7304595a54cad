"""What each verb sends and how it reads the answer, through the transport that ships for such tests."""

import json
from types import ModuleType

import numpy as np
import pytest

import tritone_client
from tritone_client import (
    AnswerChunk,
    Client,
    InferenceFailed,
    InvalidInput,
    MockTransport,
    Overloaded,
    Request,
    Segment,
    ServerUnavailable,
    TranscriptChunk,
    Word,
)
from tritone_client.media import audio_bytes

WAV = audio_bytes(np.array([0.0, 0.5, -0.5, 0.25]), 22_050)
ANSWER = {"text_output": "它是红色的。", "finish_reason": "stop", "prompt_tokens": 90, "completion_tokens": 7}
WORDS = {"word": ["It", "is."], "word_start": [0.0, 0.25], "word_end": [0.25, 0.5]}
PIECES = [
    {"text_output": "It is", "finish_reason": "", "prompt_tokens": 9, "completion_tokens": 2},
    {"text_output": " red.", "finish_reason": "stop", "prompt_tokens": 9, "completion_tokens": 4},
]


def sent(request: Request) -> dict:
    """The inputs as plain lists, and each with its batch axis of one."""
    assert all(array.shape[0] == 1 for array in request.inputs.values())
    return {name: array[0].tolist() for name, array in request.inputs.items()}


def test_the_public_list_is_whole_and_sorted():
    named = {name: value for name, value in vars(tritone_client).items() if not name.startswith("_")}
    public = [name for name, value in named.items() if not isinstance(value, ModuleType)]
    assert sorted(tritone_client.__all__) == sorted(public)
    assert tritone_client.__all__ == sorted(tritone_client.__all__)


def test_transcribe_sends_the_file_and_reads_text_and_segments(client_of):
    client, requests = client_of(
        {
            "text": "Hello. 你好。",
            "language": "en",
            "duration": 2.5,
            "segment_start": [0.0, 1.5],
            "segment_end": [1.0, 2.5],
            "segment_text": ["Hello.", "你好。"],
            "word": ["Hello.", "你好。"],
            "word_start": [0.25, 1.5],
            "word_end": [1.0, 2.25],
        }
    )
    transcript = client.transcribe(
        b"flac", language="en", task="transcribe", initial_prompt="Names: 小明", word_timestamps=True
    )
    assert sent(requests[0]) == {
        "audio_bytes": [b"flac"],
        "language": [b"en"],
        "task": [b"transcribe"],
        "initial_prompt": ["Names: 小明".encode()],
        "word_timestamps": [True],
    }
    assert transcript.words == (Word("Hello.", 0.25, 1.0), Word("你好。", 1.5, 2.25))
    assert (transcript.text, transcript.language, transcript.duration) == ("Hello. 你好。", "en", 2.5)
    assert transcript.segments == (Segment(0.0, 1.0, "Hello."), Segment(1.5, 2.5, "你好。"))


def test_silence_has_no_segments(client_of):
    nothing = {name: [] for name in ("segment_start", "segment_end", "segment_text", "word", "word_start", "word_end")}
    client, _ = client_of({"text": "", "language": "en", "duration": 1.0, **nothing})
    assert client.transcribe(b"wav").segments == ()


CHUNK = {
    "text": "Hello.",
    "language": "en",
    "duration": 40.0,
    "segment_start": [0.5],
    "segment_end": [1.5],
    "segment_text": ["Hello."],
    "word": [],
    "word_start": [],
    "word_end": [],
}


def test_transcribe_stream_yields_the_stretches_in_order(client_of):
    last = CHUNK | {"text": "", "segment_start": [], "segment_end": [], "segment_text": []}
    client, requests = client_of(
        [CHUNK | {"index": 0, "end": 25.0, "is_final": False}, last | {"index": 1, "end": 40.0, "is_final": True}]
    )
    first, second = client.transcribe_stream(b"mp3", language="en")
    assert sent(requests[0]) == {"audio_bytes": [b"mp3"], "language": [b"en"]}
    assert requests[0].model == "transcribe_stream"
    assert first == TranscriptChunk("Hello.", "en", 40.0, (Segment(0.5, 1.5, "Hello."),), (), 0, 25.0, False)
    assert (second.text, second.end, second.is_final) == ("", 40.0, True)


def test_a_transcript_that_breaks_off_is_an_error(client_of):
    client, _ = client_of([CHUNK | {"index": 0, "end": 25.0, "is_final": False}])
    chunks = client.transcribe_stream(b"mp3")
    next(chunks)
    with pytest.raises(InferenceFailed, match="broke off"):
        next(chunks)


def test_a_wish_that_is_neither_true_nor_false_is_refused(client_of):
    client, _ = client_of(CHUNK)
    with pytest.raises(InvalidInput, match="'word_timestamps' is 1, must be True or False"):
        client.transcribe(b"mp3", word_timestamps=1)


def test_speak_sends_text_as_utf8_and_speed_as_float32(client_of):
    client, requests = client_of(
        {"audio": [0.0, 0.5], "sampling_rate": 22_050, "audio_wav": WAV, "voice": "joe", **WORDS}
    )
    speech = client.speak("你好", voice="joe", speed=2)
    assert "audio_bytes" not in requests[0].outputs  # nobody asked for another format
    assert sent(requests[0]) == {"text": ["你好".encode()], "voice": [b"joe"], "speed": [2.0]}
    assert requests[0].inputs["speed"].dtype == np.float32
    assert speech.audio.tolist() == [0.0, 0.5]
    assert speech.audio.flags.writeable
    assert (speech.sampling_rate, speech.wav) == (22_050, WAV)


def test_ask_sends_pictures_history_and_sampling(client_of):
    client, requests = client_of(ANSWER)
    history = [{"role": "user", "content": "你好"}]
    sampling = {"temperature": 0.5, "top_p": 1, "top_k": 40, "repetition_penalty": 1.5, "seed": 3}
    answer = client.ask(
        "What?", images=[b"a", b"b"], messages=history, max_tokens=8, stop=["。", "\n"], adapter="flowers", **sampling
    )
    inputs = sent(requests[0])
    assert json.loads(inputs.pop("messages")[0]) == history
    assert inputs == {
        "text_input": [b"What?"],
        "image_bytes": [b"a", b"b"],
        "max_tokens": [8],
        "temperature": [0.5],
        "top_p": [1.0],
        "top_k": [40],
        "repetition_penalty": [1.5],
        "seed": [3],
        "stop": ["。".encode(), b"\n"],
        "adapter": [b"flowers"],
    }
    assert (answer.text, answer.finish_reason) == ("它是红色的。", "stop")
    assert (answer.prompt_tokens, answer.completion_tokens) == (90, 7)


def test_options_that_are_not_given_are_not_sent(client_of):
    client, requests = client_of(ANSWER)
    client.ask("What?")
    assert sent(requests[0]) == {"text_input": [b"What?"]}


def test_ask_stream_yields_the_pieces_and_says_when_it_ends(client_of):
    client, requests = client_of(PIECES)
    chunks = list(client.ask_stream("What?", b"png", unit="clause"))
    assert chunks == [AnswerChunk("It is", None, 9, 2), AnswerChunk(" red.", "stop", 9, 4)]
    assert sent(requests[0]) == {"text_input": [b"What?"], "image_bytes": [b"png"], "stream_unit": [b"clause"]}


def test_one_stop_string_may_be_given_by_itself(client_of):
    client, requests = client_of(ANSWER)
    client.ask("What?", stop="。")
    assert sent(requests[0]) == {"text_input": [b"What?"], "stop": ["。".encode()]}


def test_caption_asks_in_the_language_and_gives_the_text(client_of):
    client, requests = client_of(ANSWER)
    assert client.caption(b"png", language="zh") == "它是红色的。"
    assert sent(requests[0]) == {"text_input": ["请描述这张图。".encode()], "image_bytes": [b"png"]}
    with pytest.raises(InvalidInput, match="'fr', must be one of en, zh"):
        client.caption(b"png", language="fr")


def test_a_chat_remembers_turns_and_pictures_but_no_turn_that_failed(connect):
    outputs = [ANSWER, PIECES, Overloaded("full"), ANSWER]

    def handler(request):
        output = outputs.pop(0)
        if isinstance(output, Exception):
            raise output
        return output

    transport = MockTransport(handler)
    chat = connect(transport=transport, retries=0).chat(system="Be short.", temperature=0.5)
    chat.ask("What shape?", b"one")
    assert "".join(chunk.text for chunk in chat.ask_stream("And this?", images=[b"two"])) == "It is red."
    with pytest.raises(Overloaded):
        chat.ask("Lost?", b"three")
    chat.ask("Sure?", seed=1)
    last = sent(transport.requests[-1])
    assert last["image_bytes"] == [b"one", b"two"]
    assert (last["temperature"], last["seed"]) == ([0.5], [1])
    turns = json.loads(last["messages"][0])
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user", "assistant"]
    assert turns[1]["content"] == [{"type": "image"}, {"type": "text", "text": "What shape?"}]
    assert turns[4]["content"] == "It is red."
    assert len(chat.messages) == 7
    with pytest.raises(InvalidInput, match="both"):
        chat.ask("?", b"a", images=[b"b"])


def test_a_chat_forgets_a_turn_whose_stream_is_left(client_of):
    client, _ = client_of(PIECES)
    chat = client.chat()
    stream = chat.ask_stream("What?")
    next(stream)
    stream.close()
    assert chat.messages == []


def test_a_stream_that_breaks_off_is_an_error_and_no_short_answer(client_of):
    client, _ = client_of(PIECES[:1])
    chunks = client.ask_stream("What?")
    assert next(chunks).text == "It is"
    with pytest.raises(InferenceFailed, match="broke off"):
        next(chunks)


def test_closing_a_stream_closes_the_transports_stream(connect):
    closed = []

    def pieces(request):
        try:
            yield from PIECES
        finally:
            closed.append(request.model)

    chunks = connect(transport=MockTransport(pieces)).ask_stream("What?")
    next(chunks)
    assert not closed
    chunks.close()
    assert closed == ["llava"]


def test_a_stream_with_bad_input_is_refused_before_it_is_read():
    transport = MockTransport(lambda request: PIECES)
    with pytest.raises(InvalidInput):
        Client(transport=transport).ask_stream("What?", max_tokens=1.5)
    assert transport.requests == []


def test_converse_by_voice_reads_transcript_answer_and_speech(client_of):
    reply_outputs = {
        "transcript": "What color?",
        "duration": 1.5,
        "text_output": "Red.",
        "finish_reason": "stop",
        "audio_wav": WAV,
        **WORDS,
        **{"speech_error": "", "prompt_tokens": 90, "image_tokens": 16, "completion_tokens": 3},
    }
    client, requests = client_of(reply_outputs)
    reply = client.converse(b"question", b"png", voice="joe", speed=1.5, max_tokens=4)
    assert sent(requests[0]) == {
        "audio_bytes": [b"question"],
        "image_bytes": [b"png"],
        "voice": [b"joe"],
        "speed": [1.5],
        "max_tokens": [4],
    }
    assert (reply.transcript, reply.text, reply.question_duration) == ("What color?", "Red.", 1.5)
    assert (reply.prompt_tokens, reply.image_tokens, reply.completion_tokens) == (90, 16, 3)
    assert reply.speech.sampling_rate == 22_050
    assert reply.speech.audio.tolist() == [0.0, 0.5, -0.5, 0.25]
    assert [word.text for word in reply.speech.words] == ["It", "is."]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: c.converse(), "either audio or text"),
        (lambda c: c.converse(b"wav", text="Hello"), "either audio or text"),
        (lambda c: c.ask("What?", b"png", images=[b"png"]), "image and images"),
        (lambda c: c.ask("What?", max_tokens="many"), "'max_tokens' is 'many', must be a whole number"),
        (lambda c: c.ask("What?", max_tokens=2**40), "does not fit int32"),
        (lambda c: c.ask("What?", max_tokens=True), "must be a whole number"),
        (lambda c: c.ask("What?", seed=2**70), "'seed' is"),
        (lambda c: c.ask("What?", messages=["hello"]), "messages must be a list"),
        (lambda c: c.ask("\ud800"), "'text_input' cannot be written as UTF-8"),
        (lambda c: c.ask(7), "text_input"),
        (lambda c: c.ask("What?", timeout_s=0), "timeout_s is 0"),
        (lambda c: c.ask("What?", timeout_s=float("inf")), "timeout_s is inf"),
        (lambda c: c.transcribe("no such file.wav"), "cannot be read"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(client_of, call, words):
    client, requests = client_of(ANSWER)
    with pytest.raises(InvalidInput) as caught:
        call(client)
    assert words in str(caught.value)
    assert requests == []


def test_an_argument_that_no_verb_has_is_an_error_of_the_program(client_of):
    client, requests = client_of(ANSWER)
    with pytest.raises(TypeError, match="unexpected keyword argument 'heat'; there are adapter, images"):
        client.ask("What?", heat=0.5)
    assert requests == []


def test_each_request_has_its_own_id_and_the_clients_timeout_unless_given(client_of):
    client, requests = client_of(ANSWER)
    client.ask("What?")
    client.ask("What?")
    client.ask("What?", request_id="mine", timeout_s=3)
    assert len({request.request_id for request in requests}) == 3
    assert [request.timeout_s for request in requests] == [60.0, 60.0, 3]
    assert requests[2].request_id == "mine"


@pytest.mark.parametrize(
    "outputs", [{}, {**ANSWER, "text_output": b"\xff"}, {**ANSWER, "prompt_tokens": np.zeros((1, 0))}]
)
def test_an_answer_that_cannot_be_read_is_the_servers_fault(client_of, outputs):
    client, requests = client_of(outputs)
    with pytest.raises(InferenceFailed, match="cannot be read") as caught:
        client.ask("What?")
    assert caught.value.request_id == requests[0].request_id
    assert caught.value.model == "llava_answer"


def test_an_error_of_the_handler_reaches_the_caller(connect):
    def refuse(request):
        raise Overloaded("full", model=request.model)

    with pytest.raises(Overloaded, match="full"):
        connect(transport=MockTransport(refuse), retries=0).ask("What?")


def test_leaving_the_context_closes_the_transport(connect):
    transport = MockTransport(lambda request: ANSWER)
    with connect(transport=transport):
        assert not transport.closed
    assert transport.closed


def test_waiting_ends_when_the_server_is_ready_and_not_later_than_allowed(connect):
    transport = MockTransport(lambda request: ANSWER, ready=False)
    client = connect(transport=transport)
    assert not client.is_ready()
    with pytest.raises(ServerUnavailable, match=r"not ready after 0\.2 s: it answers, but is not ready"):
        client.wait_until_ready(timeout_s=0.2)
    transport.ready = True
    client.wait_until_ready(timeout_s=0.2)
    assert client.is_ready("llava")

"""The client: one method per task. What a request looks like is in `_calls`, how it travels in `_transport`."""

import time
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import TypeVar

from tritone_client import _calls, _speech
from tritone_client._calls import Call, Delivery
from tritone_client._exceptions import Error, ServerUnavailable
from tritone_client._transport import GrpcTransport, Transport
from tritone_client._types import (
    Alignment,
    Answer,
    AnswerChunk,
    AudioLike,
    ImageLike,
    Messages,
    Reply,
    ReplyChunk,
    Speech,
    SpeechChunk,
    Transcript,
)

T = TypeVar("T")
Ending = TypeVar("Ending", AnswerChunk, ReplyChunk)
READY_INTERVAL_S = 0.1  # between two looks at a server that is starting


class Client:
    """A Tritone server, called over gRPC. Threads may share one client.

    >>> with Client("localhost:8001") as client:
    ...     print(client.ask("What is in this picture?", image="cat.png").text)

    Every verb takes two more arguments: `timeout_s`, how long its answer may take, and `request_id`, which the server
    writes into its log (a random one by default). Every verb raises the errors of this package, see `Error`.

    Args:
        url: host:port of the server's gRPC address.
        timeout_s: how long an answer may take where the call does not say, in seconds.
        transport: what carries the requests instead of gRPC, such as `MockTransport`.
    """

    def __init__(
        self, url: str = "localhost:8001", *, timeout_s: float = 60.0, transport: Transport | None = None
    ) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._transport: Transport = GrpcTransport(url) if transport is None else transport

    def transcribe(
        self,
        audio: AudioLike,
        *,
        sampling_rate: int | None = None,
        language: str | None = None,
        task: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Transcript:
        """Write down what is said.

        Args:
            audio: path or bytes of a WAV, FLAC, MP3 or OGG file; or samples as an array, with `sampling_rate` in Hz.
            language: code such as "en"; the server listens for it when None.
            task: "transcribe" or "translate" (into English).
        """
        delivery = self._delivery(timeout_s, request_id)
        return self._send(_calls.transcribe(delivery, audio, sampling_rate, language, task))

    def speak(
        self,
        text: str,
        *,
        voice: str | None = None,
        language: str | None = None,
        speed: float | None = None,
        response_format: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Speech:
        """Say a text aloud.

        Args:
            voice, language: who speaks; the first voice that can read the text when None.
            speed: 2 is twice as fast as usual.
            response_format: "wav", "flac", "mp3" or "opus": the kind of file in `Speech.encoded`.
        """
        inputs = _speech_inputs(text, voice, language, speed, response_format)
        return self._send(_speech.speak(self._delivery(timeout_s, request_id), inputs))

    def speak_stream(
        self,
        text: str,
        *,
        voice: str | None = None,
        language: str | None = None,
        speed: float | None = None,
        response_format: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Generator[SpeechChunk, None, None]:
        """Like `speak`, but each clause comes as soon as it is spoken; closing the generator stops the voice."""
        inputs = _speech_inputs(text, voice, language, speed, response_format)
        return self._chunks(_speech.speak_stream(self._delivery(timeout_s, request_id), inputs))

    def align(
        self,
        audio: AudioLike,
        text: str,
        *,
        sampling_rate: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Alignment:
        """Find out when each word of a text is said in a recording; `audio` as in `transcribe`."""
        return self._send(_speech.align(self._delivery(timeout_s, request_id), audio, text, sampling_rate))

    def ask(
        self,
        question: str,
        image: ImageLike | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        messages: Messages | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Ask the language model, with or without a picture.

        Args:
            image, images: path, bytes, Pillow image, or uint8 array (height, width, 3); one or several.
            messages: the conversation so far: [{"role": "user", "content": "..."}, ...].
            temperature: 0, the default, always gives the likeliest answer; above, `seed` decides.
        """
        inputs = _calls.chat_inputs(
            question, image, images, messages, max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed
        )
        return self._send(_calls.ask(self._delivery(timeout_s, request_id), inputs))

    def ask_stream(
        self,
        question: str,
        image: ImageLike | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        messages: Messages | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        unit: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Generator[AnswerChunk, None, None]:
        """Like `ask`, but each piece of the answer comes as soon as it is there.

        The request is sent with the first `next`, and `timeout_s` covers the whole answer. Closing the generator, or
        dropping it, cancels the request on the server.

        Args:
            unit: how much comes at a time: "token" (the default), "clause" or "none" (all at once).
        """
        inputs = _calls.chat_inputs(
            question, image, images, messages, max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed
        )
        return self._stream(_calls.ask_stream(self._delivery(timeout_s, request_id), inputs, unit))

    def converse(
        self,
        audio: AudioLike | None = None,
        image: ImageLike | None = None,
        *,
        sampling_rate: int | None = None,
        text: str | None = None,
        images: Sequence[ImageLike] | None = None,
        messages: Messages | None = None,
        max_tokens: int | None = None,
        voice: str | None = None,
        speed: float | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Reply:
        """One turn with the voice assistant: a question, spoken (`audio`) or typed (`text`), is answered aloud.

        The arguments are those of `transcribe`, `ask` and `speak`.
        """
        delivery = self._delivery(timeout_s, request_id)
        return self._send(
            _calls.converse(delivery, audio, sampling_rate, text, image, images, messages, max_tokens, voice, speed)
        )

    def is_ready(self, model: str | None = None, timeout_s: float = 5.0) -> bool:
        """Whether the server, or one of its models, is ready; False also where nobody answers."""
        return self._why_not_ready(model, timeout_s) is None

    def wait_until_ready(self, timeout_s: float = 60.0, model: str | None = None) -> None:
        """Wait for a server that is starting.

        Raises: ServerUnavailable: not ready within `timeout_s`; the message says what the last look found.
        """
        deadline = time.monotonic() + timeout_s
        remaining = timeout_s
        while (reason := self._why_not_ready(model, max(remaining, READY_INTERVAL_S))) is not None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise ServerUnavailable(f"{self.url} is not ready after {timeout_s:g} s: {reason}", model=model)
            time.sleep(min(READY_INTERVAL_S, remaining))

    def close(self) -> None:
        """Close the connection; requests under way are cancelled."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def converse_stream(
        self,
        audio: AudioLike | None = None,
        image: ImageLike | None = None,
        *,
        sampling_rate: int | None = None,
        text: str | None = None,
        images: Sequence[ImageLike] | None = None,
        messages: Messages | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        language: str | None = None,
        voice: str | None = None,
        speed: float | None = None,
        aloud: bool = True,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Generator[ReplyChunk, None, None]:
        """Like `converse`, but the transcript and each clause of the answer come as soon as they are there.

        Closing the generator stops the answer on the server: for a listener who interrupts. `heard` then says what
        to write into the history.

        Args:
            language: of the spoken question.
            aloud: False: the answer is text only.
        """
        delivery = self._delivery(timeout_s, request_id)
        options: dict[str, object] = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
        options |= {"seed": seed, "language": language, "voice": voice, "speed": speed}
        return self._stream(
            _speech.converse_stream(delivery, audio, sampling_rate, text, image, images, messages, aloud, **options)
        )

    def _send(self, call: Call[T]) -> T:
        return call.parse(self._transport.infer(call.request))

    def _stream(self, call: Call[Ending]) -> Generator[Ending, None, None]:
        """The chunks of an answer that says when it ends.

        Raises: InferenceFailed: it broke off before.
        """
        chunk: Ending | None = None
        chunks = self._chunks(call)
        try:
            for chunk in chunks:
                yield chunk
        finally:
            chunks.close()
        if chunk is None or chunk.finish_reason is None:
            raise call.failure(f"the stream of '{call.request.model}' broke off before the end of the answer")

    def _chunks(self, call: Call[T]) -> Generator[T, None, None]:
        responses = self._transport.stream(call.request)
        try:
            for outputs in responses:
                yield call.parse(outputs)
        finally:
            responses.close()

    def _delivery(self, timeout_s: float | None, request_id: str | None) -> Delivery:
        return Delivery(self.timeout_s if timeout_s is None else timeout_s, request_id)

    def _why_not_ready(self, model: str | None, timeout_s: float) -> str | None:
        """What keeps the server or the model from being ready; None if it is."""
        try:
            ready = self._transport.is_ready(model, timeout_s)
        except Error as error:
            return str(error)
        return None if ready else "it answers, but is not ready"


def _speech_inputs(
    text: str, voice: str | None, language: str | None, speed: float | None, response_format: str | None
) -> dict[str, object]:
    return {"text": text, "voice": voice, "language": language, "speed": speed, "response_format": response_format}

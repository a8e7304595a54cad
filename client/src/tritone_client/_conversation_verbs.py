"""Verbs of conversation: typed, with pictures, or spoken."""

from collections.abc import Generator, Sequence
from typing import Any

from tritone_client import _conversation
from tritone_client._chat import Chat
from tritone_client._connection import Connection
from tritone_client._types import (
    Answer,
    AnswerChunk,
    AudioLike,
    ImageLike,
    Messages,
    Reply,
    ReplyChunk,
)


class ConversationVerbs(Connection):
    """Verbs of a client, see `Client`."""

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
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        adapter: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Ask the language model, with or without a picture.

        Args:
            image, images: path, bytes, Pillow image, or uint8 array (height, width, 3); one or several.
            messages: the conversation so far: [{"role": "user", "content": "..."}, ...].
            temperature: 0, the default, always gives the likeliest answer; above, `seed` decides.
            top_p, top_k: only the likeliest tokens are drawn from, down to this share or this many.
            repetition_penalty: above 1, what has been said becomes less likely.
            stop: the answer ends before the first of these strings.
            adapter: name of a LoRA adapter that the server has.
        """
        options = _conversation.SamplingOptions(
            max_tokens, temperature, top_p, top_k, repetition_penalty, seed, stop, adapter
        )
        inputs = _conversation.chat_inputs(question, image, images, messages, options)
        return self._send(_conversation.ask(self._delivery(timeout_s, request_id), inputs))

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
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        adapter: str | None = None,
        unit: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Generator[AnswerChunk, None, None]:
        """Like `ask`, but each piece of the answer comes as soon as it is there.

        The request is sent with the first `next`, and `timeout_s` covers the whole answer. Closing the generator, or
        dropping it, cancels the request on the server.

        Args:
            unit: how much comes at a time: "token" (the default; several where the reader is slower), "clause" or
                "none" (all at once).
        """
        options = _conversation.SamplingOptions(
            max_tokens, temperature, top_p, top_k, repetition_penalty, seed, stop, adapter
        )
        inputs = _conversation.chat_inputs(question, image, images, messages, options)
        call = _conversation.ask_stream(self._delivery(timeout_s, request_id), inputs, unit)
        return self._stream(call, lambda chunk: chunk.finish_reason is not None)

    def caption(
        self,
        image: ImageLike,
        *,
        language: str = "en",
        max_tokens: int | None = None,
        adapter: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> str:
        """Describe a picture in a sentence; `language` is "en" or "zh"."""
        question = _conversation.caption_question(language)
        options = _conversation.SamplingOptions(max_tokens=max_tokens, adapter=adapter)
        inputs = _conversation.chat_inputs(question, image, None, None, options)
        return self._send(_conversation.ask(self._delivery(timeout_s, request_id), inputs)).text

    def chat(self, *, system: str | None = None, **options: Any) -> Chat:
        """A conversation that remembers its turns and their pictures.

        Args:
            system: how the model should behave; the first turn of the history.
            options: those of `ask`, for every turn, such as `temperature` or `adapter`.
        """
        return Chat(self.ask, self.ask_stream, system=system, **options)

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
        adapter: str | None = None,
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
            _conversation.converse(
                delivery, audio, sampling_rate, text, image, images, messages, max_tokens, adapter, voice, speed
            )
        )

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
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        adapter: str | None = None,
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
        options = _conversation.SamplingOptions(
            max_tokens, temperature, top_p, top_k, repetition_penalty, seed, stop, adapter
        )
        manner = {"language": language, "voice": voice, "speed": speed, "modalities": None if aloud else ["text"]}
        inputs = _conversation.chat_inputs(text, image, images, messages, options) | manner
        delivery = self._delivery(timeout_s, request_id)
        call = _conversation.converse_stream(delivery, audio, sampling_rate, inputs)
        return self._stream(call, lambda chunk: chunk.finish_reason is not None)

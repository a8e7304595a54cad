"""Verbs of conversation: typed, with pictures, or spoken."""

from collections.abc import AsyncGenerator, Generator
from typing import Unpack

from tritone_client.calls import conversation
from tritone_client.calls.options import Answering, Asking, Captioning, Conversing, ConversingStream
from tritone_client.chat import AsyncChat, Chat
from tritone_client.types import Answer, AnswerChunk, AudioLike, ImageLike, Reply, ReplyChunk
from tritone_client.verbs.async_connection import AsyncConnection
from tritone_client.verbs.connection import Connection


class ConversationVerbs(Connection):
    """Verbs of a client, see `Client`."""

    def ask(self, question: str, image: ImageLike | None = None, **options: Unpack[Asking]) -> Answer:
        """Ask the language model, with or without a picture.

        Args:
            image: path, bytes, file object, Pillow image, or uint8 array (height, width, 3); several as `images`.
            options: see `Asking`.
        """
        return self._send(conversation.ask(question, image, self._options(Asking, options)))

    def ask_stream(
        self, question: str, image: ImageLike | None = None, *, unit: str | None = None, **options: Unpack[Asking]
    ) -> Generator[AnswerChunk, None, None]:
        """Like `ask`, but each piece of the answer comes as soon as it is there.

        The request is sent with the first `next`, and `timeout_s` covers the whole answer. Closing the generator, or
        dropping it, cancels the request on the server.

        Args:
            unit: how much comes at a time: "token" (the default; several where the reader is slower), "clause" or
                "none" (all at once).
        """
        return self._stream(conversation.ask_stream(question, image, unit, self._options(Asking, options)))

    def caption(self, image: ImageLike, *, language: str = "en", **options: Unpack[Captioning]) -> str:
        """Describe a picture in a sentence; `language` is "en" or "zh"."""
        return self._send(conversation.caption(image, language, self._options(Captioning, options)))

    def chat(self, *, system: str | None = None, **options: Unpack[Answering]) -> Chat:
        """A conversation that remembers its turns and their pictures.

        Args:
            system: how the model should behave; the first turn of the history.
            options: for every turn, such as `temperature` or `adapter`.
        """
        return Chat(self.ask, self.ask_stream, system=system, **self._options(Answering, options))

    def converse(
        self, audio: AudioLike | None = None, image: ImageLike | None = None, **options: Unpack[Conversing]
    ) -> Reply:
        """One turn with the voice assistant: a question, spoken (`audio`) or typed (`text`), is answered aloud.

        Args:
            audio, image: as in `transcribe` and `ask`.
            options: see `Conversing`.
        """
        return self._send(conversation.converse(audio, image, self._options(Conversing, options)))

    def converse_stream(
        self, audio: AudioLike | None = None, image: ImageLike | None = None, **options: Unpack[ConversingStream]
    ) -> Generator[ReplyChunk, None, None]:
        """Like `converse`, but the transcript and each clause of the answer come as soon as they are there.

        Closing the generator stops the answer on the server: for a listener who interrupts. `heard` then says what
        to write into the history.
        """
        return self._stream(conversation.converse_stream(audio, image, self._options(ConversingStream, options)))


class AsyncConversationVerbs(AsyncConnection):
    """Verbs of a client, see `AsyncClient`."""

    async def ask(self, question: str, image: ImageLike | None = None, **options: Unpack[Asking]) -> Answer:
        """As `Client.ask`."""
        given = self._options(Asking, options)
        return await self._send(lambda: conversation.ask(question, image, given), image, given.get("images"))

    def ask_stream(
        self, question: str, image: ImageLike | None = None, *, unit: str | None = None, **options: Unpack[Asking]
    ) -> AsyncGenerator[AnswerChunk, None]:
        """As `Client.ask_stream`."""
        given = self._options(Asking, options)
        return self._stream(lambda: conversation.ask_stream(question, image, unit, given), image, given.get("images"))

    async def caption(self, image: ImageLike, *, language: str = "en", **options: Unpack[Captioning]) -> str:
        """As `Client.caption`."""
        given = self._options(Captioning, options)
        return await self._send(lambda: conversation.caption(image, language, given), image)

    def chat(self, *, system: str | None = None, **options: Unpack[Answering]) -> AsyncChat:
        """As `Client.chat`."""
        return AsyncChat(self.ask, self.ask_stream, system=system, **self._options(Answering, options))

    async def converse(
        self, audio: AudioLike | None = None, image: ImageLike | None = None, **options: Unpack[Conversing]
    ) -> Reply:
        """As `Client.converse`."""
        given = self._options(Conversing, options)
        return await self._send(lambda: conversation.converse(audio, image, given), audio, image, given.get("images"))

    def converse_stream(
        self, audio: AudioLike | None = None, image: ImageLike | None = None, **options: Unpack[ConversingStream]
    ) -> AsyncGenerator[ReplyChunk, None]:
        """As `Client.converse_stream`."""
        given = self._options(ConversingStream, options)
        return self._stream(
            lambda: conversation.converse_stream(audio, image, given), audio, image, given.get("images")
        )

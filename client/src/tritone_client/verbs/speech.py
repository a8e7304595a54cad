"""Verbs of speech: written down, spoken, aligned."""

from collections.abc import AsyncGenerator, Generator
from typing import Unpack

from tritone_client.calls import speech
from tritone_client.calls.options import Aligning, Hearing, Speaking
from tritone_client.types import Alignment, AudioLike, Speech, SpeechChunk, Transcript, TranscriptChunk
from tritone_client.verbs.async_connection import AsyncConnection
from tritone_client.verbs.connection import Connection


class SpeechVerbs(Connection):
    """Verbs of a client, see `Client`."""

    def transcribe(self, audio: AudioLike, **options: Unpack[Hearing]) -> Transcript:
        """Write down what is said, in a recording of any length up to the server's limit.

        Args:
            audio: path, bytes or file object of a sound file (WAV, MP3, M4A, AMR, ...); or samples, with
                `sampling_rate` in Hz: float −1..1 or int16, (n_samples,) or (n_samples, n_channels).
            options: see `Hearing`.
        """
        return self._send(speech.transcribe(audio, self._options(Hearing, options)))

    def transcribe_stream(self, audio: AudioLike, **options: Unpack[Hearing]) -> Generator[TranscriptChunk, None, None]:
        """Like `transcribe`, but each stretch of up to 30 s comes, in order, as soon as it has been heard.

        As with `ask_stream`, closing the generator cancels the request on the server.
        """
        return self._stream(speech.transcribe_stream(audio, self._options(Hearing, options)))

    def speak(self, text: str, **options: Unpack[Speaking]) -> Speech:
        """Say a text aloud; options: see `Speaking`."""
        return self._send(speech.speak(text, self._options(Speaking, options)))

    def speak_stream(self, text: str, **options: Unpack[Speaking]) -> Generator[SpeechChunk, None, None]:
        """Like `speak`, but each clause comes as soon as it is spoken; closing the generator stops the voice."""
        return self._stream(speech.speak_stream(text, self._options(Speaking, options)))

    def align(self, audio: AudioLike, text: str, **options: Unpack[Aligning]) -> Alignment:
        """Find out when each word of a text is said in a recording; `audio` as in `transcribe`."""
        return self._send(speech.align(audio, text, self._options(Aligning, options)))


class AsyncSpeechVerbs(AsyncConnection):
    """Verbs of a client, see `AsyncClient`."""

    async def transcribe(self, audio: AudioLike, **options: Unpack[Hearing]) -> Transcript:
        """As `Client.transcribe`."""
        given = self._options(Hearing, options)
        return await self._send(lambda: speech.transcribe(audio, given), audio)

    def transcribe_stream(self, audio: AudioLike, **options: Unpack[Hearing]) -> AsyncGenerator[TranscriptChunk, None]:
        """As `Client.transcribe_stream`."""
        given = self._options(Hearing, options)
        return self._stream(lambda: speech.transcribe_stream(audio, given), audio)

    async def speak(self, text: str, **options: Unpack[Speaking]) -> Speech:
        """As `Client.speak`."""
        given = self._options(Speaking, options)
        return await self._send(lambda: speech.speak(text, given))

    def speak_stream(self, text: str, **options: Unpack[Speaking]) -> AsyncGenerator[SpeechChunk, None]:
        """As `Client.speak_stream`."""
        given = self._options(Speaking, options)
        return self._stream(lambda: speech.speak_stream(text, given))

    async def align(self, audio: AudioLike, text: str, **options: Unpack[Aligning]) -> Alignment:
        """As `Client.align`."""
        given = self._options(Aligning, options)
        return await self._send(lambda: speech.align(audio, text, given), audio)

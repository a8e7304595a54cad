"""Verbs of speech: written down, spoken, aligned."""

from collections.abc import Generator

from tritone_client import _speech
from tritone_client._connection import Connection
from tritone_client._types import (
    Alignment,
    AudioLike,
    Speech,
    SpeechChunk,
    Transcript,
    TranscriptChunk,
)


class SpeechVerbs(Connection):
    """Verbs of a client, see `Client`."""

    def transcribe(
        self,
        audio: AudioLike,
        *,
        sampling_rate: int | None = None,
        language: str | None = None,
        task: str | None = None,
        initial_prompt: str | None = None,
        word_timestamps: bool | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Transcript:
        """Write down what is said, in a recording of any length up to the server's limit.

        Args:
            audio: path or bytes of a sound file (WAV, MP3, M4A, AMR, ...); or samples, with `sampling_rate` in Hz.
            language: code such as "en"; the server listens for it when None.
            task: "transcribe" or "translate" (into English).
            initial_prompt: text that could stand before the recording: names, spelling, style.
            word_timestamps: whether the transcript has `words` with their times.
        """
        options = {"task": task, "initial_prompt": initial_prompt, "word_timestamps": word_timestamps}
        delivery = self._delivery(timeout_s, request_id)
        return self._send(_speech.transcribe(delivery, audio, sampling_rate, language=language, **options))

    def transcribe_stream(
        self,
        audio: AudioLike,
        *,
        sampling_rate: int | None = None,
        language: str | None = None,
        task: str | None = None,
        initial_prompt: str | None = None,
        word_timestamps: bool | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Generator[TranscriptChunk, None, None]:
        """Like `transcribe`, but each stretch of up to 30 s comes, in order, as soon as it has been heard.

        As with `ask_stream`, closing the generator cancels the request on the server.
        """
        options = {"task": task, "initial_prompt": initial_prompt, "word_timestamps": word_timestamps}
        delivery = self._delivery(timeout_s, request_id)
        call = _speech.transcribe_stream(delivery, audio, sampling_rate, language=language, **options)
        return self._stream(call, lambda chunk: chunk.is_final)

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
        return self._stream(_speech.speak_stream(self._delivery(timeout_s, request_id), inputs))

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


def _speech_inputs(
    text: str, voice: str | None, language: str | None, speed: float | None, response_format: str | None
) -> dict[str, object]:
    return {"text": text, "voice": voice, "language": language, "speed": speed, "response_format": response_format}

"""Answers of /v1/chat/completions that are spoken: the voice assistant in one call."""

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionAudio, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import ChoiceDelta, ChoiceDeltaAudio

from tritone_client import ReplyChunk
from tritone_gateway.context import Context
from tritone_gateway.endpoints.language.chat_request import AudioOptions, ChatRequest
from tritone_gateway.endpoints.language.frame import Frame, usage_of
from tritone_gateway.endpoints.language.messages import Conversation, turn_in_words
from tritone_gateway.errors import NO_RETRY, ApiError, invalid, named
from tritone_gateway.media.inline import base64_of
from tritone_gateway.media.sound import Encoder
from tritone_gateway.media.voices import ours
from tritone_gateway.streaming import DONE

KEPT_S = 0  # an answer is not kept: it cannot be referred to by its id later


async def _replies(
    conversation: Conversation, options: dict[str, Any], request: ChatRequest, here: Context
) -> AsyncGenerator[ReplyChunk, None]:
    """The assistant's answer, clause by clause. It hears the question itself if that is nothing but one sound."""
    audio, question = _audio(request), conversation.question
    spoken = question.said[0] if len(question.said) == 1 and question.sounds else None
    if question.sounds and spoken is None:
        question = await turn_in_words(question, request.params, here)
    pieces = here.client.converse_stream(
        spoken,
        text=None if spoken else question.text,
        images=conversation.images or None,
        messages=conversation.messages or None,
        voice=ours(audio.voice, here.settings.voices),
        speed=audio.speed,
        **options,
        **here.delivery,
    )
    piece: ReplyChunk | None = None
    try:
        async with aclosing(pieces):
            with named(request.params):
                async for piece in pieces:
                    if piece.transcript is not None:
                        await here.used_audio(piece.question_duration, "heard")
                    if piece.speech is not None:
                        await here.used_audio(piece.speech.duration, "spoken")
                    yield piece
    finally:
        if piece is not None:
            await here.used_tokens(piece.prompt_tokens, piece.completion_tokens)


async def answer_aloud(
    conversation: Conversation, options: dict[str, Any], request: ChatRequest, frame: Frame, here: Context
) -> ChatCompletion:
    """A whole answer, spoken."""
    encoder, sound, text, why_silent = Encoder(_audio(request).format), bytearray(), "", ""
    async with aclosing(_replies(conversation, options, request, here)) as pieces:
        async for piece in pieces:
            text += piece.text
            if piece.speech is not None:
                sound += encoder.feed(piece.speech.audio, piece.speech.sampling_rate)
            why_silent = piece.speech_error or why_silent
    if not encoder.seconds:
        raise _silent(why_silent)
    sound += encoder.end()
    spoken = ChatCompletionAudio(
        id=_id(), data=base64_of(bytes(sound)), expires_at=int(time.time()) + KEPT_S, transcript=text
    )
    message = ChatCompletionMessage(role="assistant", content=None, refusal=None, audio=spoken)
    finish: Any = piece.finish_reason  # without an end the client raises
    return frame.completion(Choice(index=0, message=message, finish_reason=finish, logprobs=None), usage_of(piece))


async def stream_aloud(
    conversation: Conversation, options: dict[str, Any], request: ChatRequest, frame: Frame, here: Context
) -> AsyncGenerator[bytes, None]:
    """The same, each clause as soon as it is spoken: first its words, then its sound."""
    encoder, name, why_silent, first = Encoder(_audio(request).format), _id(), "", True
    async with aclosing(_replies(conversation, options, request, here)) as pieces:
        async for piece in pieces:
            if first:
                yield frame.chunk(ChoiceDelta(role="assistant", content=None, audio=ChoiceDeltaAudio(id=name)))
                first = False
            if piece.text:
                yield frame.chunk(ChoiceDelta(audio=ChoiceDeltaAudio(id=name, transcript=piece.text)))
            if piece.speech is not None:
                sound = encoder.feed(piece.speech.audio, piece.speech.sampling_rate)
                yield frame.chunk(ChoiceDelta(audio=ChoiceDeltaAudio(id=name, data=base64_of(sound))))
            why_silent = piece.speech_error or why_silent
    if not encoder.seconds:
        raise _silent(why_silent)
    if rest := encoder.end():
        yield frame.chunk(ChoiceDelta(audio=ChoiceDeltaAudio(id=name, data=base64_of(rest))))
    expires = int(time.time()) + KEPT_S
    yield frame.chunk(ChoiceDelta(audio=ChoiceDeltaAudio(id=name, expires_at=expires)), piece.finish_reason)
    for each in frame.usage(usage_of(piece)):
        yield each
    yield DONE


def _audio(request: ChatRequest) -> AudioOptions:
    assert request.audio is not None  # see `ChatRequest.check`
    return request.audio


def _silent(why: str) -> ApiError:
    if why.startswith("voice '"):
        return invalid(why, "audio")
    said = f"no voice can speak the answer: {why}" if why else "the answer has no words to speak"
    return ApiError(500, said, code="speech_failed", headers=NO_RETRY)


def _id() -> str:
    return f"audio_{uuid.uuid4().hex}"

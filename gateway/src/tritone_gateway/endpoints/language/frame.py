"""What all pieces of one chat completion have in common."""

import time
import uuid
from typing import Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import Choice as ChunkChoice
from openai.types.chat.chat_completion_chunk import ChoiceDelta
from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails

from tritone_client import Answer, AnswerChunk, ReplyChunk
from tritone_gateway.streaming import event


class Frame:
    """One answer's id, model and time."""

    def __init__(self, model: str, include_usage: bool) -> None:
        self.id, self.model, self.created = f"chatcmpl-{uuid.uuid4().hex}", model, int(time.time())
        self._usage: dict[str, None] = {"usage": None} if include_usage else {}

    def completion(self, choice: Choice, usage: CompletionUsage | None) -> ChatCompletion:
        """A whole answer."""
        return ChatCompletion(
            id=self.id, object="chat.completion", created=self.created, model=self.model, choices=[choice], usage=usage
        )

    def chunk(self, delta: ChoiceDelta, reason: Any = None, logprobs: Any = None) -> bytes:
        """The next piece."""
        choice = ChunkChoice(index=0, delta=delta, finish_reason=reason, logprobs=logprobs)
        return event(self._chunk(choices=[choice], **self._usage))

    def usage(self, usage: CompletionUsage) -> list[bytes]:
        """The last piece, where it was asked for."""
        return [event(self._chunk(choices=[], usage=usage))] if self._usage else []

    def _chunk(self, **rest: Any) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=self.id, object="chat.completion.chunk", created=self.created, model=self.model, **rest
        )


def usage_of(answer: Answer | AnswerChunk | ReplyChunk) -> CompletionUsage:
    """What was read and written. Sound is none of it: it is put into words first, and spoken by a model of its own."""
    read, written = answer.prompt_tokens, answer.completion_tokens
    seen = PromptTokensDetails(
        image_tokens=answer.image_tokens, text_tokens=read - answer.image_tokens, audio_tokens=0, cached_tokens=0
    )
    return CompletionUsage(
        prompt_tokens=read,
        completion_tokens=written,
        total_tokens=read + written,
        prompt_tokens_details=seen,
        completion_tokens_details=CompletionTokensDetails(audio_tokens=0, text_tokens=written),
    )

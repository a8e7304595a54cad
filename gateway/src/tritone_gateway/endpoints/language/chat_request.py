"""What a chat may ask for."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from tritone_gateway.catalog import Named
from tritone_gateway.endpoints.language.messages import Message
from tritone_gateway.endpoints.language.sampled_request import NO_TOOLS, ResponseFormat, SampledRequest
from tritone_gateway.errors import invalid, unsupported
from tritone_gateway.media.voices import Voice
from tritone_gateway.requests import HARMLESS


class StreamOptions(BaseModel):
    """How a stream ends; padding against eavesdroppers is not needed behind TLS."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class AudioOptions(BaseModel):
    """How an answer is spoken."""

    format: Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"]
    voice: Voice
    speed: float | None = Field(None, ge=0.25, le=4)


class ChatRequest(SampledRequest):
    """The body of /v1/chat/completions."""

    harmless: ClassVar[frozenset[str]] = HARMLESS | {
        *("store", "parallel_tool_calls", "prediction", "reasoning_effort", "tool_choice"),
    }
    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {
        "n": (1,),
        "functions": ([],),
        "function_call": ("none",),
        "frequency_penalty": (0,),
        "presence_penalty": (0,),
        "logit_bias": ({},),
        "verbosity": ("medium",),
    }
    why: ClassVar[dict[str, str]] = {
        "n": "one answer to a request; ask again for another",
        "functions": NO_TOOLS,
        "function_call": NO_TOOLS,
        "frequency_penalty": "this server has repetition_penalty",
        "presence_penalty": "this server has repetition_penalty",
        "verbosity": "say in the messages how long the answer shall be",
        "web_search_options": "this server searches nothing",
        "moderation": "this server judges nothing",
    }

    conversed: ClassVar[str] = "messages"

    messages: list[Message]
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stream_options: StreamOptions = StreamOptions()
    logprobs: bool = False
    response_format: ResponseFormat | None = None
    modalities: Annotated[tuple[Literal["text", "audio"], ...], Field(min_length=1)] = ("text",)
    audio: AudioOptions | None = None

    def check(self) -> None:
        """What no field can say alone.

        Raises: ApiError: 400, by the field's name.
        """
        self.check_tools()
        if self.top_logprobs is not None and not self.logprobs:
            raise invalid("top_logprobs is given, but logprobs is not true", "top_logprobs")
        if self.is_spoken and self.audio is None:
            raise invalid("modalities has 'audio', so 'audio' must say which format and voice", "audio")
        if self.is_spoken and (self.logprobs or self.constrains):
            field = "logprobs" if self.logprobs else "response_format"
            raise unsupported(field, "not together with the modality 'audio'")

    @property
    def params(self) -> dict[str, str]:
        """See `SampledRequest`; what is asked for twice is known by OpenAI's newer name."""
        most = "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"
        aloud = dict.fromkeys(("voice", "speed"), "audio")
        return super().params | {"max_tokens": most, "response_format": "response_format"} | aloud

    @property
    def is_spoken(self) -> bool:
        """Whether the answer is to be heard."""
        return "audio" in self.modalities

    @property
    def constrains(self) -> bool:
        """Whether the answer must be JSON."""
        return self.response_format is not None and self.response_format.type != "text"

    def sampling(self, named: Named) -> dict[str, Any]:
        """The client's options for the answer."""
        most = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        return self.drawing(most, named.adapter)

    def writing(self) -> dict[str, Any]:
        """The client's options that only a written answer has."""
        options: dict[str, Any] = {}
        if self.constrains and self.response_format is not None:
            options["response_format"] = self.response_format.model_dump()
        if self.logprobs:
            options |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return options

"""What /v1/responses may be asked for: the part of it that needs no memory."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, Tag

from tritone_gateway.endpoints.language.messages import (
    AudioPart,
    Conversation,
    ImagePart,
    ImageUrl,
    InputAudio,
    Message,
    RefusalPart,
    TextPart,
    Turn,
    Words,
    conversation_of,
    words_or_parts,
)
from tritone_gateway.endpoints.language.sampled_request import ResponseFormat, SampledRequest
from tritone_gateway.errors import invalid, unsupported, written
from tritone_gateway.requests import HARMLESS

LOGPROBS = "message.output_text.logprobs"
NO_MEMORY = "this server keeps nothing between requests; send the whole conversation as input"


class InputText(BaseModel):
    """Words, of either side."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class InputImage(BaseModel):
    """A picture as a data URL."""

    type: Literal["input_image"]
    image_url: str | None = None


class InputSound(BaseModel):
    """Something said."""

    type: Literal["input_audio"]
    input_audio: InputAudio


Part = Annotated[InputText | InputImage | InputSound | RefusalPart, Field(discriminator="type")]


class Item(BaseModel):
    """A message, with what clients send back of our own."""

    model_config = ConfigDict(extra="ignore")

    type: str = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: Annotated[Words | Annotated[list[Part], Tag("parts")], words_or_parts] | None = None


class Text(BaseModel):
    """What an answer must be."""

    model_config = ConfigDict(extra="ignore")

    format: ResponseFormat | None = None
    verbosity: Literal["medium"] | None = None


class ResponsesRequest(SampledRequest):
    """The body of /v1/responses."""

    harmless: ClassVar[frozenset[str]] = HARMLESS | {
        *("parallel_tool_calls", "reasoning", "max_tool_calls", "stream_options", "truncation"),
    }
    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {
        "store": (False,),
        "background": (False,),
        "context_management": ([],),
    }
    why: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("store", "previous_response_id", "conversation", "background"), NO_MEMORY),
        "prompt": "this server keeps no prompts; send the text as instructions",
        "moderation": "this server judges nothing",
        "context_management": "a conversation is taken as it is sent",
    }

    conversed: ClassVar[str] = "input"

    input: Annotated[Words | Annotated[list[Item], Tag("parts")], words_or_parts]
    instructions: str | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    include: tuple[str, ...] = ()
    text: Text = Text()

    @property
    def params(self) -> dict[str, str]:
        """See `SampledRequest`."""
        return super().params | {
            "max_tokens": "max_output_tokens",
            "response_format": "text.format",
            "logprobs": "include",
        }

    def check(self) -> None:
        """What no field can say alone.

        Raises: ApiError: 400, by the field's name.
        """
        self.check_tools()
        wanted = self.text.format
        if wanted and wanted.type == "json_schema" and not isinstance((wanted.model_extra or {}).get("schema"), dict):
            raise invalid("text.format.schema is missing, or no object", "text.format")
        if self.top_logprobs and LOGPROBS not in self.include:
            raise invalid(f"top_logprobs is given, but include has no '{LOGPROBS}'", "top_logprobs")

    @property
    def labels(self) -> dict[str, str]:
        """What the caller wants to be told again, as far as it is text, which is all that OpenAI takes."""
        metadata = (self.model_extra or {}).get("metadata")
        pairs = metadata.items() if isinstance(metadata, dict) else ()
        return {written(name): written(value) for name, value in pairs if isinstance(value, str)}

    @property
    def conversation(self) -> Conversation:
        """Raises: ApiError: 400, by the item's place."""
        items = [Item(role="user", content=self.input)] if isinstance(self.input, str) else self.input
        asked = conversation_of([_message(item, f"input[{index}]") for index, item in enumerate(items)], "input")
        if not self.instructions:
            return asked
        return Conversation((Turn("system", (self.instructions,)), *asked.history), asked.question)

    def options(self, adapter: str | None) -> dict[str, Any]:
        """The client's options for the answer."""
        options = self.drawing(self.max_output_tokens, adapter)
        if self.text.format is not None and self.text.format.type != "text":
            options["response_format"] = _chat_format(self.text.format)
        if LOGPROBS in self.include:
            options |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return options


def _chat_format(wanted: ResponseFormat) -> dict[str, Any]:
    """The format as a chat names it: what describes a schema stands one level deeper there."""
    if wanted.type != "json_schema":
        return {"type": wanted.type}
    return {"type": "json_schema", "json_schema": dict(wanted.model_extra or {})}


def _message(item: Item, place: str) -> Message:
    if item.type != "message" or item.role is None:
        raise unsupported(place, f"an item of type '{item.type}' cannot be read; messages can")
    if not isinstance(item.content, list):
        return Message(role=item.role, content=item.content)
    parts = [_part(part, f"{place}.content[{index}]") for index, part in enumerate(item.content)]
    return Message(role=item.role, content=parts)


def _part(part: Part, place: str) -> TextPart | ImagePart | AudioPart | RefusalPart:
    match part:
        case InputText():
            return TextPart(type="text", text=part.text)
        case InputSound():
            return AudioPart(type="input_audio", input_audio=part.input_audio)
        case RefusalPart():
            return part
    if part.image_url is None:
        raise unsupported(f"{place}.file_id", "this server keeps no files; send the picture as a data URL")
    return ImagePart(type="image_url", image_url=ImageUrl(url=part.image_url))

"""Messages of a chat, checked, and what the server is asked with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from tritone_gateway.context import Context
from tritone_gateway.errors import invalid, named, unsupported
from tritone_gateway.media.inline import of_base64, of_data_url

Params = Mapping[str, str]  # the caller's fields by the server's names, see `errors.of_the_server`
# The server's names for what is said; "the prompt's 5000 tokens …" and "the pictures …" are it, too.
SAID = ("text_input", "image_bytes", "messages", "audio_bytes", "audio", "text", "the")


class TextPart(BaseModel):
    """Words."""

    type: Literal["text"]
    text: str


class RefusalPart(BaseModel):
    """Words of an assistant that would not answer."""

    type: Literal["refusal"]
    refusal: str


class ImageUrl(BaseModel):
    """A picture as a data URL; `detail` changes nothing, as there is one resolution."""

    url: str
    detail: Literal["auto", "low", "high", "original"] = "auto"


class ImagePart(BaseModel):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(BaseModel):
    """A sound file in base64."""

    data: str
    format: str


class AudioPart(BaseModel):
    """Something said."""

    type: Literal["input_audio"]
    input_audio: InputAudio


# So that an error names the fault of what was meant, and not that it is not the other.
words_or_parts = Discriminator(lambda content: "words" if isinstance(content, str) else "parts")
Words = Annotated[str, Tag("words")]
Part = Annotated[TextPart | RefusalPart | ImagePart | AudioPart, Field(discriminator="type")]


class Message(BaseModel):
    """A turn, with what clients send along."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[Words | Annotated[list[Part], Tag("parts")], words_or_parts] | None = None
    name: str | None = None
    tool_calls: list[Any] | None = Field(default=None)


@dataclass(frozen=True)
class Turn:
    """What one message says and shows. Sounds stand where their words will be."""

    role: str
    said: tuple[str | bytes, ...]
    images: tuple[bytes, ...] = ()

    @property
    def text(self) -> str:
        """The words; only once every sound has been heard."""
        return "\n".join(part for part in self.said if isinstance(part, str))

    @property
    def sounds(self) -> list[bytes]:
        """What is to be heard."""
        return [part for part in self.said if isinstance(part, bytes)]


@dataclass(frozen=True)
class Conversation:
    """The turns before, and the question at their end."""

    history: tuple[Turn, ...]
    question: Turn

    @property
    def images(self) -> list[bytes]:
        """All pictures, in order."""
        return [image for turn in (*self.history, self.question) for image in turn.images]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The history as the client takes it; each picture is shown by a mark."""
        return [
            {"role": turn.role, "content": [*({"type": "image"} for _ in turn.images), _text(turn.text)]}
            for turn in self.history
        ]


def conversation_of(messages: Sequence[Message], field: str = "messages") -> Conversation:
    """The conversation that messages are.

    Raises: ApiError: 400, by the message's place in the field.
    """
    if not messages:
        raise invalid(f"{field} is empty, it must end with a user's message", field)
    turns = tuple(_turn(message, f"{field}[{index}]") for index, message in enumerate(messages))
    if turns[-1].role != "user":
        last = f"{field}[{len(messages) - 1}]"
        raise invalid(f"{last} is the {messages[-1].role}'s, the last one must be the user's", f"{last}.role")
    return Conversation(turns[:-1], turns[-1])


async def heard(
    conversation: Conversation, params: Params, here: Context, *, leave_question: bool = False
) -> Conversation:
    """The conversation with the words of all sounds in their places; the question's sounds may be left as they are."""
    asked = conversation.question if leave_question else None
    turns = [*conversation.history, conversation.question]
    # One after another: sent at once, the later ones would meet a server that is busy with the first.
    words = [await turn_in_words(turn, params, here) for turn in turns if turn is not asked]
    *history, question = [*words, asked] if asked else words
    return Conversation(tuple(history), question)


async def turn_in_words(turn: Turn, params: Params, here: Context) -> Turn:
    """One turn, heard."""

    async def words_of(part: str | bytes) -> str:
        if isinstance(part, str):
            return part
        with named(params):
            transcript = await here.client.transcribe(part, **here.delivery)
        await here.used_audio(transcript.duration, "heard")
        return transcript.text

    if not turn.sounds:
        return turn
    return replace(turn, said=tuple([await words_of(part) for part in turn.said]))


def _turn(message: Message, place: str) -> Turn:
    if message.role in ("tool", "function") or message.tool_calls:
        field = "tool_calls" if message.tool_calls else "role"
        raise unsupported(f"{place}.{field}", "the model has no tools, and cannot read what they did")
    role = "system" if message.role == "developer" else message.role
    if isinstance(message.content, str) or message.content is None:
        return Turn(role, (message.content or "",))
    said: list[str | bytes] = []
    images: list[bytes] = []
    for index, part in enumerate(message.content):
        where = f"{place}.content[{index}]"
        if isinstance(part, ImagePart):
            images.append(of_data_url(part.image_url.url, f"{where}.image_url"))
        elif isinstance(part, AudioPart):
            said.append(of_base64(part.input_audio.data, f"{where}.input_audio"))
        else:
            said.append(part.text if isinstance(part, TextPart) else part.refusal)
    if role != "user" and (images or any(isinstance(part, bytes) for part in said)):
        raise invalid(f"{place}: only the user shows pictures and speaks, not the {message.role}", f"{place}.content")
    return Turn(role, tuple(said), tuple(images))


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}

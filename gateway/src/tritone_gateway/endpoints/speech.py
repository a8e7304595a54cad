"""/v1/audio/speech: text spoken, clause by clause as it is made; and /v1/audio/voices."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, ClassVar, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from tritone_gateway.context import Context, Here
from tritone_gateway.description import EVENTS, answers
from tritone_gateway.errors import named
from tritone_gateway.media.inline import base64_of
from tritone_gateway.media.sound import FORMATS, Encoder
from tritone_gateway.media.voices import OPENAI, Voice, ours
from tritone_gateway.requests import HARMLESS, ApiRequest
from tritone_gateway.streaming import EventStream, Stream, begun, event

router = APIRouter()
MOST_CHARACTERS = 4096
PARAMS = {"text": "input", "voice": "voice", "speed": "speed", "language": "language"}


class SpeechRequest(ApiRequest):
    """The body of /v1/audio/speech. `stream` is what other servers have: it is streamed in any case."""

    harmless: ClassVar[frozenset[str]] = HARMLESS | {"stream"}
    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {"instructions": ("",)}
    why: ClassVar[dict[str, str]] = {"instructions": "the voices cannot be told how to speak, only how fast (speed)"}

    model: str
    input: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    voice: Voice
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1, ge=0.25, le=4)
    stream_format: Literal["audio", "sse"] = "audio"
    language: str | None = None  # an extension: code such as "zh"


@router.post(
    "/v1/audio/speech", response_class=Response, responses=answers(EVENTS, *(each[3] for each in FORMATS.values()))
)
async def create(request: SpeechRequest, here: Here) -> Response:
    """The text, spoken."""
    here.catalogue.named(request.model, "tts")
    await here.caller.check("audio_seconds")
    encoded = await begun(_encoded(request, here))
    if request.stream_format == "sse":
        return EventStream(_events(encoded, request), here.request_id, here.settings.keep_alive_s)
    return Stream(encoded, FORMATS[request.response_format][3])


@router.get("/v1/audio/voices")
async def voices(here: Here) -> dict[str, object]:
    """The server's, with their languages; OpenAI's names, and those that the settings add."""
    theirs = dict.fromkeys((*OPENAI, *here.settings.voices))
    own = [_voice(name, languages=languages) for name, languages in await here.catalogue.voices()]
    return {"object": "list", "data": own + [_voice(name) for name in theirs]}


def _voice(name: str, **more: object) -> dict[str, object]:
    return {"id": name, "object": "audio.voice", "name": name, **more}


async def _encoded(request: SpeechRequest, here: Context) -> AsyncGenerator[bytes, None]:
    encoder = Encoder(request.response_format)
    clauses = here.client.speak_stream(
        request.input,
        voice=ours(request.voice, here.settings.voices),
        language=request.language,
        speed=request.speed,
        **here.delivery,
    )
    async with aclosing(clauses):
        with named(PARAMS):
            async for clause in clauses:
                await here.used_audio(clause.speech.duration, "spoken")
                if sound := encoder.feed(clause.speech.audio, clause.speech.sampling_rate):
                    yield sound
    yield encoder.end()


async def _events(encoded: AsyncGenerator[bytes, None], request: SpeechRequest) -> AsyncGenerator[bytes, None]:
    """OpenAI counts tokens, of which a voice here has none."""
    async with aclosing(encoded):
        async for sound in encoded:
            yield event({"type": "speech.audio.delta", "audio": base64_of(sound)})
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    yield event({"type": "speech.audio.done", "usage": usage})

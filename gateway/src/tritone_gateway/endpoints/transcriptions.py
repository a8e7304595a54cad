"""/v1/audio/transcriptions and /v1/audio/translations: what is said in a recording."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from openai import BaseModel
from openai.types import audio as types
from openai.types.audio.transcription import UsageDuration
from openai.types.audio.transcription_verbose import Usage
from pydantic import Field

import tritone_client
from tritone_gateway.context import Context, Here
from tritone_gateway.description import EVENTS, JSON, answers
from tritone_gateway.errors import named, unsupported
from tritone_gateway.requests import HARMLESS, ApiRequest, Upload, form_of, form_schema
from tritone_gateway.streaming import DONE, EventStream, begun, event

router = APIRouter()
CAPTIONS = {"srt": "application/x-subrip", "vtt": "text/vtt"}
TRANSCRIPTS = answers(EVENTS, JSON, "text/plain", *CAPTIONS.values())
PARAMS = {
    **dict.fromkeys(("audio", "audio_bytes"), "file"),
    **{name: name for name in ("language", "temperature")},
    "initial_prompt": "prompt",
    "task": "model",
}
LISTS = ("timestamp_granularities", "include", "languages", "keywords")
Format = Literal["json", "text", "srt", "verbose_json", "vtt"]


class HearingRequest(ApiRequest):
    """What the forms of both addresses have in common."""

    harmless: ClassVar[frozenset[str]] = HARMLESS | {"chunking_strategy"}

    file: Any
    model: str
    prompt: str | None = None
    response_format: str = "json"
    temperature: float | None = Field(None, ge=0, le=1)

    @property
    def format(self) -> str:
        """Raises: ApiError: 400: one that is not served."""
        if self.response_format not in Format.__args__:  # type: ignore[attr-defined]
            known = ", ".join(Format.__args__)  # type: ignore[attr-defined]
            reason = "nobody tells speakers apart here" if self.response_format == "diarized_json" else "unknown"
            raise unsupported("response_format", f"'{self.response_format[:40]}' is not served ({reason}); {known} are")
        return self.response_format


class TranscriptionRequest(HearingRequest):
    """The form of /v1/audio/transcriptions."""

    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {"known_speaker_names": ([],), "known_speaker_references": ([],)}
    why: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("known_speaker_names", "known_speaker_references"), "nobody tells speakers apart here")
    }

    language: str | None = None
    languages: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    timestamp_granularities: tuple[Literal["word", "segment"], ...] = ()
    stream: bool = False

    def check(self) -> None:
        """What no field can say alone.

        Raises: ApiError: 400, by the field's name.
        """
        if self.include:
            raise unsupported("include", "a transcript has no logprobs here; verbose_json has avg_logprob")
        if len(self.languages) > 1 and self.language is None:
            raise unsupported("languages", "one language can be said, or none, and then it is listened for")
        if self.timestamp_granularities and self.format != "verbose_json":
            raise unsupported("timestamp_granularities", "response_format must be verbose_json")
        if self.stream and self.format not in ("json", "text"):
            raise unsupported("stream", f"not together with the response_format {self.format}")

    @property
    def hint(self) -> str | None:
        """Text that could stand before the recording; keywords are such a text."""
        return ", ".join(filter(None, (*self.keywords, self.prompt))) or None

    @property
    def wants_words(self) -> bool:
        """Captions are cut between words, so they need them too."""
        return "word" in self.timestamp_granularities or self.format in ("srt", "vtt")


@router.post("/v1/audio/transcriptions", openapi_extra=form_schema(TranscriptionRequest), responses=TRANSCRIPTS)
async def transcribe(http: Request, here: Here) -> Response:
    """What is said, in its own language."""
    await here.caller.check("audio_seconds")
    request: TranscriptionRequest = await form_of(http, TranscriptionRequest, LISTS)
    here.catalogue.named(request.model, "whisper")
    request.check()
    language = request.language or next(iter(request.languages), None)
    options = {"language": language, "initial_prompt": request.hint, "word_timestamps": request.wants_words or None}
    sound = Upload.of(request.file, "file")
    if request.stream:
        events = await begun(_events(sound, options | _warmth(request), here))
        return EventStream(events, here.request_id, here.settings.keep_alive_s)
    heard = await _heard(sound, options | _warmth(request), here)
    usage = UsageDuration(type="duration", seconds=heard.duration)
    if request.format == "json":
        return _json(types.Transcription(text=heard.text, usage=usage))
    if request.format == "verbose_json":
        return _json(_verbose(heard, request.timestamp_granularities or ("segment",)), task="transcribe")
    return _as_text(request.format, heard)


@router.post("/v1/audio/translations", openapi_extra=form_schema(HearingRequest), responses=TRANSCRIPTS)
async def translate(http: Request, here: Here) -> Response:
    """What is said, in English; a Whisper that knows more than English must be served."""
    await here.caller.check("audio_seconds")
    request: HearingRequest = await form_of(http, HearingRequest)
    here.catalogue.named(request.model, "whisper")
    words = request.format in ("srt", "vtt") or None
    options = {"task": "translate", "initial_prompt": request.prompt, "word_timestamps": words}
    heard = await _heard(Upload.of(request.file, "file"), options | _warmth(request), here)
    if request.format == "json":
        return _json(types.Translation(text=heard.text))
    if request.format == "verbose_json":
        segments = [_segment(index, segment) for index, segment in enumerate(heard.segments)]
        told: Any = {"duration": heard.duration, "language": "english", "text": heard.text, "segments": segments}
        return _json(types.TranslationVerbose(**told), task="translate")
    return _as_text(request.format, heard)


def _warmth(request: HearingRequest) -> dict[str, float]:
    return {} if request.temperature is None else {"temperature": request.temperature}


async def _heard(sound: bytes, options: dict[str, Any], here: Context) -> tritone_client.Transcript:
    with named(PARAMS):
        transcript = await here.client.transcribe(sound, **options, **here.delivery)
    await here.used_audio(transcript.duration, "heard")
    return transcript


async def _events(sound: bytes, options: dict[str, Any], here: Context) -> AsyncGenerator[bytes, None]:
    """Stretch by stretch, each up to 30 s of the recording, as soon as it has been heard."""
    text = ""
    stretches = here.client.transcribe_stream(sound, **options, **here.delivery)
    async with aclosing(stretches):
        with named(PARAMS):
            async for stretch in stretches:
                if stretch.is_final:
                    await here.used_audio(stretch.duration, "heard")
                if not stretch.text:
                    continue
                delta = f" {stretch.text}" if text else stretch.text
                text += delta
                yield event(types.TranscriptionTextDeltaEvent(type="transcript.text.delta", delta=delta))
    yield event(types.TranscriptionTextDoneEvent(type="transcript.text.done", text=text))
    yield DONE


def _verbose(heard: tritone_client.Transcript, wanted: Sequence[str]) -> types.TranscriptionVerbose:
    parts: dict[str, Any] = {}
    if "segment" in wanted:
        parts["segments"] = [_segment(index, segment) for index, segment in enumerate(heard.segments)]
    if "word" in wanted:
        parts["words"] = [types.TranscriptionWord(word=w.text, start=w.start, end=w.end) for w in heard.words]
    return types.TranscriptionVerbose(
        duration=heard.duration,
        language=heard.language,
        text=heard.text,
        usage=Usage(type="duration", seconds=heard.duration),
        **parts,
    )


def _segment(index: int, segment: Any) -> types.TranscriptionSegment:
    return types.TranscriptionSegment(
        id=index,
        seek=segment.seek,
        start=segment.start,
        end=segment.end,
        text=segment.text,
        tokens=list(segment.tokens),
        temperature=segment.temperature,
        avg_logprob=segment.avg_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_prob=segment.no_speech_prob,
    )


def _as_text(format: str, heard: tritone_client.Transcript) -> Response:
    if format == "text":
        return PlainTextResponse(heard.text + "\n")
    captions = tritone_client.captions(heard.words, format)
    return PlainTextResponse(captions, media_type=CAPTIONS[format])


def _json(answer: BaseModel, **more: Any) -> Response:
    return JSONResponse(answer.to_dict() | more)

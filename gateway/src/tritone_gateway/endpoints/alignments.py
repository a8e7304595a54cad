"""/v1/audio/alignments: when each word of a text is said in a recording. Ours."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from tritone_gateway.context import Here
from tritone_gateway.errors import named
from tritone_gateway.requests import ApiRequest, Upload, form_of, form_schema

router = APIRouter()
PARAMS = {"audio_bytes": "file", "audio": "file", "text": "text"}


class AlignmentRequest(ApiRequest):
    """The form of /v1/audio/alignments."""

    file: Any
    text: str
    model: str = "aligner"


class AlignedWord(BaseModel):
    """A word; times in seconds, and how well the sound fits its letters, 0–1."""

    word: str
    start: float
    end: float
    score: float


class Alignment(BaseModel):
    """The words in time. `matches` is false where the recording says something else, and the times mean little."""

    object: str = "audio.alignment"
    words: list[AlignedWord]
    matches: bool
    duration: float


@router.post("/v1/audio/alignments", openapi_extra=form_schema(AlignmentRequest))
async def create(http: Request, here: Here) -> Alignment:
    """The times of the text's words."""
    await here.caller.check("audio_seconds")
    request: AlignmentRequest = await form_of(http, AlignmentRequest)
    here.catalogue.named(request.model, "aligner")
    with named(PARAMS):
        found = await here.client.align(Upload.of(request.file, "file"), request.text, **here.delivery)
    await here.used_audio(found.duration, "heard")
    words = [AlignedWord(word=word.text, start=word.start, end=word.end, score=word.score) for word in found.words]
    return Alignment(words=words, matches=found.matches, duration=found.duration)

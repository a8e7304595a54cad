"""Python client of a Tritone server: transcribe, speak, ask, converse, generate images."""

from tritone_client._calls import Request
from tritone_client._client import Client
from tritone_client._exceptions import (
    Cancelled,
    Error,
    InferenceFailed,
    InvalidInput,
    ModelNotReady,
    NotServed,
    Overloaded,
    RequestTimedOut,
    ServerUnavailable,
)
from tritone_client._mock import MockTransport
from tritone_client._transport import GrpcTransport, Transport
from tritone_client._types import (
    Answer,
    AnswerChunk,
    AudioLike,
    GeneratedImage,
    GeneratedImages,
    ImageLike,
    ImageProgress,
    Messages,
    Reply,
    Segment,
    Speech,
    Transcript,
)

__all__ = [
    "Answer",
    "AnswerChunk",
    "AudioLike",
    "Cancelled",
    "Client",
    "Error",
    "GeneratedImage",
    "GeneratedImages",
    "GrpcTransport",
    "ImageLike",
    "ImageProgress",
    "InferenceFailed",
    "InvalidInput",
    "Messages",
    "MockTransport",
    "ModelNotReady",
    "NotServed",
    "Overloaded",
    "Reply",
    "Request",
    "RequestTimedOut",
    "Segment",
    "ServerUnavailable",
    "Speech",
    "Transcript",
    "Transport",
]

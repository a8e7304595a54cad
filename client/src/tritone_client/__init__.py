"""Python client of a Tritone server: transcribe, speak, align, ask, converse, embed, search, draw."""

from tritone_client._calls import Request
from tritone_client._chat import Chat
from tritone_client._client import Client
from tritone_client._embeddings import Match, TextTruncated
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
from tritone_client._heard import captions, heard
from tritone_client._microphone import Turn, TurnDetector, blocks_of, turns
from tritone_client._mock import MockTransport
from tritone_client._search import ImageIndex
from tritone_client._transport import GrpcTransport, Transport
from tritone_client._types import (
    AlignedWord,
    Alignment,
    Answer,
    AnswerChunk,
    AudioLike,
    GeneratedImage,
    GeneratedImages,
    ImageLike,
    ImageProgress,
    Latencies,
    Messages,
    Reply,
    ReplyChunk,
    Segment,
    Speech,
    SpeechChunk,
    Transcript,
    TranscriptChunk,
    Word,
)

__all__ = [
    "AlignedWord",
    "Alignment",
    "Answer",
    "AnswerChunk",
    "AudioLike",
    "Cancelled",
    "Chat",
    "Client",
    "Error",
    "GeneratedImage",
    "GeneratedImages",
    "GrpcTransport",
    "ImageIndex",
    "ImageLike",
    "ImageProgress",
    "InferenceFailed",
    "InvalidInput",
    "Latencies",
    "Match",
    "Messages",
    "MockTransport",
    "ModelNotReady",
    "NotServed",
    "Overloaded",
    "Reply",
    "ReplyChunk",
    "Request",
    "RequestTimedOut",
    "Segment",
    "ServerUnavailable",
    "Speech",
    "SpeechChunk",
    "TextTruncated",
    "Transcript",
    "TranscriptChunk",
    "Transport",
    "Turn",
    "TurnDetector",
    "Word",
    "blocks_of",
    "captions",
    "heard",
    "turns",
]

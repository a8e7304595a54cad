"""Python client of a Tritone server: transcribe, speak, align, ask, converse, embed, search, draw."""

from tritone_client.calls.call import Request
from tritone_client.calls.embeddings import TextTruncated
from tritone_client.chat import AsyncChat, Chat
from tritone_client.client import AsyncClient, Client
from tritone_client.exceptions import (
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
from tritone_client.heard import captions, heard
from tritone_client.microphone import Turn, TurnDetector, blocks_of, turns
from tritone_client.search.image_index import ImageIndex
from tritone_client.transports.mock import MockTransport
from tritone_client.transports.transport import AsyncTransport, Transport
from tritone_client.types import (
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
    Match,
    Messages,
    Reply,
    ReplyChunk,
    Segment,
    ServedModel,
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
    "AsyncChat",
    "AsyncClient",
    "AsyncTransport",
    "AudioLike",
    "Cancelled",
    "Chat",
    "Client",
    "Error",
    "GeneratedImage",
    "GeneratedImages",
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
    "ServedModel",
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

"""What a server, a proxy or the connection says went wrong, as errors of this package; the same for gRPC and HTTP."""

import re

from tritone_client.exceptions import (
    Cancelled,
    Error,
    InferenceFailed,
    InvalidInput,
    ModelNotReady,
    NotServed,
    Overloaded,
    Refusal,
    RequestTimedOut,
    ServerUnavailable,
)

_ERRORS: dict[str, type[Error]] = {
    "CANCELLED": Cancelled,
    "UNKNOWN": InferenceFailed,
    "INVALID_ARGUMENT": InvalidInput,
    "DEADLINE_EXCEEDED": RequestTimedOut,
    "NOT_FOUND": ModelNotReady,
    "ALREADY_EXISTS": InferenceFailed,
    "PERMISSION_DENIED": NotServed,
    "UNAUTHENTICATED": NotServed,
    "RESOURCE_EXHAUSTED": Overloaded,
    "FAILED_PRECONDITION": InvalidInput,
    "ABORTED": InferenceFailed,
    "OUT_OF_RANGE": InvalidInput,
    "UNIMPLEMENTED": NotServed,
    "INTERNAL": InferenceFailed,
    "UNAVAILABLE": Overloaded,
    "DATA_LOSS": InferenceFailed,
}
# gRPC says UNAVAILABLE both for a broken connection and for a server that refuses, and tells them apart in words only.
_NO_CONNECTION = (
    "connect",  # failed to connect to all addresses; Connection refused; Connection reset by peer; upstream connect
    "socket closed",
    "broken pipe",
    "cancelling all calls",  # the server is going away
    "goaway",
    "keepalive",
    "ping timeout",
    "resolving",
    "name resolution",
    "dns resolution",
    "no healthy upstream",  # what proxies say
    "endpoint closing",
    "transport closed",
    "stream removed",
)
# Those of them that say that nothing was sent.
_NEVER_SENT = (
    "failed to connect",
    "connection refused",
    "connect: ",
    "resolving",
    "name resolution",
    "dns resolution",
    "no healthy upstream",
)
# Triton's words for a model that is (un)loading, and for one whose process died and waits for the watchdog.
_NOT_READY = (
    "not at ready state",
    "no available versions",
    "unknown model",
    "is not healthy",
    "is not ready",
    "has stopped accepting",  # Server is stopping, scheduler for model has stopped accepting new inference requests
    "server not ready",
)
# What our models, and Triton's queues, say when the time-out that the request carried has passed.
_TOO_LATE = ("request's deadline of", "request timeout expired")
# Inside a stream an error comes as bare text, without its status. Our models write Triton's name of the status in front
# where the request asks for it by its parameter `status`; what Triton's core says itself is told by its words.
_TRITON_CODES = {
    "UNKNOWN": "UNKNOWN",
    "INTERNAL": "INTERNAL",
    "NOT_FOUND": "NOT_FOUND",
    "INVALID_ARG": "INVALID_ARGUMENT",
    "UNAVAILABLE": "UNAVAILABLE",
    "UNSUPPORTED": "UNIMPLEMENTED",
    "ALREADY_EXISTS": "ALREADY_EXISTS",
    "CANCELLED": "CANCELLED",
}
_CODED = re.compile(
    rf"(?P<place>in ensemble '[^']*', )?(?P<code>{'|'.join(_TRITON_CODES)}): (?P<sentence>.*)", re.DOTALL
)
_RESTRICTED = "protocol is restricted"  # This protocol is restricted, expecting header 'triton-grpc-protocol-...'
_CORE_WORDS = {
    "UNAVAILABLE": (
        *_NOT_READY,
        _RESTRICTED,
        "exceeds maximum queue size",
        *_TOO_LATE,
        "; try again in ",
    ),
    "INVALID_ARGUMENT": (
        "unexpected shape",
        "unexpected inference input",
        "unexpected inference output",
        "unexpected datatype",
        "data-type is",
        "inputs but got",
        "missing required input",
        "batch-size must be",
        "unexpected total byte size",
        "byte size mismatch for input",
        "string elements",
        "string data",
        "string length",
        "unable to find data for input",
        "model version from specified version string",
        "invalid value type for",
        "must be specified along with",
    ),
    "CANCELLED": ("cancelled", "canceled"),
    "UNIMPLEMENTED": ("doesn't support", "not supported"),
}
# Triton's, and those of proxies.
_HTTP_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_GATEWAY_HAS_NOBODY = (502, 503)
_TRY_AGAIN = re.compile(r"; try again in (\d+(?:\.\d+)?) s")


def map_error(code: str, message: str) -> tuple[type[Error], str]:
    """The error class for a gRPC status, by its name, and what to say."""
    words = message.lower()
    said = message or code
    if code in ("UNAVAILABLE", "INTERNAL") and _any_of(_NOT_READY, words):
        return ModelNotReady, said
    if code == "UNAVAILABLE" and _any_of(_TOO_LATE, words):
        return RequestTimedOut, said
    if code == "UNAVAILABLE" and _RESTRICTED in words:
        return NotServed, said
    if code == "UNAVAILABLE" and _any_of(_NO_CONNECTION, words):
        return ServerUnavailable, said
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in words:
        return InvalidInput, said
    if code == "RESOURCE_EXHAUSTED" and "metadata size exceeds" in words:
        return InferenceFailed, f"the server failed with a sentence too long to be sent: {said}"
    return _ERRORS[code], said


def map_http_error(status: int, message: str) -> tuple[type[Error], str]:
    """The error class for a status of HTTP, and what to say; `message` is Triton's, or "" where it is not Triton's."""
    if _CODED.fullmatch(message):
        return map_bare_error(message)
    code = _HTTP_CODES.get(status, "INVALID_ARGUMENT" if 400 <= status < 500 else "UNKNOWN")
    if status == 400 and message.lower().endswith(_CORE_WORDS["CANCELLED"]):
        code = "CANCELLED"
    if not message and status in _GATEWAY_HAS_NOBODY:
        return ServerUnavailable, f"HTTP {status} of what stands before the server"
    return map_error(code, message or f"HTTP {status}")


def map_bare_error(message: str) -> tuple[type[Error], str]:
    """The error class for an error that came inside a stream, without a gRPC status, and what to say."""
    if coded := _CODED.fullmatch(message):
        return map_error(_TRITON_CODES[coded["code"]], (coded["place"] or "") + coded["sentence"])
    words = message.lower()
    told = (code for code, phrases in _CORE_WORDS.items() if _any_of(phrases, words))
    return map_error(next(told, "UNKNOWN"), message)


def error_of(kind: type[Error], message: str, model: str | None, request_id: str | None) -> Error:
    """The error, with what its sentence says of when, and whether, the request may be sent again."""
    if issubclass(kind, Refusal):
        found = _TRY_AGAIN.search(message)
        after = float(found[1]) if found else None
        return kind(message, model=model, request_id=request_id, retry_after_s=after)
    if issubclass(kind, ServerUnavailable):
        was_sent = not _any_of(_NEVER_SENT, message.lower())
        return kind(message, model=model, request_id=request_id, was_sent=was_sent)
    return kind(message, model=model, request_id=request_id)


def _any_of(phrases: tuple[str, ...], words: str) -> bool:
    return any(phrase in words for phrase in phrases)

"""How a session is configured: what `session.update` changes, and what is refused by name."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openai.types import realtime as types
from openai.types.realtime.audio_transcription import AudioTranscription
from openai.types.realtime.realtime_audio_input_turn_detection import SemanticVad, ServerVad

from tritone_gateway.errors import invalid, unsupported
from tritone_gateway.realtime.events import validated

Values = dict[str, Any]
Detection = ServerVad | SemanticVad | None
PCM = {"type": "audio/pcm", "rate": 24_000}
DETECTION: dict[str, Values] = {
    "server_vad": {
        **{"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500, "idle_timeout_ms": None},
        **{"create_response": True, "interrupt_response": True},
    },
    "semantic_vad": {"eagerness": "auto", "create_response": True, "interrupt_response": True},
}
INPUT: Values = {
    "format": PCM,
    "transcription": None,
    "noise_reduction": None,
    "turn_detection": {"type": "server_vad", **DETECTION["server_vad"]},
}
DEFAULTS: dict[str, Values] = {
    "realtime": {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "none",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "include": None,
        "audio": {"input": INPUT, "output": {"format": PCM, "voice": "alloy", "speed": 1.0}},
    },
    "transcription": {
        "type": "transcription",
        "include": None,
        "audio": {"input": {**INPUT, "transcription": {"model": "whisper"}}},
    },
}
KINDS: dict[str, Any] = {
    "realtime": types.RealtimeSessionCreateRequest,
    "transcription": types.RealtimeTranscriptionSessionCreateRequest,
}
# Fields that cannot be honoured and would change what is answered, their harmless values, and why.
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "include": ((None, []), "a transcript has no logprobs here"),
    "prompt": ((None,), "this server keeps no prompts; send instructions"),
    "reasoning": ((None,), "the model does not reason"),
    "audio.input.noise_reduction": ((None,), "nothing takes noise away here; null is what there is"),
}
# The least and the most that a number may be.
BOUNDS: dict[str, tuple[float, float]] = {
    "audio.input.turn_detection.threshold": (0, 1),
    "audio.input.turn_detection.prefix_padding_ms": (0, 5_000),
    "audio.input.turn_detection.silence_duration_ms": (50, 10_000),
    "audio.input.turn_detection.idle_timeout_ms": (1_000, 600_000),
    "audio.output.speed": (0.25, 4),
    "max_output_tokens": (1, 4_096),
}
NO_TOOLS = "the model has no tools; with tool_choice 'none' they may stand here"


class Configuration:
    """The session as it stands.

    Args:
        kind: "realtime" or "transcription".
        model: the name that the caller gave.
        check: what only the gateway knows, called with the values that would be; raises ApiError.
    """

    def __init__(self, kind: str, model: str | None, check: Callable[["Configuration"], None]) -> None:
        self.values = copy.deepcopy(DEFAULTS[kind])
        self._check = check
        if kind == "realtime":
            self.values["model"] = model
        elif model is not None:
            self.values["audio"]["input"]["transcription"]["model"] = model

    @property
    def kind(self) -> str:
        """ "realtime" or "transcription"."""
        return str(self.values["type"])

    @property
    def is_realtime(self) -> bool:
        """Whether it answers."""
        return self.kind == "realtime"

    @property
    def input(self) -> Values:
        """The part about what is heard."""
        return dict(self.values["audio"]["input"])

    @property
    def format(self) -> str:
        """Of the sound that comes: "audio/pcm", "audio/pcmu" or "audio/pcma"."""
        return str(self.input["format"]["type"])

    @property
    def detection(self) -> Detection:
        """How it is found that somebody speaks, and has ended; None: the caller says so."""
        told = self.input["turn_detection"]
        if told is None:
            return None
        return ServerVad(**told) if told["type"] == "server_vad" else SemanticVad(**told)

    @property
    def transcription(self) -> AudioTranscription | None:
        """What is wanted of transcripts; None: they are not told."""
        told = self.input["transcription"]
        return None if told is None else AudioTranscription(**told)

    def update(self, change: Mapping[str, Any], may_change_kind: bool) -> None:
        """Take over what a `session.update` names; nothing of it where anything is wrong.

        Raises: ApiError: 400, by the field's place.
        """
        kind = change.get("type", self.kind)
        if not isinstance(kind, str) or kind not in KINDS:
            raise invalid(f"session.type is '{str(kind)[:40]}', must be realtime or transcription", "session.type")
        if kind != self.kind and not may_change_kind:
            raise invalid(f"the session is of type '{self.kind}' and stays it: it has begun", "session.type")
        other = Configuration(kind, None if kind != "realtime" else self.values.get("model"), self._check)
        if kind == self.kind:
            other.values = copy.deepcopy(self.values)
        _merge(other.values, validated(KINDS[kind], {**change, "type": kind}, "session").to_dict())
        _complete(other.values)
        validated(KINDS[kind], other.values, "session")
        check_values(other.values, "session")
        self._check(other)
        self.values = other.values

    def told(self, session_id: str, expires_at: int) -> Any:
        """The session as events show it."""
        more = {"id": session_id, "object": f"realtime.{'' if self.is_realtime else 'transcription_'}session"}
        return KINDS[self.kind](**copy.deepcopy(self.values), **more, expires_at=expires_at)


@dataclass(frozen=True)
class Wish:
    """What one response shall be."""

    model: str
    modalities: tuple[str, ...]
    voice: str
    speed: float
    format: str
    instructions: str
    max_output_tokens: int | str
    truncates: bool  # whether what is too old for the model is left out
    metadata: dict[str, str] | None = None
    own_instructions: bool = False  # they are this response's alone
    in_conversation: bool = True
    input: tuple[Any, ...] | None = None  # items that it answers, in place of the conversation's

    @property
    def is_aloud(self) -> bool:
        """Whether it is spoken."""
        return "audio" in self.modalities

    @property
    def max_tokens(self) -> int | None:
        """None is as many as the model has."""
        return None if isinstance(self.max_output_tokens, str) else self.max_output_tokens


def wish_of(values: Values, asked: types.RealtimeResponseCreateParams | None) -> Wish:
    """What a session's configuration, and what a `response.create` changes of it, wants.

    Raises: ApiError: 400, by the field's place.
    """
    own: Values = asked.to_dict() if asked else {}
    merged = copy.deepcopy(values)
    _merge(merged, {name: own[name] for name in own.keys() - {"conversation", "input", "metadata"}})
    _complete(merged)
    check_values(merged, "response")
    output = merged["audio"]["output"]
    return Wish(
        model=merged["model"],
        modalities=tuple(merged["output_modalities"]),
        voice=_voice(output["voice"]),
        speed=output["speed"],
        format=output["format"]["type"],
        instructions=merged["instructions"],
        max_output_tokens=merged["max_output_tokens"],
        truncates=merged["truncation"] != "disabled",
        metadata=own.get("metadata"),
        own_instructions=bool(own.get("instructions")),
        in_conversation=own.get("conversation") != "none",
        input=tuple(asked.input) if asked and asked.input is not None else None,
    )


def check_values(values: Values, place: str) -> None:
    """Raises: ApiError: 400: what is out of bounds, or cannot be honoured."""
    for name, (harmless, why) in REFUSED.items():
        if _at(values, name) not in harmless:
            raise unsupported(f"{place}.{name}", why)
    for name, (least, most) in BOUNDS.items():
        value = _at(values, name)
        if isinstance(value, int | float) and not least <= value <= most:
            told = f"{value:g}" if isinstance(value, float) else str(value)[:40]
            raise invalid(f"{place}.{name} is {told}, must be {least:g} to {most:g}", f"{place}.{name}")
    if values.get("tools") and values.get("tool_choice") != "none":
        raise unsupported(f"{place}.tools", NO_TOOLS)
    if values.get("tool_choice", "none") not in ("none", "auto"):
        raise unsupported(f"{place}.tool_choice", NO_TOOLS)
    if len(values.get("output_modalities", "a")) != 1:
        said = "['audio'], which has a transcript, or ['text']"
        raise invalid(f"{place}.output_modalities must be {said}", f"{place}.output_modalities")
    if len(_at(values, "audio.input.transcription.languages") or ()) > 1:
        where = f"{place}.audio.input.transcription.languages"
        raise unsupported(where, "one language can be said, or none, and then it is listened for")


def _merge(values: Values, change: Mapping[str, Any]) -> None:
    """Put in what a change names. What may be off is put in as it is, and so are null and what is no object."""
    whole = ("turn_detection", "transcription", "format", "noise_reduction", "truncation", "tracing")
    for name, value in change.items():
        if isinstance(value, Mapping) and isinstance(values.get(name), dict) and name not in whole:
            _merge(values[name], value)
        elif value is not None or name in (*whole, "include", "prompt"):
            values[name] = copy.deepcopy(value)


def _complete(values: Values) -> None:
    """Fill in what a change left out of an object that it replaced."""
    heard = values["audio"]["input"]
    if (told := heard["turn_detection"]) is not None and told.get("type") in DETECTION:
        heard["turn_detection"] = {**DETECTION[told["type"]], **{k: v for k, v in told.items() if v is not None}}
    for side in values["audio"].values():
        said = {name: value for name, value in (side.get("format") or PCM).items() if value is not None}
        side["format"] = PCM | said if said.get("type", "audio/pcm") == "audio/pcm" else said
    if values["type"] == "transcription" and heard["transcription"] is None:
        heard["transcription"] = {"model": "whisper"}


def _at(values: Any, place: str) -> Any:
    for name in place.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _voice(voice: Any) -> str:
    return str(voice["id"]) if isinstance(voice, Mapping) else str(voice)

"""What was said and shown in a session: items, what is cut off them, and what the model is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from openai.types import realtime as types

from tritone_client import ReplyChunk, Speech, Word, heard
from tritone_gateway.errors import invalid
from tritone_gateway.media.inline import base64_of
from tritone_gateway.realtime.events import new_id
from tritone_gateway.realtime.sound import HEARD_RATE, RATES, WIDTHS, resampled, seconds_of
from tritone_gateway.realtime.words import spread

Role = Literal["system", "user", "assistant"]
MESSAGES: dict[str, Any] = {
    "system": types.RealtimeConversationItemSystemMessage,
    "user": types.RealtimeConversationItemUserMessage,
    "assistant": types.RealtimeConversationItemAssistantMessage,
}


@dataclass
class Text:
    """Something written."""

    kind: Literal["input_text", "output_text"]
    text: str

    def told(self, with_sound: bool) -> dict[str, Any]:
        """As events show it."""
        return {"type": self.kind, "text": self.text}


@dataclass
class Picture:
    """Something shown."""

    image: bytes = field(repr=False)
    url: str = field(repr=False)
    detail: str | None = None
    text: str = ""

    def told(self, with_sound: bool) -> dict[str, Any]:
        """As events show it."""
        more = {"detail": self.detail} if self.detail else {}
        return {"type": "input_image", **more, **({"image_url": self.url} if with_sound else {})}


@dataclass
class Said:
    """Something that the user says: samples int16 (n_samples,) at 16 kHz; its words come when they are heard.

    None in the place of its words: nobody listens to it yet.
    """

    samples: npt.NDArray[np.int16] = field(repr=False)
    format: str
    words: asyncio.Future[str] | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """What was understood; nothing while it is listened to."""
        words = self.words
        if words is None or not words.done() or words.cancelled() or words.exception() is not None:
            return ""
        return words.result()

    @property
    def seconds(self) -> float:
        """How much sound is kept."""
        return len(self.samples) / HEARD_RATE

    def told(self, with_sound: bool) -> dict[str, Any]:
        """As events show it."""
        sound = {"audio": base64_of(resampled(self.samples, self.format))} if with_sound and len(self.samples) else {}
        return {"type": "input_audio", "transcript": self.text if self.words and self.words.done() else None, **sound}


@dataclass
class Spoken:
    """Something that the model says, clause by clause."""

    format: str
    sound: bytearray = field(default_factory=bytearray, repr=False)
    clauses: list[ReplyChunk] = field(default_factory=list, repr=False)  # without their sound
    size: int = 0  # bytes of sound that there were
    spoken_s: float = 0.0  # seconds of sound that the clauses have

    @property
    def text(self) -> str:
        """The words."""
        return "".join(clause.text for clause in self.clauses)

    @property
    def seconds(self) -> float:
        """How much sound is kept."""
        return seconds_of(len(self.sound), self.format)

    def add(self, clause: ReplyChunk) -> tuple[Word, ...]:
        """Remember a clause, and when its words are said, which is returned; times count from the answer's start.

        Where the voice does not know them they are spread over its sound.
        """
        speech = clause.speech
        if speech is not None:
            end = self.spoken_s + speech.duration
            words = speech.words or spread(clause.text, self.spoken_s, end)
            self.spoken_s, speech = end, Speech(_NOTHING, speech.sampling_rate, b"", words)
        self.clauses.append(replace(clause, speech=speech))
        return speech.words if speech else ()

    def cut(self, end_s: float) -> None:
        """Leave what was heard until then, in words and in sound."""
        text = heard(self.clauses, end_s)
        spoken = self.clauses[0] if self.clauses else None
        self.clauses = [replace(spoken, text=text, speech=_kept(self.clauses, end_s))] if spoken else []
        self.size = min(self.size, round(end_s * RATES[self.format]) * WIDTHS[self.format])
        del self.sound[self.size :]

    def told(self, with_sound: bool) -> dict[str, Any]:
        """As events show it."""
        sound = {"audio": base64_of(bytes(self.sound))} if with_sound and self.sound else {}
        return {"type": "output_audio", "transcript": self.text, **sound}


Part = Text | Picture | Said | Spoken
_NOTHING = np.zeros(0, np.float32)


@dataclass(eq=False)  # each is itself alone: their samples cannot be compared
class Item:
    """One thing that somebody said, wrote or showed."""

    role: Role
    parts: list[Part]
    id: str = field(default_factory=lambda: new_id("item"))
    status: Literal["completed", "incomplete", "in_progress"] = "completed"

    @property
    def text(self) -> str:
        """All words of it."""
        return "\n".join(part.text for part in self.parts if part.text)

    @property
    def pictures(self) -> list[bytes]:
        """All that it shows."""
        return [part.image for part in self.parts if isinstance(part, Picture)]

    def told(self, with_sound: bool = False) -> Any:
        """As events show it; sound and pictures only where they are asked for."""
        return MESSAGES[self.role](
            id=self.id,
            object="realtime.item",
            type="message",
            status=self.status,
            role=self.role,
            content=[part.told(with_sound) for part in self.parts],
        )


SLACK_MS = 100  # that a player's clock may be ahead of what it was sent


class Conversation:
    """All items, in order.

    Args:
        max_items: at a time.
        max_kept_s: of sound; the oldest is let go, its words stay.
        max_picture_bytes: of all pictures together.
    """

    def __init__(self, max_items: int, max_kept_s: float, max_picture_bytes: int) -> None:
        self.items: list[Item] = []
        self._max_items, self._max_kept_s, self._max_picture_bytes = max_items, max_kept_s, max_picture_bytes

    @property
    def is_full(self) -> bool:
        """Whether no item goes in any more."""
        return len(self.items) >= self._max_items

    @property
    def last_id(self) -> str | None:
        """The id of the newest item."""
        return self.items[-1].id if self.items else None

    def find(self, item_id: str) -> Item:
        """Raises: ApiError: 400: there is no such item."""
        for item in self.items:
            if item.id == item_id:
                return item
        raise invalid(f"there is no item '{item_id[:100]}' in this conversation", "item_id", "item_not_found")

    def insert(self, item: Item, after: str | None) -> str | None:
        """Put an item behind another, in front of all ("root"), or at the end (None). Returns whom it follows.

        Raises: as `place_of` does.
        """
        place = self.place_of(item, after)
        self.items.insert(place, item)
        self.forget_sound()
        return self.items[place - 1].id if place else None

    def place_of(self, item: Item, after: str | None) -> int:
        """Where an item would go.

        Raises: ApiError: 400: no such item, an id that is taken, or no room.
        """
        if self.is_full:
            message = f"the conversation has {len(self.items)} items, which is the limit: delete some"
            raise invalid(message, "item", "conversation_full")
        if any(other.id == item.id for other in self.items):
            raise invalid(f"there is an item '{item.id[:100]}' already", "item.id", "item_exists")
        size = sum(len(image) for each in (*self.items, item) for image in each.pictures)
        if item.pictures and size > self._max_picture_bytes:
            most = self._max_picture_bytes
            raise invalid(f"the conversation's pictures have {size} bytes, the limit is {most}", "item", "too_large")
        if after is None:
            return len(self.items)
        return 0 if after == "root" else self.items.index(self.find(after)) + 1

    def delete(self, item_id: str) -> None:
        """Raises: ApiError: 400: there is no such item."""
        self.items.remove(self.find(item_id))

    def make_room(self) -> list[str]:
        """Delete the oldest items where the conversation is full; returns their ids. What a system said stays."""
        gone = []
        while self.is_full:
            oldest = next((item for item in self.items if item.role != "system"), self.items[0])
            self.items.remove(oldest)
            gone.append(oldest.id)
        return gone

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut an answer at the last word that was heard. Raises: as `to_cut` does."""
        self.to_cut(item_id, content_index, audio_end_ms).cut(audio_end_ms / 1000)

    def to_cut(self, item_id: str, content_index: int, audio_end_ms: int) -> Spoken:
        """What would be cut.

        Raises: ApiError: 400: no such item, no spoken answer, or an end behind its own.
        """
        item = self.find(item_id)
        part = item.parts[content_index] if 0 <= content_index < len(item.parts) else None
        if not isinstance(part, Spoken):
            said = f"item '{item_id[:100]}' has nothing spoken by the model at content_index {content_index}"
            raise invalid(said, "content_index" if item.role == "assistant" else "item_id")
        length = round(1000 * seconds_of(part.size, part.format))
        if not 0 <= audio_end_ms <= length + SLACK_MS:
            raise invalid(f"audio_end_ms is {audio_end_ms}, the sound has {length} ms", "audio_end_ms")
        return part

    def forget_sound(self) -> None:
        """Let go of the oldest sound where there is more than the limit."""
        kept = 0.0
        for item in reversed(self.items):
            for part in item.parts:
                if not isinstance(part, Said | Spoken):
                    continue
                kept += part.seconds
                if kept > self._max_kept_s and isinstance(part, Spoken):
                    part.sound.clear()
                elif kept > self._max_kept_s and isinstance(part, Said):
                    part.samples = part.samples[:0]


async def understood(items: Sequence[Item]) -> None:
    """Wait until everything that was said has its words. What could not be heard earlier reads as nothing.

    Raises: ApiError: the last item could not be heard.
    """
    for item in items:
        for part in item.parts:
            if isinstance(part, Said) and part.words is not None:
                await asyncio.wait((part.words,))
    for part in items[-1].parts if items else ():
        if isinstance(part, Said) and part.words is not None:
            part.words.result()


def _kept(clauses: list[ReplyChunk], end_s: float) -> Speech:
    """The words that were heard, so that more can be cut off later."""
    words = [word for each in clauses if each.speech for word in each.speech.words]
    rate = next((each.speech.sampling_rate for each in clauses if each.speech), HEARD_RATE)
    return Speech(_NOTHING, rate, b"", tuple(word for word in words if (word.start + word.end) / 2 <= end_s))

"""What of a conversation the model is told: it reads so much and no more."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tritone_gateway.realtime.conversation import Item

Turn = tuple[str, list[str], list[bytes]]  # whose it is, what it says and shows


@dataclass(frozen=True)
class Question:
    """What the model is asked."""

    messages: list[dict[str, Any]]
    text: str
    images: list[bytes]


def remembered(items: Sequence[Item], max_characters: int) -> list[Item]:
    """The newest items that have no more characters together; and whatever else may not be forgotten."""
    kept, left = _unforgettable(items), max_characters
    for item in reversed(items):
        left -= len(item.text)
        if left >= 0:
            kept.add(item.id)
    return [item for item in items if item.id in kept]


def shorter(items: Sequence[Item]) -> list[Item] | None:
    """The items without the older half of those that may be forgotten; None: there are none."""
    kept = _unforgettable(items)
    loose = [item.id for item in items if item.id not in kept]
    gone = set(loose[: (len(loose) + 1) // 2])
    return [item for item in items if item.id not in gone] if gone else None


def _unforgettable(items: Sequence[Item]) -> set[str]:
    """What a system said, the last item, and the one that shows the newest picture: it may still be spoken of."""
    shown = next((item.id for item in reversed(items) if item.pictures), None)
    last = [item.id for item in items[-1:]]
    return {item.id for item in items if item.role == "system" or item.id == shown} | set(last)


def question_of(items: Sequence[Item], instructions: str) -> Question | None:
    """What the model is asked: the turns before, and the user's words behind them; None: there are none."""
    turns: list[Turn] = []
    for item in items:
        if not item.text and not item.pictures:
            continue
        if not turns or turns[-1][0] != item.role:
            turns.append((item.role, [], []))
        turns[-1][1].append(item.text)
        turns[-1][2].extend(item.pictures)
    if not turns or turns[-1][0] != "user":
        return None
    *history, (_, asked, shown) = turns
    if not (text := "\n".join(filter(None, asked))):
        return None
    told: list[Turn] = [("system", [instructions], [])] if instructions.strip() else []
    messages = [_message(*turn) for turn in (*told, *history)]
    return Question(messages, text, [image for _, _, images in history for image in images] + shown)


def _message(role: str, texts: list[str], images: list[bytes]) -> dict[str, Any]:
    text = {"type": "text", "text": "\n".join(filter(None, texts))}
    return {"role": role, "content": [*({"type": "image"} for _ in images), text]}

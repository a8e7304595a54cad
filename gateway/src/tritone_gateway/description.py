"""What /openapi.json says of answers that are built by hand, as most are here: they stream, or are files."""

from typing import Any

from openai import BaseModel

EVENTS, JSON = "text/event-stream", "application/json"


def answers(*media_types: str, model: type[BaseModel] | None = None) -> dict[int | str, dict[str, Any]]:
    """For the argument `responses` of a route: JSON of a model, where there is one, and these media types."""
    said: dict[str, Any] = {"description": "The answer", "content": {kind: {} for kind in media_types}}
    return {200: said | ({"model": model} if model else {})}

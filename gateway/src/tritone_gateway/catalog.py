"""Which models there are, under which names."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tritone_client import AsyncClient, ModelNotReady
from tritone_gateway.errors import ApiError

# Our names, and the public model of the server that must be there for each. No other model can be reached.
BEHIND = {
    "llava": "llava",
    "clip": "clip_text",
    "stable_diffusion": "stable_diffusion",
    "whisper": "transcribe",
    "tts": "speak_stream",
    "aligner": "align",
}
FRESH_S = 10.0  # for so long what was found is believed


@dataclass(frozen=True)
class Named:
    """What a caller means by a model's name."""

    model: str  # one of BEHIND
    adapter: str | None  # of llava


class Catalogue:
    """The models of a server, asked for now and then.

    Args:
        aliases: names that others have for our models.
    """

    def __init__(self, client: AsyncClient, aliases: Mapping[str, str]) -> None:
        self._client, self._aliases = client, aliases
        self._facts: dict[str, dict[str, Any]] = {}
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def names(self) -> list[str]:
        """All names of models that are there, adapters among them.

        Raises: tritone_client.Error: the server does not say.
        """
        facts = await self._told()
        adapters = facts.get("llava", {}).get("adapters", ())
        return [name for name, model in BEHIND.items() if model in facts] + [f"llava:{name}" for name in adapters]

    async def voices(self) -> list[tuple[str, list[str]]]:
        """The server's voices and their languages."""
        told = (await self._told()).get("tts", {}).get("voices", ())
        return [(voice["name"], voice["languages"]) for voice in told]

    async def _told(self) -> dict[str, dict[str, Any]]:
        async with self._lock:
            if time.monotonic() >= self._until:
                self._facts = await self._ask()
                self._until = time.monotonic() + FRESH_S
        return self._facts

    async def _ask(self) -> dict[str, dict[str, Any]]:
        """What the server says of itself; or, where its model for that was not loaded, which models are ready."""
        try:
            return await self._client.catalog()
        except ModelNotReady:
            return {model.name: {} for model in await self._client.models()}

    def named(self, name: str, wanted: str) -> Named:
        """What a name means where the model `wanted` is needed.

        Raises: ApiError: 404: a name that nobody knows, or of a model that does something else.
        """
        known = self._aliases.get(name, name)
        model, _, adapter = known.partition(":")
        if model != wanted or (adapter and model != "llava"):
            exists = "does something else" if model in BEHIND else "is not known here"
            more = ", 'llava:<adapter>'" if wanted == "llava" else ""
            message = f"the model '{name[:100]}' {exists}; for this there is '{wanted}'{more}"
            raise ApiError(404, message, param="model", code="model_not_found")
        return Named(model, adapter or None)

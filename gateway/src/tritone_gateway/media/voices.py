"""Names of voices.

OpenAI's 13 names (alloy, ash, ballad, cedar, coral, echo, fable, marin, nova, onyx, sage, shimmer, verse) are taken for
the server's own choice: its first voice that can read the text. So a Chinese text finds a Chinese voice under each of
them. The setting `voices` gives any of them to one voice of the server; every other name is the server's own.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

OPENAI = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer"),
    "verse",
)


def _name(voice: Any) -> Any:
    """OpenAI's types have a name, or an object with an id."""
    return voice.get("id") if isinstance(voice, dict) else voice


Voice = Annotated[str, BeforeValidator(_name)]


def ours(voice: str, table: Mapping[str, str]) -> str | None:
    """The server's voice that a name stands for; None is its own choice."""
    if voice in table:
        return table[voice]
    return None if voice in OPENAI else voice

"""What chats and responses have in common: how words are drawn, and tools, which there are none of."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from tritone_gateway.endpoints.language.messages import SAID
from tritone_gateway.errors import unsupported
from tritone_gateway.requests import ApiRequest

SAME = ("temperature", "top_p", "top_k", "repetition_penalty", "seed", "stop", "top_logprobs", "logprobs")
NO_TOOLS = "the model has no tools; with tool_choice 'none' they may stand here"


class ResponseFormat(BaseModel):
    """What an answer must be."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "json_object", "json_schema"]


class SampledRequest(ApiRequest):
    """A body that asks the language model.

    A subclass says in which field what was said stands (`conversed`), and in which what else the server may speak of.
    """

    conversed: ClassVar[str]
    model: str
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    stream: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: tuple[Any, ...] = ()
    tool_choice: Any = None
    # Extensions, as other servers have them.
    top_k: int | None = None
    repetition_penalty: float | None = None

    @property
    def params(self) -> dict[str, str]:
        """The fields of this body by the server's own names."""
        return {**dict.fromkeys(SAID, self.conversed), **{name: name for name in SAME}, "adapter": "model"}

    def check_tools(self) -> None:
        """Raises: ApiError: 400: tools that would have to be used."""
        if self.tools and self.tool_choice != "none":
            raise unsupported("tools", NO_TOOLS)
        if self.tool_choice not in (None, "none", "auto"):
            raise unsupported("tool_choice", NO_TOOLS)

    def drawing(self, max_tokens: int | None, adapter: str | None) -> dict[str, Any]:
        """The client's options for how words are drawn."""
        return {
            "max_tokens": max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "repetition_penalty": self.repetition_penalty,
            "seed": self.seed,
            "stop": self.stop,
            "adapter": adapter,
        }

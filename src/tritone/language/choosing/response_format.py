"""What an answer is to look like, in OpenAI's words: `response_format`. It knows nothing of tokens."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tritone.errors import InvalidInput

MAX_BYTES = 65_536
_OBJECT = '{"type": "object"}'


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")  # an unknown field would change the answer


class _Text(_Part):
    type: Literal["text"]


class _JsonObject(_Part):
    type: Literal["json_object"]


class _Schema(_Part):
    name: str
    description: str | None = None
    schema_: dict[str, Any] = Field({}, alias="schema")
    strict: bool | None = None  # every schema is kept to


class _JsonSchema(_Part):
    type: Literal["json_schema"]
    json_schema: _Schema


_FORMATS: TypeAdapter[_Text | _JsonObject | _JsonSchema] = TypeAdapter(
    Annotated[_Text | _JsonObject | _JsonSchema, Field(discriminator="type")]
)


def schema_of(response_format: str) -> str:
    """The JSON schema of the answers that are wanted; "" for any text.

    Args:
        response_format: OpenAI's object as JSON: `{"type": "text"}`, `{"type": "json_object"}`, or
            `{"type": "json_schema", "json_schema": {"name": …, "schema": …}}`; "" is text.

    Raises: InvalidInput: naming the place, or the size and the limit.
    """
    if not response_format:
        return ""
    if (size := len(response_format.encode("utf-8"))) > MAX_BYTES:
        raise InvalidInput(f"response_format has {size:,} bytes, the limit is {MAX_BYTES:,}")
    try:
        wanted = _FORMATS.validate_json(response_format)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "the start"
        raise InvalidInput(f"response_format at {place}: {fault['msg']}") from None
    if isinstance(wanted, _JsonSchema):
        return json.dumps(wanted.json_schema.schema_)
    return _OBJECT if isinstance(wanted, _JsonObject) else ""

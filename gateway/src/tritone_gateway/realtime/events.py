"""Events as they come and go: OpenAI's own models, so that no field drifts."""

import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

from openai import BaseModel
from openai.types import realtime as types
from openai.types.realtime.realtime_error import RealtimeError
from pydantic import ValidationError
from pydantic_core import from_json

from tritone_gateway.errors import ApiError, invalid, written

# Every event that a client may send, by its type.
CLIENT: dict[str, type[BaseModel]] = {
    get_args(kind.model_fields["type"].annotation)[0]: kind for kind in get_args(get_args(types.RealtimeClientEvent)[0])
}


class Outgoing:
    """Sends events, one after another, and waits while the caller is slow to read.

    Args:
        send: takes the text of an event.
    """

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self._send = send

    async def tell(self, kind: type[BaseModel], **fields: Any) -> None:
        """Send the event of an `openai.types.realtime` class; fields that it has not are extensions of ours."""
        name = get_args(kind.model_fields["type"].annotation)[0]
        more: Any = {"type": name, "event_id": new_id("event"), **fields}
        event = kind(**more)
        await self._send(event.to_json(indent=None, exclude_unset=True))

    async def fault(self, error: ApiError, event_id: str | None = None) -> None:
        """Say what was wrong with an event of the caller's, or went wrong by itself; the session lives on."""
        body = error.body
        told = RealtimeError(message=body.message, type=body.type, code=body.code, param=body.param, event_id=event_id)
        await self.tell(types.RealtimeErrorEvent, error=told)


def new_id(kind: str) -> str:
    """A name that nobody has, such as "item_…"."""
    return f"{kind}_{uuid.uuid4().hex[:24]}"


def loaded(text: str) -> dict[str, Any]:
    """The JSON object that an event is.

    Raises: ApiError: 400.
    """
    try:
        event = from_json(text)
    except ValueError as error:
        raise invalid(f"the event is not JSON: {error}", None, "invalid_json") from None
    if not isinstance(event, dict):
        raise invalid("an event must be a JSON object", None, "invalid_json")
    return event


def parsed(event: Mapping[str, Any]) -> Any:
    """The event as OpenAI's class has it.

    Raises: ApiError: 400, by the field's name.
    """
    kind = event.get("type")
    if kind is None:
        raise invalid("'type' is missing", "type", "missing_required_parameter")
    if not isinstance(kind, str) or kind not in CLIENT:
        known = ", ".join(sorted(CLIENT))
        raise invalid(f"there is no event '{str(kind)[:100]}'; there are {known}", "type")
    return validated(CLIENT[kind], dict(event), "")


def validated(kind: type[BaseModel], values: Mapping[str, Any], place: str) -> Any:
    """Values as a class has them; `place` is where they stand, for the error.

    Raises: ApiError: 400: a wrong value, or a field that there is not.
    """
    try:
        found = kind.model_validate(values)
    except ValidationError as error:
        raise _fault([dict(each) for each in error.errors(include_input=False, include_url=False)], place) from None
    if (unknown := next(_unknown(found, place), None)) is not None:
        raise invalid(f"there is no field '{unknown[:100]}'", unknown[:100], "unknown_parameter")
    return found


def _fault(errors: list[dict[str, Any]], place: str) -> ApiError:
    """The first fault; of a value that may be one of several classes, that of the class which it says it is."""
    others = [each["loc"][:-1] for each in errors if each["type"] == "literal_error" and _says_which(each["loc"])]
    meant = [each for each in errors if not any(each["loc"][: len(other)] == other for other in others)]
    fault = (meant or errors)[0]
    param = place
    for name in fault["loc"]:
        if isinstance(name, int):
            param += f"[{name}]"
        elif name[:1].islower() and "[" not in name and name not in ("str", "int", "literal"):
            param += f".{name}"
    param = param.lstrip(".")
    if fault["type"] == "missing":
        return invalid(f"'{param}' is missing", param, "missing_required_parameter")
    return invalid(f"{param}: {fault['msg']}", written(param))


def _says_which(place: Sequence[Any]) -> bool:
    """Whether it is the field by which classes are told apart; a class has its own name in the place of a fault."""
    return place[-1] in ("type", "role") and len(place) > 1 and str(place[-2])[:1].isupper()


def _unknown(model: BaseModel, place: str) -> Iterator[str]:
    """The places of fields that no class of OpenAI's has."""
    for name in model.model_extra or ():
        yield f"{place}.{name}".lstrip(".")
    for name in model.model_fields_set & set(type(model).model_fields):
        value = getattr(model, name)
        for number, each in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(each, BaseModel):
                where = f"{place}.{name}".lstrip(".") + (f"[{number}]" if isinstance(value, list) else "")
                yield from _unknown(each, where)

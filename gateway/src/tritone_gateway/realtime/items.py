"""Items that a caller makes, as OpenAI's types have them, to those of a conversation."""

from typing import Any

import numpy as np

from tritone_gateway.errors import invalid, unsupported
from tritone_gateway.media.inline import of_base64, of_data_url
from tritone_gateway.realtime.conversation import Item, Part, Picture, Said, Text
from tritone_gateway.realtime.events import new_id
from tritone_gateway.realtime.sound import Decoder

KINDS = {"system": ("input_text",), "user": ("input_text", "input_audio", "input_image")}
ASSISTANTS = ("output_text", "output_audio")


def item_of(given: Any, place: str, format: str) -> Item:
    """The item that one of OpenAI's types describes.

    Args:
        place: where it stands, for errors.
        format: of its sound, which nobody has listened to yet.

    Raises: ApiError: 400, by the field's place.
    """
    if getattr(given, "type", None) != "message":
        raise unsupported(f"{place}.type", "the model has no tools: an item is a message")
    role = given.role
    if not given.content:
        raise invalid(f"{place}.content is empty", f"{place}.content")
    parts = [_part(role, part, f"{place}.content[{index}]", format) for index, part in enumerate(given.content)]
    return Item(role, parts, id=given.id or new_id("item"))


def _part(role: str, part: Any, place: str, format: str) -> Part:
    known = KINDS.get(role, ASSISTANTS)
    if part.type not in known:
        raise invalid(f"{place}.type is '{part.type}', must be one of {', '.join(known)} for {role}", f"{place}.type")
    if part.type == "input_image":
        url = part.image_url or ""
        return Picture(of_data_url(url, f"{place}.image_url"), url, part.detail)
    if part.type == "input_audio":
        if part.audio is None:
            return Text("input_text", _needed(part.transcript, f"{place}.audio"))
        decoder = Decoder(format)
        samples = decoder.feed(of_base64(part.audio, f"{place}.audio"))
        return Said(np.concatenate([samples, decoder.end()]), format)
    if part.type == "output_audio":
        return Text("output_text", _needed(part.transcript, f"{place}.transcript"))
    return Text(part.type, _needed(part.text, f"{place}.text"))


def _needed(value: str | None, place: str) -> str:
    if value is None:
        raise invalid(f"'{place}' is missing", place, "missing_required_parameter")
    return value

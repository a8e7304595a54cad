"""Texts and pictures in the spellings that clients have for them, for the addresses that take both."""

from typing import Any

from tritone_gateway.errors import invalid
from tritone_gateway.media.inline import of_base64, of_data_url

SPELLINGS = (
    "text, a data URL, {'type': 'text', 'text': …}, {'type': 'image_url', 'image_url': {'url': 'data:…'}}, "
    "{'text': …} or {'image': 'data:…'}"
)
Item = str | bytes  # a text; a picture file


def item_of(value: Any, place: str) -> Item:
    """A text or a picture.

    Raises: ApiError: 400, by its place.
    """
    if isinstance(value, str):
        return of_data_url(value, place) if value.startswith("data:") else _text(value, place)
    if isinstance(value, dict):
        for name in ("text", "input_text"):
            if isinstance(value.get(name), str):
                return _text(value[name], place)
        if (url := _url(value)) is not None:
            return of_data_url(url, place)
        if isinstance(image := value.get("image"), str):
            return of_data_url(image, place) if ":" in image else of_base64(image, place)
    if isinstance(value, int) or (isinstance(value, list) and all(isinstance(each, int) for each in value)):
        raise invalid(f"{place} is made of token ids, which differ from model to model; send the text", place)
    raise invalid(f"{place} must be {SPELLINGS}", place)


def items_of(values: Any, place: str, most: int) -> list[Item]:
    """A list of them, also from a single one."""
    if not isinstance(values, list):
        return [item_of(values, place)]
    if not 0 < len(values) <= most:
        raise invalid(f"{place} has {len(values)} items, must have 1 to {most}", place)
    if all(isinstance(each, int) for each in values):
        return [item_of(values, place)]
    return [item_of(value, f"{place}[{index}]") for index, value in enumerate(values)]


def pictures_in(items: list[Item]) -> int:
    """How many of them are pictures."""
    return sum(isinstance(item, bytes) for item in items)


def _url(value: dict[str, Any]) -> str | None:
    """OpenAI's spelling of a picture; of a Responses item too."""
    url = value.get("image_url")
    url = url.get("url") if isinstance(url, dict) else url
    return url if isinstance(url, str) else None


def _text(text: str, place: str) -> str:
    if not text.strip():
        raise invalid(f"{place} is an empty text", place)
    return text

"""Texts and pictures in the spellings that clients have for them, for the addresses that take both."""

from typing import Any

from tritone_client import Embedding, InvalidInput
from tritone_gateway.context import Context
from tritone_gateway.errors import invalid, named
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


async def vectors_of(items: list[Item], place: str, here: Context, *, listed: bool, truncate: bool) -> list[Embedding]:
    """The vectors of items that stand at a place of the body: a list of them, or one.

    Raises: ApiError: 400, by the item's place: it cannot be read, or is a text longer than the model reads, whose
        vector would be that of its beginning, and `truncate` does not ask for that.
    """
    with named({"items": f"{place}[]"}):
        try:
            found = await here.client.embed_each(items, **here.delivery)
        except InvalidInput as error:
            if len(items) > 1:
                raise  # the client says which
            raise invalid(str(error), f"{place}[0]" if listed else place) from error
    cut = [index for index, each in enumerate(found) if each.truncated]
    if cut and not truncate:
        where = f"{place}[{cut[0]}]" if listed else place
        read = found[cut[0]].token_count
        said = f"{where} is longer than the {read} tokens that the model reads; with truncate true its beginning counts"
        raise invalid(said, where, "context_length_exceeded")
    return found


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

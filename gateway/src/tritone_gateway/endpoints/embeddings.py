"""/v1/embeddings: texts and pictures as vectors in one space."""

import asyncio
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Response
from openai.types import CreateEmbeddingResponse, Embedding
from openai.types.create_embedding_response import Usage
from pydantic import Field

from tritone_gateway.context import Context, Here
from tritone_gateway.endpoints.items import Item, items_of, pictures_in
from tritone_gateway.errors import invalid, named
from tritone_gateway.media.inline import base64_of
from tritone_gateway.requests import ApiRequest

router = APIRouter()
MOST = 2048  # inputs of a request, as OpenAI has it
PARAMS = dict.fromkeys(("text", "texts", "image", "images", "image_bytes"), "input")
Vector = npt.NDArray[np.float32]


class EmbeddingsRequest(ApiRequest):
    """The body of /v1/embeddings."""

    why: ClassVar[dict[str, str]] = {}

    model: str
    input: str | list[Any] | dict[str, Any]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)


@router.post("/v1/embeddings")
async def create(request: EmbeddingsRequest, here: Here) -> Response:
    """The vectors of texts and pictures, in the order of the input."""
    here.catalogue.named(request.model, "clip")
    await here.caller.check("tokens")
    items = items_of(request.input, "input", MOST)
    await here.take_pictures(pictures_in(items), "shown")
    vectors, tokens = await embedded(items, here)
    if request.dimensions not in (None, len(vectors[0])):
        raise invalid(f"dimensions is {request.dimensions}, the model has {len(vectors[0])}", "dimensions")
    await here.used_tokens(tokens, 0)
    answer = CreateEmbeddingResponse.model_construct(
        object="list",
        model=request.model,
        data=[_embedding(index, vector, request.encoding_format) for index, vector in enumerate(vectors)],
        usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
    )
    # The type says numbers; base64, which the SDK asks for unless told, is text in their place.
    return Response(answer.model_dump_json(warnings=False), media_type="application/json")


async def embedded(items: list[Item], here: Context) -> tuple[list[Vector], int]:
    """Unit vectors of texts and pictures, in their order, and the tokens of the texts."""
    texts = {index: item for index, item in enumerate(items) if isinstance(item, str)}
    pictures = {index: item for index, item in enumerate(items) if isinstance(item, bytes)}
    with named(PARAMS):
        read, seen = await asyncio.gather(
            here.client.embed_text(list(texts.values()), **here.delivery),
            here.client.embed_images(list(pictures.values()), **here.delivery),
        )
    found = dict(zip((*texts, *pictures), (*read, *seen), strict=True))
    return [found[index] for index in range(len(items))], 0


def _embedding(index: int, vector: Vector, encoding: str) -> Embedding:
    values: Any = base64_of(vector.astype("<f4").tobytes()) if encoding == "base64" else vector.tolist()
    return Embedding.model_construct(object="embedding", index=index, embedding=values)

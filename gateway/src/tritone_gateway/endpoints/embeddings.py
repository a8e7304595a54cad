"""/v1/embeddings: texts and pictures as vectors in one space."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Response
from openai.types import CreateEmbeddingResponse, Embedding
from openai.types.create_embedding_response import Usage
from pydantic import Field

from tritone_gateway.context import Here
from tritone_gateway.description import answers
from tritone_gateway.endpoints.items import items_of, pictures_in, vectors_of
from tritone_gateway.errors import invalid
from tritone_gateway.media.inline import base64_of
from tritone_gateway.requests import ApiRequest

router = APIRouter()
MOST = 2048  # inputs of a request, as OpenAI has it
Vector = npt.NDArray[np.float32]


class EmbeddingsRequest(ApiRequest):
    """The body of /v1/embeddings."""

    model: str
    input: str | list[Any] | dict[str, Any]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    truncate: bool = False  # an extension: of a text that is too long, the beginning


@router.post("/v1/embeddings", responses=answers(model=CreateEmbeddingResponse))
async def create(request: EmbeddingsRequest, here: Here) -> Response:
    """The vectors of texts and pictures, in the order of the input."""
    here.catalogue.named(request.model, "clip")
    await here.caller.check("tokens")
    items = items_of(request.input, "input", MOST)
    await here.take_pictures(pictures_in(items), "shown")
    listed = isinstance(request.input, list)
    found = await vectors_of(items, "input", here, listed=listed, truncate=request.truncate)
    vectors, tokens = [each.vector for each in found], sum(each.token_count for each in found)
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


def _embedding(index: int, vector: Vector, encoding: str) -> Embedding:
    if encoding == "float":  # `model_construct` of the SDK would look at every number by itself
        return Embedding(object="embedding", index=index, embedding=vector.tolist())
    text: Any = base64_of(vector.astype("<f4").tobytes())
    return Embedding.model_construct(object="embedding", index=index, embedding=text)

"""/v1/rank: which of many texts and pictures goes best with one. Ours; its fields are those of the usual rerankers."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tritone_gateway.context import Here
from tritone_gateway.endpoints.items import item_of, items_of, pictures_in, vectors_of
from tritone_gateway.requests import ApiRequest

router = APIRouter()
MOST = 1024  # documents of a request


class RankRequest(ApiRequest):
    """The body of /v1/rank."""

    model: str = "clip"
    query: str | dict[str, Any]
    documents: list[Any]
    top_n: int | None = Field(None, ge=1)
    truncate: bool = False  # of a text that is too long, the beginning


class Result(BaseModel):
    """A document and how well it goes with the query: the cosine of the angle between the two, −1..1."""

    index: int
    relevance_score: float


class RankResponse(BaseModel):
    """The documents, best first."""

    object: str = "list"
    model: str
    results: list[Result]


@router.post("/v1/rank")
async def rank(request: RankRequest, here: Here) -> RankResponse:
    """Texts against pictures, pictures against texts, or like against like."""
    here.catalogue.named(request.model, "clip")
    await here.caller.check("tokens")
    query = item_of(request.query, "query")
    documents = items_of(request.documents, "documents", MOST)
    await here.take_pictures(pictures_in([query, *documents]), "shown")
    [asked] = await vectors_of([query], "query", here, listed=False, truncate=request.truncate)
    found = await vectors_of(documents, "documents", here, listed=True, truncate=request.truncate)
    await here.used_tokens(sum(each.token_count for each in (asked, *found)), 0)
    scores = [float(each.vector @ asked.vector) for each in found]
    best = sorted(range(len(scores)), key=lambda index: -scores[index])  # equals keep their order
    results = [Result(index=index, relevance_score=scores[index]) for index in best[: request.top_n]]
    return RankResponse(model=request.model, results=results)

"""/v1/models: what there is."""

from fastapi import APIRouter
from openai.types import Model

from tritone_gateway.context import Here
from tritone_gateway.errors import ApiError

router = APIRouter()
OWNER = "tritone"


@router.get("/v1/models")
async def list_models(here: Here) -> dict[str, object]:
    """All models that can be asked for."""
    names = await here.catalogue.names()
    return {"object": "list", "data": [_model(name).to_dict() for name in names]}


@router.get("/v1/models/{name:path}")
async def retrieve_model(name: str, here: Here) -> dict[str, object]:
    """One of them."""
    if name not in await here.catalogue.names():
        raise ApiError(404, f"the model '{name[:100]}' does not exist here", param="model", code="model_not_found")
    return _model(name).to_dict()


def _model(name: str) -> Model:
    return Model(id=name, created=0, object="model", owned_by=OWNER)

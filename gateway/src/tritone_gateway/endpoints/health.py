"""For probes and for Prometheus."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from tritone_gateway.description import answers

router = APIRouter()


@router.get("/health")
@router.head("/health", include_in_schema=False)  # balancers ask so
async def health() -> dict[str, str]:
    """The gateway lives."""
    return {"status": "ok"}


@router.get("/ready")
@router.head("/ready", include_in_schema=False)
async def ready(request: Request) -> JSONResponse:
    """The gateway and the server behind it can be asked."""
    there = await request.app.state.client.is_ready()
    return JSONResponse({"status": "ready" if there else "the server is not ready"}, 200 if there else 503)


@router.get("/metrics", response_class=Response, responses=answers(CONTENT_TYPE_LATEST))
async def metrics(request: Request) -> Response:
    """What the gateway counts, in Prometheus' format."""
    return Response(request.app.state.metrics.page(), media_type=CONTENT_TYPE_LATEST)

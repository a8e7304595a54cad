"""The application: its endpoints, and the door that every request comes through."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from tritone_client import AsyncClient
from tritone_gateway import errors
from tritone_gateway.catalog import Catalogue
from tritone_gateway.door.access import Access
from tritone_gateway.door.door import Door
from tritone_gateway.door.passes import Passes
from tritone_gateway.endpoints import (
    alignments,
    embeddings,
    health,
    images,
    models,
    page,
    rank,
    speech,
    transcriptions,
)
from tritone_gateway.endpoints.language import chat, responses
from tritone_gateway.metrics import Metrics
from tritone_gateway.realtime import secrets
from tritone_gateway.realtime import socket as realtime
from tritone_gateway.settings import Settings

ENDPOINTS = (
    *(health, models, chat, responses, embeddings, rank, transcriptions, speech, alignments, images),
    *(secrets, realtime),
)
EXPOSED = ["x-request-id", "retry-after", "retry-after-ms", "x-should-retry"]


def create_app(settings: Settings, client: AsyncClient, patient: AsyncClient | None = None) -> FastAPI:
    """The gateway of one server. It closes its clients when it ends.

    Args:
        client: that asks once, as callers come again themselves.
        patient: that asks again where it is refused, for realtime sessions; the same when there is none.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        yield
        for each in {client, patient or client}:
            await each.close()

    app = FastAPI(
        title="Tritone",
        version=version("tritone-gateway"),
        lifespan=lifespan,
        responses=errors.FAILURES,
        docs_url=None,  # these pages load what they show from elsewhere
        redoc_url=None,
    )
    state, access = app.state, Access(settings)
    state.patient = patient or client
    state.client, state.settings, state.metrics = client, settings, Metrics()
    state.passes = passes = Passes()
    state.catalogue = Catalogue(client, settings.aliases)
    for endpoint in ENDPOINTS:
        app.include_router(endpoint.router)
    shown = page.files() if settings.page else {}
    app.include_router(page.router_of(shown))
    errors.install(app)
    app.add_middleware(
        Door, settings=settings, access=access, metrics=state.metrics, passes=passes, open_to_all=frozenset(shown)
    )
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    return app

"""`tritone gateway`: serves the API. `tritone gateway keys` says who may ask."""

import asyncio
import logging
import socket
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.table import Table

from tritone_client import AsyncClient, InvalidInput
from tritone_gateway.app import create_app
from tritone_gateway.door.access import RefusesToStart, may_start
from tritone_gateway.door.connection import bounded, sockets
from tritone_gateway.door.keys import KeyFile, KeysUnreadable
from tritone_gateway.settings import Limits, Settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help="OpenAI's API, over a Tritone server.")
keys = typer.Typer(add_completion=False, no_args_is_help=True, help="Who may ask: a file with the hashes of keys.")
app.add_typer(keys, name="keys")
out = Console(highlight=False, markup=False, soft_wrap=True)
err = Console(highlight=False, markup=False, soft_wrap=True, stderr=True)
REFUSED = 2
KEYS = Path("gateway_keys.json")
READY = "ready"  # how the line starts that says so
KeysFile = Annotated[Path, typer.Option("--file", help="The file of hashes.", envvar="TRITONE_GATEWAY_KEYS")]


@app.callback(invoke_without_command=True)
def gateway(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 is any free one.", show_default="8080")] = None,
    server: Annotated[
        str | None, typer.Option(help="Address of the Tritone server.", show_default="localhost:8001")
    ] = None,
    keys_file: Annotated[Path | None, typer.Option("--keys", help="The file of hashes: only its keys may ask.")] = None,
    open_: Annotated[bool | None, typer.Option("--open", help="Anybody may ask, without a key.")] = None,
    page: Annotated[bool | None, typer.Option("--page/--no-page", help="Show the page for people at /.")] = None,
    cors: Annotated[list[str] | None, typer.Option(help="Origin whose pages may ask; may be repeated.")] = None,
) -> None:
    """Serve OpenAI's API until Ctrl-C. Everything can also be set by variables such as TRITONE_GATEWAY_PORT."""
    if context.invoked_subcommand is not None:
        return
    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "server": server,
        "keys": keys_file,
        "open": open_,
        "page": page,
        "cors": cors,
    }
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
        access = may_start(settings)
        listening = _listen(settings)
    except ValidationError as error:
        fault = error.errors()[0]
        err.print(f"tritone gateway: {'.'.join(map(str, fault['loc']))} is {fault['input']!r}: {fault['msg']}")
        raise typer.Exit(REFUSED) from None
    except (RefusesToStart, KeysUnreadable, SettingsError, OSError) as error:
        err.print(f"tritone gateway: {error}")
        raise typer.Exit(REFUSED) from error
    with listening:
        try:
            asyncio.run(_serve(settings, listening, access))
        except InvalidInput as error:  # such as an address that is none
            err.print(f"tritone gateway: {error}")
            raise typer.Exit(REFUSED) from error


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    file: KeysFile = KEYS,
    requests: Annotated[int | None, typer.Option(help="Requests a minute; 0 is no limit.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens a minute, read and written.")] = None,
    pictures: Annotated[int | None, typer.Option(help="Pictures a minute, shown and drawn.")] = None,
    audio_seconds: Annotated[int | None, typer.Option(help="Seconds of sound a minute, heard and spoken.")] = None,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    given = {"requests": requests, "tokens": tokens, "pictures": pictures, "audio_seconds": audio_seconds}
    own = {kind: limit for kind, limit in given.items() if limit is not None}
    secret = _or_refuse(lambda: KeyFile(file).add(name, Limits(**own) if own else None))
    err.print(f"{name}'s key, kept in {file} by its hash alone; it is not shown again:")
    out.print(secret)


@keys.command("list")
def list_keys(file: KeysFile = KEYS) -> None:
    """Show whose keys there are."""
    table = Table("name", "created", "limits a minute")
    for key in _or_refuse(lambda: KeyFile(file).keys()):
        limits = key.limits.model_dump(exclude_unset=True) if key.limits else {}
        said = ", ".join(f"{limit} {kind.replace('_', ' ')}" for kind, limit in limits.items() if limit)
        table.add_row(key.name, f"{key.created:%Y-%m-%d}", said if limits else "the gateway's")
    out.print(table)


@keys.command("remove")
def remove_key(name: Annotated[str, typer.Argument(help="Whose key it was.")], file: KeysFile = KEYS) -> None:
    """End a key, at once."""
    _or_refuse(lambda: KeyFile(file).remove(name))
    out.print(f"{name}'s key is no longer taken")


def _or_refuse(work: Any) -> Any:
    try:
        return work()
    except (KeysUnreadable, ValueError, OSError) as error:
        err.print(f"tritone gateway keys: {error}")
        raise typer.Exit(REFUSED) from error


def _listen(settings: Settings) -> socket.socket:
    """The socket; opened here so that the address is known, and taken, before anything starts."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.create_server((settings.host.strip("[]"), settings.port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}") from error
    # Connections inherit it. asyncio leaves those alone whose socket does not name its protocol, as here; the body of
    # an answer would then wait until its head has been acknowledged, up to 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


async def _serve(settings: Settings, listening: socket.socket, access: str) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    token = settings.server_token.get_secret_value() if settings.server_token else None
    # Who was refused hears so, and comes again himself: OpenAI's clients do.
    client = AsyncClient(settings.server, timeout_s=settings.timeout_s, token=token, retries=0)
    patient = AsyncClient(settings.server, timeout_s=settings.timeout_s, token=token)
    config = _config(settings, client, patient)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    there = await client.is_ready()
    out.print(access)
    if settings.page:
        out.print(f"page: http://{shown}:{port}/")
    waiting = "" if there else " (it is not ready yet)"
    out.print(f"{READY}: http://{shown}:{port}/v1  server {settings.server}{waiting}")
    await uvicorn.Server(config).serve(sockets=[listening])


def _config(settings: Settings, client: AsyncClient, patient: AsyncClient | None = None) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings, client, patient),
        http=bounded(settings),
        **sockets(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=round(settings.idle_s),
        timeout_graceful_shutdown=round(settings.drain_s),
    )

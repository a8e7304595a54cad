"""`tritone models`: what the server has for each verb, and whether it is ready."""

import time
from typing import Annotated

import typer

from tritone_client.cli import options
from tritone_client.cli.session import Session, session

# The model that a verb asks.
ASKED = {
    "ask": ("llava",),
    "draw": ("stable_diffusion",),
    "listen": ("transcribe_stream",),
    "say": ("tts", "speak_stream"),
    "talk": ("voice_assistant_stream",),
    "search": ("clip_text", "clip_image"),
    "align": ("align",),
}
NOT_READY = 3


def models(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Verbs or models to look at, such as draw or llava.", show_default="what the verbs need"),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until the server, and what was named, is ready; --timeout in all.")
    ] = False,
    server: options.Server = options.HERE,
    timeout: options.Timeout = 300,
    as_json: options.Json = False,
) -> None:
    """Show what is ready.

    The exit code is 3 where the server, or what was named, is not.
    """
    wanted = [(name, model) for name in names or ASKED for model in ASKED.get(name, (name,))]
    with session(context, server, timeout, as_json) as run:
        _reach(run, [model for _, model in wanted] if names else [], timeout if wait else 0)
        run.waiting("looking")
        seen = [((name, model), run.client.is_ready(model)) for name, model in wanted]
        if as_json:
            found = [{"for": name, "model": model, "ready": is_ready} for (name, model), is_ready in seen]
            run.record({"server": server, "models": found})
        else:
            words = {True: "ready", False: "not ready"}
            run.table(("for", "model", "is"), [(*pair, words[is_ready]) for pair, is_ready in seen])
        if names and not all(is_ready for _, is_ready in seen):
            raise typer.Exit(NOT_READY)


def _reach(run: Session, wanted: list[str], timeout_s: float) -> None:
    """See that the server is there; with a time-out, wait for it and then for what is wanted of it.

    Raises: ServerUnavailable: not ready in time.
    """
    run.waiting(f"waiting for {run.server}")
    if timeout_s or not run.client.is_ready():
        run.client.wait_until_ready(timeout_s)
    deadline = time.monotonic() + timeout_s
    for number, model in enumerate(wanted if timeout_s else ()):
        run.waiting(f"waiting for {model} ({number} of {len(wanted)} are ready)")
        run.client.wait_until_ready(max(deadline - time.monotonic(), 0), model)

"""`tritone ask`: a question, about pictures or not."""

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from tritone_client import Answer, Chat, Error, InvalidInput
from tritone_client.cli import options
from tritone_client.cli.session import Session, session
from tritone_client.cli.streams import Input


def ask(
    context: typer.Context,
    question: Annotated[str | None, typer.Argument(help="- reads it from standard input.")] = None,
    pictures: Annotated[list[str] | None, typer.Argument(help="Picture files; - is standard input.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Go on with questions, one a line.")] = False,
    system: options.System = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest tokens, down to this share.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from so many likeliest tokens.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1, what was said comes less easily.")] = None,
    seed: options.Seed = None,
    stop: options.Stop = None,
    adapter: options.Adapter = None,
    server: options.Server = options.HERE,
    timeout: options.Timeout = 300,
    as_json: options.Json = False,
) -> None:
    """Ask a question, with or without pictures.

    tritone ask "What is this?" cat.png
    """
    likeliest: dict[str, Any] = {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "repetition_penalty": repetition_penalty,
    }
    wishes = {**likeliest, "max_tokens": max_tokens, "seed": seed, "stop": stop or None, "adapter": adapter}
    with session(context, server, timeout, as_json) as run:
        if question is None and not chat:
            raise InvalidInput('there is no question: tritone ask "What is this?" cat.png, or --chat')
        stdin = Input()
        shown = [stdin.file(picture) for picture in pictures or ()]
        talk = run.client.chat(system=system, **wishes)
        if question is not None:
            _turn(run, talk, stdin.text(question), shown)
        if chat:
            raise typer.Exit(_go_on(run, talk, [] if question is not None else shown))


def _go_on(run: Session, talk: Chat, shown: Sequence[str | bytes]) -> int:
    """Questions until the end of standard input; returns the exit code of the last that failed."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - only by this does `input` edit its line

    code = 0
    prompt = "› " if run.on_terminal else ""
    while True:
        try:
            question = input(prompt).strip()
        except EOFError:
            return code
        if not question:
            continue
        try:
            _turn(run, talk, question, shown)
        except Error as error:
            code = run.failed(error)
        else:
            shown = []


def _turn(run: Session, talk: Chat, question: str, shown: Sequence[str | bytes]) -> None:
    run.waiting("thinking")
    last, text = None, ""
    with contextlib.closing(talk.ask_stream(question, images=shown)) as chunks:
        for last in chunks:
            text += last.text
            if not run.as_json:
                run.result(last.text, end=False)
    assert last is not None  # a stream without an end raises
    if run.as_json:
        counts = last.prompt_tokens, last.completion_tokens, last.image_tokens
        run.record(Answer(text, last.finish_reason or "", *counts))
        return
    run.result("")
    if last.finish_reason == "length":
        run.note(f"(cut off after {last.completion_tokens} tokens: --max-tokens allows more)")

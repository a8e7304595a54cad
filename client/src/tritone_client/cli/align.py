"""`tritone align`: when each word of a text is said in a recording."""

from typing import Annotated, Literal

import typer

from tritone_client import captions
from tritone_client.cli import options
from tritone_client.cli.listen import rows
from tritone_client.cli.session import session
from tritone_client.cli.streams import Input


def align(
    context: typer.Context,
    recording: Annotated[str, typer.Argument(help="A sound file; - is standard input.")],
    text: Annotated[str, typer.Argument(help="What is said in it; - reads it from standard input.")],
    format: Annotated[
        Literal["table", "srt", "vtt", "json"], typer.Option(help="srt, vtt: captions; table: start, end, word, score.")
    ] = "table",
    server: options.Server = options.HERE,
    timeout: options.Timeout = 300,
    as_json: options.Json = False,
) -> None:
    """Find out when each word of a text is said.

    tritone align speech.wav "The circle is red."
    """
    with session(context, server, timeout, as_json) as run:
        stdin = Input()
        sound, spoken = stdin.file(recording), stdin.text(text)
        run.waiting("aligning")
        found = run.client.align(sound, spoken)
        if as_json or format == "json":
            run.record(found)
        elif format == "table":
            scores = (f"{word.score:.2f}" for word in found.words)
            lines = [(*row, score) for row, score in zip(rows(found.words), scores, strict=True)]
            run.table(("start", "end", "word", "score"), lines)
        else:
            run.result(captions(found.words, format), end=False)
        if not found.matches:
            run.note("tritone: the recording says something else, so the times mean little")

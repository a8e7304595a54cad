"""Options that several verbs have."""

from pathlib import Path
from typing import Annotated

import typer

_SHARED = "The server, and how to answer"
HERE = "localhost:8001"

Server = Annotated[
    str, typer.Option(envvar="TRITONE_SERVER", help="Where the server answers.", rich_help_panel=_SHARED)
]
Timeout = Annotated[float, typer.Option(help="Seconds that an answer may take.", rich_help_panel=_SHARED)]
Json = Annotated[
    bool,
    typer.Option("--json", help="JSON instead of text; a line for each part as it comes.", rich_help_panel=_SHARED),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="The file to write; - is standard output.")]

MaxTokens = Annotated[int | None, typer.Option(help="How long the answer may be.")]
Temperature = Annotated[float | None, typer.Option(help="0: always the likeliest answer; above, --seed decides.")]
Seed = Annotated[int | None, typer.Option(help="Gives the same again.")]
Adapter = Annotated[str | None, typer.Option(help="A LoRA adapter that the server has.")]
System = Annotated[str | None, typer.Option(help="How the model should behave.")]
Stop = Annotated[list[str] | None, typer.Option(help="The answer ends before this text. May be repeated.")]
Language = Annotated[str | None, typer.Option(help="Of the speech, such as en; the server listens for it by itself.")]
Voice = Annotated[str | None, typer.Option(help="Who speaks; by itself the first that can read the text.")]
Speed = Annotated[float | None, typer.Option(help="2 is twice as fast as usual.")]

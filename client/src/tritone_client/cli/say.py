"""`tritone say`: a text, spoken."""

import contextlib
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tritone_client import InvalidInput, Speech
from tritone_client.cli import options
from tritone_client.cli.listen import rows
from tritone_client.cli.session import Session, session
from tritone_client.cli.sound import NoSound, until_silent
from tritone_client.cli.streams import DASH, Input, writable, write

Format = Literal["wav", "flac", "mp3", "opus"]
_SUFFIXES: dict[str, Format] = {".wav": "wav", ".flac": "flac", ".mp3": "mp3", ".opus": "opus", ".ogg": "opus"}


def say(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="- reads it from standard input.")],
    output: options.Output = None,
    voice: options.Voice = None,
    language: options.Language = None,
    speed: options.Speed = None,
    format: Annotated[
        Format | None, typer.Option(help="Of the file.", show_default="by the file's name, else wav")
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="Tell when each word is said, in seconds.")] = False,
    server: options.Server = options.HERE,
    timeout: options.Timeout = 300,
    as_json: options.Json = False,
) -> None:
    """Say a text, aloud or into a file.

    tritone say "Hello." -o hello.wav
    """
    manner = {"voice": voice, "language": language, "speed": speed}
    with session(context, server, timeout, as_json) as run:
        writable(output, on_stdout=words or as_json)
        spoken = Input().text(text)
        if output is None:
            _aloud(run, spoken, words, manner)
        else:
            _into(run, output, format or _format_of(output), spoken, words, manner)


def _format_of(output: Path) -> Format:
    """By the file's name.

    Raises: InvalidInput: a name that says something else.
    """
    suffix = output.suffix.lower()
    if str(output) == DASH or not suffix:
        return "wav"
    if suffix not in _SUFFIXES:
        raise InvalidInput(f"{output} must end in one of {', '.join(_SUFFIXES)}: or say --format")
    return _SUFFIXES[suffix]


def _into(run: Session, output: Path, format: Format, text: str, words: bool, manner: dict[str, Any]) -> None:
    run.waiting("speaking")
    speech = run.client.speak(text, response_format=None if format == "wav" else format, **manner)
    run.quiet()
    write(output, speech.wav if speech.encoded is None else speech.encoded)
    _tell(run, speech, words, file=str(output))


def _aloud(run: Session, text: str, words: bool, manner: dict[str, Any]) -> None:
    """Play each clause as soon as it is spoken."""
    try:
        player = run.outside.loudspeaker()
    except NoSound as error:
        raise InvalidInput(f"{error}: name a file by -o hello.wav, or -o - for standard output") from error
    run.waiting("speaking")
    with contextlib.closing(run.client.speak_stream(text, **manner)) as clauses:
        for clause in clauses:
            player.play(clause.speech)
            _tell(run, clause.speech, words, text=clause.text)
    until_silent(player)


def _tell(run: Session, speech: Speech, words: bool, **more: str) -> None:
    if run.as_json:
        facts = {"duration": speech.duration, "sampling_rate": speech.sampling_rate, "voice": speech.voice}
        run.record({**more, **facts, "words": [vars(word) for word in speech.words], "note": speech.note})
        return
    if words:
        run.table(("start", "end", "word"), rows(speech.words))
    if speech.note:
        run.note(speech.note)

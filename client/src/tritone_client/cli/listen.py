"""`tritone listen`: what is said in a recording, or into the microphone."""

import contextlib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import typer

from tritone_client import InvalidInput, TranscriptChunk, Word, captions, turns
from tritone_client.cli import options, sound
from tritone_client.cli.session import Session, session
from tritone_client.cli.streams import Input

Format = Literal["text", "json", "srt", "vtt"]


def listen(
    context: typer.Context,
    recording: Annotated[str | None, typer.Argument(help="A sound file; - is standard input.")] = None,
    microphone: Annotated[bool, typer.Option("--microphone", help="Listen to the microphone, until Ctrl-C.")] = False,
    format: Annotated[Format, typer.Option(help="json: one object at the end; srt, vtt: captions.")] = "text",
    words: Annotated[bool, typer.Option("--words", help="Each word with its times, in seconds.")] = False,
    language: options.Language = None,
    translate: Annotated[bool, typer.Option("--translate", help="Into English.")] = False,
    prompt: Annotated[str | None, typer.Option(help="Names and spellings that the recording may have.")] = None,
    server: options.Server = options.HERE,
    timeout: options.Timeout = 3600,
    as_json: options.Json = False,
) -> None:
    """Write down what is said, as it is heard.

    tritone listen recording.wav
    """
    with session(context, server, timeout, as_json) as run:
        if (recording is None) != microphone:
            raise InvalidInput("name one source: a recording (- is standard input) or --microphone")
        if microphone and format != "text":
            raise InvalidInput(f"--format is {format}, but a microphone has no end: take text, or --json")
        wishes = {
            "language": language,
            "task": "translate" if translate else None,
            "initial_prompt": prompt,
            "word_timestamps": words or format in ("srt", "vtt") or None,
        }
        if microphone:
            _hear_turns(run, words, wishes)
        elif recording is not None:
            _hear_file(run, Input().file(recording), format, words, wishes)


def _hear_file(run: Session, recording: str | bytes, format: Format, words: bool, wishes: dict[str, Any]) -> None:
    run.waiting("listening")
    whole = []
    with contextlib.closing(run.client.transcribe_stream(recording, **wishes)) as stretches:
        for stretch in stretches:
            whole.append(stretch)
            if run.as_json or format == "text":
                _show(run, stretch, words)
            if not stretch.is_final:
                run.waiting(f"listening: {stretch.end:.0f} of {stretch.duration:.0f} s")
    if not run.as_json and format == "json":
        run.record(_joined(whole))
    elif not run.as_json and format != "text":
        run.result(captions((word for stretch in whole for word in stretch.words), format), end=False)


def _hear_turns(run: Session, words: bool, wishes: dict[str, Any]) -> None:
    blocks = run.outside.microphone()
    run.waiting("speak; Ctrl-C ends")
    for turn in turns(blocks, sound.detector()):  # blocks wait meanwhile
        heard = run.client.transcribe_stream(turn.audio, sampling_rate=turn.sampling_rate, **wishes)
        with contextlib.closing(heard) as stretches:
            for stretch in stretches:
                _show(run, stretch, words)
        run.waiting("speak; Ctrl-C ends")


def _show(run: Session, stretch: TranscriptChunk, words: bool) -> None:
    if run.as_json:
        run.record(stretch)
    elif words:
        for row in rows(stretch.words):
            run.result("\t".join(row))
    elif stretch.text:
        run.result(stretch.text)


def rows(words: Iterable[Word]) -> list[tuple[str, ...]]:
    """Start and end in seconds, and the word."""
    return [(f"{word.start:.2f}", f"{word.end:.2f}", word.text) for word in words]


def _joined(stretches: list[TranscriptChunk]) -> dict[str, Any]:
    """The whole transcript, joined as the server joins it for `transcribe`."""
    return {
        "text": " ".join(stretch.text for stretch in stretches if stretch.text),
        "language": stretches[0].language,
        "duration": stretches[-1].duration,
        "segments": [vars(segment) for stretch in stretches for segment in stretch.segments],
        "words": [vars(word) for stretch in stretches for word in stretch.words],
    }

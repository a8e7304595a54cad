"""One run of a verb: the client, what is said on standard output, and what is said about it on standard error."""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tritone_client import Client, Error
from tritone_client.cli import failures, sound


@dataclass(frozen=True)
class Outside:
    """What verbs reach outside of the process; as the context's object, tests put others in their place."""

    connect: Callable[[str, float], Client] = lambda server, timeout_s: Client(server, timeout_s=timeout_s)
    microphone: Callable[[], Generator[sound.Samples, None, None]] = sound.microphone
    loudspeaker: Callable[[], sound.Player] = sound.Loudspeaker


class Session:
    """A verb's client and terminal."""

    def __init__(self, client: Client, outside: Outside, server: str, as_json: bool) -> None:
        self.client, self.outside, self.server, self.as_json = client, outside, server, as_json
        self.about = Console(
            stderr=True, highlight=False, markup=False, soft_wrap=True, force_terminal=sys.stderr.isatty()
        )
        self.on_terminal = sys.stdout.isatty()
        self._status = self.about.status("")
        self._mid_line = False

    def waiting(self, words: str) -> None:
        """Show on a terminal what is waited for, until something is said."""
        self._status.update(words)
        self._status.start()

    def result(self, text: str | bytes, end: bool = True) -> None:
        """Write a result, or a part of it that does not end its line."""
        self.quiet()
        typer.echo(_harmless(text) if isinstance(text, str) else text, nl=end)
        self._mid_line = not end

    def record(self, value: Any) -> None:
        """Write a dataclass or mapping as a line of JSON; bytes and samples have no place in it."""
        fields = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
        self.result(json.dumps(_plain(fields), ensure_ascii=False))

    def table(self, heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write rows: a table on a terminal, columns with tabs between them for another program."""
        self.quiet()
        if not self.on_terminal:
            for row in rows:
                typer.echo("\t".join(row))
            return
        shown = Table(*heading, box=None, pad_edge=False)
        for row in rows:
            shown.add_row(*row)
        Console(highlight=False, markup=False).print(shown)

    def note(self, words: str) -> None:
        """Say something about the result."""
        self.end_line()
        self.about.print(_harmless(words))

    def failed(self, error: Error) -> int:
        """Say what went wrong; returns the exit code."""
        self.note(f"tritone: {failures.sentence(error, self.server)}")
        return failures.code(error)

    def quiet(self) -> None:
        """Take away what is waited for."""
        self._status.stop()

    def end_line(self) -> None:
        """Leave the line of a result that was broken off, where a person reads it."""
        self.quiet()
        if self._mid_line and self.on_terminal:
            typer.echo()
        self._mid_line = False

    def bar(self) -> Progress:
        """A bar of steps, to be entered; it is there on a terminal alone and leaves nothing behind."""
        self.quiet()
        on_terminal = self.about.is_terminal
        return Progress(console=self.about, transient=True, redirect_stdout=False, disable=not on_terminal)


@contextlib.contextmanager
def session(context: typer.Context, server: str, timeout_s: float, as_json: bool = False) -> Iterator[Session]:
    """A verb's session. Leaving it, by Ctrl-C too, cancels what is under way; errors become their exit codes."""
    outside = context.obj if isinstance(context.obj, Outside) else Outside()
    try:
        with outside.connect(server, timeout_s) as client:
            run = Session(client, outside, server, as_json)
            try:
                yield run
            except Error as error:
                raise typer.Exit(run.failed(error)) from None
            finally:
                run.end_line()
    except Error as error:  # there is no client of that address
        typer.echo(f"tritone: {failures.sentence(error, server)}", err=True)
        raise typer.Exit(failures.code(error)) from None
    except BrokenPipeError:
        _let_go_of_stdout()
        raise typer.Exit(failures.READER_LEFT) from None
    except OSError as error:
        typer.echo(f"tritone: {error.filename or 'a file'}: {error.strerror or error}", err=True)
        raise typer.Exit(2) from None


def _let_go_of_stdout() -> None:
    """So that Python does not try to write the rest when it ends, as its manual says (signal, "Note on SIGPIPE")."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _harmless(text: str) -> str:
    """Without the sign that steers a terminal: what a model or a server says is words."""
    return text.replace("\x1b", "")


def _plain(value: Any) -> Any:
    """What JSON has a place for; numbers that came as 32 bits without the digits that mean nothing."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value

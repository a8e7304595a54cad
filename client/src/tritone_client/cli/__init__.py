"""The command `tritone`: one verb a file, and what other packages add (`serve`, `gateway`).

A verb's file, and the package of an added command, is imported only when it is named, or for `tritone --help`.
"""

import io
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

try:
    import typer
    from typer.core import TyperGroup
except ImportError:
    sys.exit("the command tritone needs typer and rich: pip install 'tritone-client[cli]'")

VERBS = ("ask", "draw", "listen", "say", "talk", "search", "align", "models")  # the file and the function in it
ADDED = "Beside the client"  # the panel of what other packages add


class Commands(TyperGroup):
    """Commands that are found by their names and imported when somebody wants them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, for `--help` and for the shell's completion."""
        return [*VERBS, *sorted(_added())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name; None where there is none."""
        if cmd_name in VERBS:
            return _command(cmd_name, getattr(import_module(f"tritone_client.cli.{cmd_name}"), cmd_name))
        entry = _added().get(cmd_name)
        return None if entry is None else _command(cmd_name, _loaded(entry), ADDED)


def _added() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="tritone.commands")}


def _loaded(entry: EntryPoint) -> Any:
    """A function, or a Typer with commands of its own; where its package lacks something, a command that says so."""
    try:
        return entry.load()
    except ImportError as error:
        reason = f"{entry.value.split(':')[0]} cannot be imported: {error}"

        def broken() -> None:
            typer.echo(f"tritone {entry.name}: {reason}", err=True)
            raise typer.Exit(1)

        broken.__doc__ = f"({reason})"
        return broken


def _command(name: str, made: Any, panel: str | None = None) -> Any:
    if not isinstance(made, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command(name)(made)
        made = single
    command: Any = typer.main.get_command(made)
    command.name, command.rich_help_panel = name, panel
    return command


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Text, image and speech models on one Triton Inference Server."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):  # whatever the locale says; names that are no UTF-8 stay as is
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")

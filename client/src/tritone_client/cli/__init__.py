"""The command `tritone`: what other packages add to it (`serve`, `gateway`) beside the client's own verbs."""

from importlib.metadata import entry_points

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Text, image and speech models on one Triton Inference Server."""


for _added in entry_points(group="tritone.commands"):
    _command = _added.load()  # a function, or a Typer with commands of its own
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_added.name)
    else:
        app.command(_added.name)(_command)

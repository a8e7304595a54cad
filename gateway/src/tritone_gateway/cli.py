"""`tritone gateway`: serves the API."""

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def gateway() -> None:
    """Serve the API."""

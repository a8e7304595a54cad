"""`-` for a file: standard input and standard output, and words that are read from there."""

import sys
from pathlib import Path

import typer

from tritone_client import InvalidInput

DASH = "-"


class Input:
    """Standard input, which can be read once.

    Raises: InvalidInput: by both methods, where two arguments are `-`.
    """

    def __init__(self) -> None:
        self._read = False

    def file(self, path: str) -> str | bytes:
        """A path as it is, and the bytes of standard input for `-`."""
        return self._all() if path == DASH else path

    def text(self, words: str) -> str:
        """The words themselves, and those on standard input for `-`."""
        if words != DASH:
            return words
        data = self._all()
        try:
            return data.decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            byte = data[error.start]
            raise InvalidInput(f"standard input is no UTF-8: byte 0x{byte:02x} at offset {error.start}") from error

    def _all(self) -> bytes:
        if self._read:
            raise InvalidInput("standard input (-) is named twice, but can be read once: name a file")
        self._read = True
        return typer.get_binary_stream("stdin").read()


def is_stdout(path: Path | None) -> bool:
    """Whether `-` was named for a file to write."""
    return path is not None and str(path) == DASH


def writable(path: Path | None, on_stdout: bool) -> None:
    """Look before the work is done whether a file can be written, and whether standard output is free for it.

    Raises: InvalidInput: it is not.
    """
    if is_stdout(path):
        if sys.stdout.isatty():
            raise InvalidInput(
                "standard output is a terminal, which shows no such file: pipe it on, or name a file by -o"
            )
        if on_stdout:
            raise InvalidInput("the file and the text about it both go to standard output: name a file by -o")
    elif path is not None and path.is_dir():
        raise InvalidInput(f"{path} is a folder: name a file in it")
    elif path is not None and not path.absolute().parent.is_dir():
        raise InvalidInput(f"{path} cannot be written: there is no folder {path.absolute().parent}")


def write(path: Path, data: bytes) -> None:
    """Write a file, or standard output for `-`."""
    if is_stdout(path):
        typer.echo(data, nl=False)
    else:
        path.write_bytes(data)

"""How results show themselves in a notebook: HTML with everything inside, and nothing that a text could smuggle in."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

_CELL = "text-align:left"


def audio(wav: bytes) -> str:
    """A player of a WAV file."""
    return f'<audio controls src="data:audio/wav;base64,{_base64(wav)}"></audio>'


def picture(png: bytes) -> str:
    """A PNG file."""
    return f'<img src="data:image/png;base64,{_base64(png)}">'


def paragraph(text: str) -> str:
    """A text."""
    return f"<p>{escape(text)}</p>"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers with two decimals."""
    head = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    said = f"{value:.2f}" if isinstance(value, float) else str(value)
    return f'<td style="{_CELL}">{escape(said)}</td>'


def _base64(content: bytes) -> str:
    return str(base64.b64encode(content), "ascii")

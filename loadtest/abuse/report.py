"""Tables: rows of named values, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

MOST_COLUMNS = 8  # a table of more is turned round
SIDE_BY_SIDE = 3  # rows of it, so that each has room
WIDTH = 150  # where the output is no terminal


@dataclass
class Report:
    """What one part found. `missed` are sentences on what must not be, whatever the hardware."""

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def show(self, console: Console) -> None:
        """Print the table, turned round where it has many columns."""
        console.print(Text(self.title, "bold"))
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        if len(names) <= MOST_COLUMNS:
            console.print(_across(names, self.rows))
        else:
            for start in range(0, len(self.rows), SIDE_BY_SIDE):
                console.print(_turned(names, self.rows[start : start + SIDE_BY_SIDE]))
        for sentence in self.missed:
            console.print(Text.assemble(("MISSED: ", "red"), sentence))


def console() -> Console:
    """Where tables are printed: as wide as the terminal, or wide enough."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)


def _across(names: list[str], rows: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE)
    for name in names:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(show(row.get(name, ""))) for name in names))
    return table


def _turned(names: list[str], rows: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE)
    for header in (names[0], *(show(row[names[0]]) for row in rows)):
        table.add_column(Text(header), overflow="fold")
    for name in names[1:]:
        table.add_row(Text(name), *(Text(show(row.get(name, ""))) for row in rows))
    return table


def show(value: Any) -> str:
    """A number with three significant digits, anything else as it is."""
    if isinstance(value, float):
        return "–" if value != value else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def counted(codes: Iterable[str]) -> str:
    """ "UNAVAILABLE 12, INTERNAL 1", the most frequent first; "–" for none."""
    return ", ".join(f"{code} {number}" for code, number in Counter(codes).most_common()) or "–"

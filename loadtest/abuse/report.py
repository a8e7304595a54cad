"""Tables: rows of named values, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

MOST_ROWS_ACROSS = 8  # more columns than that are printed one below the other


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
        """Print the table: a row a request where there are few columns, otherwise a column a row."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        across = len(names) <= MOST_ROWS_ACROSS
        table = Table(title=self.title, title_justify="left", show_lines=not across)
        if across:
            for name in names:
                table.add_column(name, overflow="fold")
            for row in self.rows:
                table.add_row(*(show(row.get(name, "")) for name in names))
        else:
            for name in ("", *(show(row[names[0]]) for row in self.rows)):
                table.add_column(name, overflow="fold")
            for name in names[1:]:
                table.add_row(name, *(show(row.get(name, "")) for row in self.rows))
        console.print(table)
        for sentence in self.missed:
            console.print(f"[red]MISSED:[/] {sentence}", markup=True)


def show(value: Any) -> str:
    """A number with three significant digits, anything else as it is."""
    if isinstance(value, float):
        return "–" if value != value else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def counted(codes: Iterable[str]) -> str:
    """ "UNAVAILABLE 12, INTERNAL 1", the most frequent first; "–" for none."""
    return ", ".join(f"{code} {number}" for code, number in Counter(codes).most_common()) or "–"

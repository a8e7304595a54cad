"""What the README says of the tree and of the models, against the disk."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

DRAWING = "│├└─ "


def section(readme: str, heading: str) -> str:
    """The text under a `##` heading, up to the next one.

    Raises: ValueError: there is no such heading.
    """
    found = re.search(rf"^## {re.escape(heading)}\s*\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"the README has no heading '## {heading}'")
    return found[1]


def tree_paths(readme: str) -> list[str]:
    """The paths of the fenced block under "## The tree"; an indented entry lies in the folder above it."""
    block = re.search(r"^```\w*\n(.*?)^```", section(readme, "The tree"), re.MULTILINE | re.DOTALL)
    if not block:
        raise ValueError("'## The tree' has no fenced block")
    paths: list[str] = []
    folders: list[tuple[int, str]] = []  # indentation and path of the folders that are open
    for line in filter(str.strip, block[1].splitlines()):
        indentation = len(line) - len(line.lstrip(DRAWING))
        entry = line.lstrip(DRAWING).split()[0]
        folders = [folder for folder in folders if folder[0] < indentation]
        paths.append((folders[-1][1] if folders else "") + entry)
        if entry.endswith("/"):
            folders.append((indentation, paths[-1]))
    return paths


def tree_faults(readme: str, root: Path, top_level: Collection[str]) -> Iterator[str]:
    """Every path in the tree exists, and every entry of the top level (but dotfiles) is in the tree."""
    paths = tree_paths(readme)
    for path in paths:
        if not (root / path).exists() or path.endswith("/") != (root / path).is_dir():
            yield f"the README's tree has {path}, the disk has not"
    for name in sorted(set(top_level) - {path.split("/")[0] for path in paths}):
        if not name.startswith("."):
            yield f"{name} is not in the README's tree"


def named_tests(text: str) -> list[tuple[str, str]]:
    """(file below tests/, function or "") of each test that a text names; `…::name` is in the file named before it."""
    found: list[tuple[str, str]] = []
    for file, name in re.findall(r"`((?:unit|contract|server|e2e)/(?:\w+/)*test_\w+\.py|…)(?:::(\w+))?`", text):
        found.append((found[-1][0] if file == "…" and found else file, name))
    return found


def promise_faults(text: str, tests: Path) -> Iterator[str]:
    """Every test that a text names exists; a file may lie in any folder of its kind."""
    for file, name in named_tests(text):
        kind, *_, last = file.split("/")
        sources = [path.read_text("utf-8") for path in (tests / kind).rglob(last)]
        if not sources:
            yield f"{file} does not exist"
        elif name and not any(re.search(rf"^\s*(?:async )?def {name}\(", source, re.MULTILINE) for source in sources):
            yield f"{file} has no {name}"


def table_models(readme: str) -> list[str]:
    """The names in backticks in the first column of the table under "## Models"."""
    rows = [line for line in section(readme, "Models").splitlines() if line.startswith("|")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def table_faults(readme: str, models: Collection[str]) -> Iterator[str]:
    names = table_models(readme)
    for name in sorted(set(models) - set(names)):
        yield f"model {name} is not in the README's table"
    for name in sorted(set(names) - set(models)):
        yield f"the README's table has model {name}, the repositories have not"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"model {name} stands more than once in the README's table"

"""`tritone search`: the pictures of a folder that go best with words or with another picture."""

import warnings
from pathlib import Path
from typing import Annotated

import typer

from tritone_client import ImageIndex, InvalidInput, TextTruncated
from tritone_client.cli import options
from tritone_client.cli.session import Session, session
from tritone_client.cli.streams import Input


def search(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="Words, or a picture's file; - reads words from standard input.")],
    folder: Annotated[Path | None, typer.Argument(help="With pictures in it, or in folders of it.")] = None,
    index: Annotated[
        Path | None, typer.Option(help="Keep what was seen of the folder here, and take it from here the next time.")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Look at the folder again, whatever --index has.")] = False,
    count: Annotated[int, typer.Option(help="How many to show.", min=1)] = 5,
    server: options.Server = options.HERE,
    timeout: options.Timeout = 300,
    as_json: options.Json = False,
) -> None:
    """Find pictures by words or by a picture.

    tritone search "a red circle" holiday/
    """
    with session(context, server, timeout, as_json) as run:
        words = Input().text(query)
        pictures = _pictures(run, folder, index, rebuild)
        run.waiting("searching")
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", TextTruncated)
            found = pictures.search(run.client, Path(words) if _is_file(words) else words, count)
        for warning in warned:
            run.note(f"tritone: {warning.message}")
        matches = [{"score": match.score, "file": str(match.candidate)} for match in found]
        if as_json:
            run.record({"query": words, "matches": matches, "skipped": pictures.skipped})
        else:
            run.table(("score", "picture"), [(f"{match.score:.3f}", str(match.candidate)) for match in found])


def _pictures(run: Session, folder: Path | None, index: Path | None, rebuild: bool) -> ImageIndex:
    if index is not None and index.exists() and not rebuild:
        kept = ImageIndex.load(index)
        if folder is not None and kept.folder != folder.resolve():
            raise InvalidInput(f"{index} is of {kept.folder}, not of {folder}: name another --index, or --rebuild")
        run.note(f"{len(kept)} pictures as {index} has them; --rebuild looks again")
        return kept
    if folder is None:
        raise InvalidInput('there is no folder to search: tritone search "a red circle" holiday/')
    run.quiet()
    seen = ImageIndex.build(run.client, folder, progress=run.about.is_terminal)
    for name, reason in seen.skipped.items():
        run.note(f"skipped {name}: {reason}")
    if index is not None:
        seen.save(index)
    return seen


def _is_file(words: str) -> bool:
    """Whether the query names a file; what is too long for a name does not."""
    try:
        return Path(words).is_file()
    except (OSError, ValueError):
        return False

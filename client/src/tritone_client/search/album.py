"""A folder of pictures as embeddings: what `ImageIndex.build` asks of the server."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tritone_client.calls.call import Batch, Call
from tritone_client.calls.embeddings import Embedding, Item, Vector
from tritone_client.calls.options import Sending
from tritone_client.exceptions import Error, InvalidInput

# What the server reads.
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}


@dataclass(frozen=True)
class Album:
    """The pictures of a folder that could be embedded, and why the others could not."""

    folder: Path
    paths: list[str]  # relative to the folder
    vectors: Vector  # float32 (pictures, width)
    skipped: dict[str, str] = field(default_factory=dict)


def album(folder: str | os.PathLike[str], sending: Sending) -> Batch[Embedding | InvalidInput, Album]:
    """Every picture file of a folder and of the folders in it.

    Raises: InvalidInput: the folder is none.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InvalidInput(f"'{root}' is no folder")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())

    def failed(index: int, error: Error) -> InvalidInput:
        if isinstance(error, InvalidInput):
            return error
        raise error

    def join(found: list[Embedding | InvalidInput]) -> Album:
        names = [path.relative_to(root).as_posix() for path in files]
        vectors = {name: each.vector for name, each in zip(names, found, strict=True) if isinstance(each, Embedding)}
        skipped = {name: str(each) for name, each in zip(names, found, strict=True) if isinstance(each, InvalidInput)}
        if not vectors:
            why = next(iter(skipped.values()), f"it has no {', '.join(sorted(SUFFIXES))} file")
            raise InvalidInput(f"no picture of '{root}' could be embedded: {why}")
        return Album(root.resolve(), list(vectors), np.stack(list(vectors.values())), skipped)

    def call(index: int) -> Call[Embedding | InvalidInput]:
        embedding = Item(str(files[index]), None, files[index]).call(sending)
        return Call(embedding.request, embedding.read)

    return Batch(files, call, join, failed)

"""A folder of pictures that can be searched by words or by a picture."""

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tritone_client.calls.embeddings import Vector
from tritone_client.client import AsyncClient, Client
from tritone_client.exceptions import InvalidInput
from tritone_client.search.album import Album, album
from tritone_client.types import ImageLike, Match, Matches

T = TypeVar("T")
VECTORS, PICTURES = "vectors.faiss", "pictures.json"


class ImageIndex:
    """Pictures and their embeddings; needs the extra `tritone-client[search]`.

    >>> index = ImageIndex.build(client, "holiday")
    >>> index.search(client, "a dog on the beach")[0].candidate
    PosixPath('holiday/2024/IMG_0412.jpg')

    Vectors are compared one by one (faiss's IndexFlatIP): exact, and some milliseconds for a hundred thousand pictures.

    Args:
        folder: what the paths are relative to.
        paths: the pictures.
        vectors: their unit vectors, float32 (pictures, width).
    """

    def __init__(self, folder: str | os.PathLike[str], paths: Sequence[str], vectors: Vector) -> None:
        if vectors.ndim != 2 or len(paths) != len(vectors) or not len(paths):
            raise InvalidInput(f"an index needs a vector for each picture, got {len(paths)} and {vectors.shape}")
        self.folder = Path(folder)
        self.paths = list(paths)
        self.skipped: dict[str, str] = {}  # files that `build` could not embed, and why
        self._faiss = _faiss()
        self._vectors = self._faiss.IndexFlatIP(vectors.shape[1])
        self._vectors.add(np.ascontiguousarray(vectors, np.float32))

    def __len__(self) -> int:
        return len(self.paths)

    @classmethod
    def build(cls, client: Client, folder: str | os.PathLike[str], *, progress: bool = True) -> "ImageIndex":
        """Embed every picture file of a folder and of the folders in it.

        Files that cannot be read or decoded are left out and stand in `skipped` with the reason; a server that is
        gone ends the work.

        Args:
            progress: show a progress bar on stderr.

        Raises: InvalidInput: the folder is none, or none of its files could be embedded.
        """
        batch = album(folder, {"timeout_s": client.timeout_s})
        with _bar(len(batch.media), progress) as counted:
            return cls._of(batch.join([counted(found) for found in client._each(batch)]))

    @classmethod
    async def abuild(
        cls, client: AsyncClient, folder: str | os.PathLike[str], *, progress: bool = True
    ) -> "ImageIndex":
        """As `build`, with an `AsyncClient`."""
        batch = await asyncio.to_thread(album, folder, {"timeout_s": client.timeout_s})
        with _bar(len(batch.media), progress) as counted:
            return cls._of(batch.join([counted(found) async for found in client._each(batch)]))

    @classmethod
    def _of(cls, pictures: Album) -> "ImageIndex":
        index = cls(pictures.folder, pictures.paths, pictures.vectors)
        index.skipped = pictures.skipped
        return index

    def search(self, client: Client, query: str | ImageLike, count: int = 5) -> Matches:
        """The pictures closest to a text (a str) or a picture (anything else; a file as a Path), best first.

        Raises: InvalidInput: `count` is no number of pictures; the index was built with another checkpoint.
        """
        return self.closest(client.embed(query), count)

    async def asearch(self, client: AsyncClient, query: str | ImageLike, count: int = 5) -> Matches:
        """As `search`, with an `AsyncClient`."""
        return self.closest(await client.embed(query), count)

    def closest(self, vector: Vector, count: int = 5) -> Matches:
        """The pictures closest to a vector of `Client.embed`, float32 (width,); see `search`."""
        if count < 1:
            raise InvalidInput(f"count is {count}, must be at least 1")
        if len(vector) != self._vectors.d:
            raise InvalidInput(
                f"the index has vectors of {self._vectors.d} numbers, the server makes {len(vector)}: "
                f"it was built with another checkpoint, build it again"
            )
        scores, rows = self._vectors.search(vector[None], min(count, len(self)))
        return Matches(
            Match(int(row), float(score), self.folder / self.paths[row])
            for score, row in zip(scores[0], rows[0], strict=True)
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the index as a folder of two files; an older index there is replaced when the new one is whole."""
        target = Path(folder)
        if target.exists() and not (target / PICTURES).is_file():
            raise InvalidInput(f"'{target}' exists and is no index: choose another name")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
            fresh, old = Path(temporary, "fresh"), Path(temporary, "old")
            fresh.mkdir()
            self._faiss.write_index(self._vectors, str(fresh / VECTORS))
            content = {"folder": str(self.folder), "paths": self.paths}
            (fresh / PICTURES).write_text(json.dumps(content, ensure_ascii=False, indent=0), encoding="utf-8")
            if target.exists():
                shutil.move(target, old)
            shutil.move(fresh, target)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "ImageIndex":
        """Read an index that `save` wrote.

        Raises: InvalidInput: there is none, or it is damaged.
        """
        source = Path(folder)
        try:
            content = json.loads((source / PICTURES).read_text(encoding="utf-8"))
            stored = _faiss().read_index(str(source / VECTORS))
            return cls(content["folder"], content["paths"], stored.reconstruct_n(0, stored.ntotal))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:  # faiss raises RuntimeError
            raise InvalidInput(f"'{source}' holds no readable index: {error}") from error


def _faiss() -> Any:
    try:
        import faiss  # only here, as most clients search nothing
    except ImportError as error:
        raise InvalidInput("an ImageIndex needs faiss: pip install tritone-client[search]") from error
    return faiss


@contextlib.contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[T], T]]:
    """A progress bar on stderr; what it gives counts what passes through."""
    if not shown:
        yield lambda found: found
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError as error:
        raise InvalidInput("a progress bar needs rich: pip install tritone-client[search]") from error
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("embedding pictures", total=total)

        def counted(found: T) -> T:
            progress.advance(task)
            return found

        yield counted

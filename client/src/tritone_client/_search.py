"""A folder of pictures that can be searched by words or by a picture."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tritone_client import _embeddings
from tritone_client._client import Client
from tritone_client._embeddings import Match
from tritone_client._exceptions import Error, InvalidInput
from tritone_client._types import ImageLike

SUFFIXES = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".avif",
        ".heic",
        ".heif",
    }  # what the server reads
)
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

    def __init__(self, folder: str | os.PathLike[str], paths: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
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
        root = Path(folder)
        if not root.is_dir():
            raise InvalidInput(f"'{root}' is no folder")
        files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        results = _embeddings.each(lambda _, path: client.embed(path), files)
        found: dict[str, npt.NDArray[np.float32]] = {}
        skipped: dict[str, str] = {}
        for path, result in zip(files, _bar(results, len(files)) if progress else results, strict=True):
            name = path.relative_to(root).as_posix()
            if isinstance(result, InvalidInput):
                skipped[name] = str(result)
            elif isinstance(result, Error):
                raise result
            else:
                found[name] = result
        if not found:
            why = next(iter(skipped.values()), f"it has no {', '.join(sorted(SUFFIXES))} file")
            raise InvalidInput(f"no picture of '{root}' could be embedded: {why}")
        index = cls(root.resolve(), list(found), np.stack(list(found.values())))
        index.skipped = skipped
        return index

    def search(self, client: Client, query: str | ImageLike, count: int = 5) -> list[Match]:
        """The pictures closest to a text (a str) or a picture (anything else; a file as a Path), best first."""
        if count < 1:
            raise InvalidInput(f"count is {count}, must be at least 1")
        vector = client.embed(query)
        if len(vector) != self._vectors.d:
            raise InvalidInput(
                f"the index has vectors of {self._vectors.d} numbers, the server makes {len(vector)}: "
                f"it was built with another checkpoint, build it again"
            )
        scores, rows = self._vectors.search(vector[None], min(count, len(self)))
        return [
            Match(int(row), float(score), self.folder / self.paths[row])
            for score, row in zip(scores[0], rows[0], strict=True)
        ]

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


def _bar(results: Iterable[Any], total: int) -> Iterable[Any]:
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError as error:
        raise InvalidInput("a progress bar needs rich: pip install tritone-client[search]") from error
    return track(results, "embedding pictures", total, console=Console(stderr=True))

"""Brings files of a Hugging Face repository here, each compared with the manifest's sha256 or with the hub's own hash.

huggingface_hub 2.4 compares sizes only where a file comes over plain HTTP; so what it brought is hashed here.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tritone.checkpoints import Hub

COMMIT = re.compile(r"[0-9a-f]{40}")
CHUNK = 1 << 20  # bytes


class NotTrusted(Exception):
    """What the hub offers must not be taken as it is; the message says what to write into the manifest."""


def is_pinned(entry: Hub) -> bool:
    """Whether the manifest fixes the commit and the sha256 of every file."""
    return bool(COMMIT.fullmatch(entry.revision) and entry.files)


def download(entry: Hub, folder: Path) -> None:
    """Bring the entry's files to `folder`: those that it names, or without names those that its patterns allow.

    Raises NotTrusted: for an unpinned entry, if its revision moves, if it holds a pickle, or if a file is not the one
    that the hub describes. The files of a pinned entry are compared with the manifest by the caller.
    """
    from huggingface_hub import snapshot_download  # half a second that the tiny profile can save

    stated = {} if is_pinned(entry) else _stated_by_hub(entry)
    wanted = sorted(entry.files or stated)
    snapshot_download(entry.repository, revision=entry.revision, allow_patterns=wanted, local_dir=folder)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    if wrong := [name for name, file in stated.items() if _hash(folder / name, file) != _stated_hash(file)]:
        for name in wrong:
            (folder / name).unlink(missing_ok=True)  # a second run fetches it again
        raise NotTrusted(f"{', '.join(wrong)} of {entry.repository} is not the file that the hub describes")


def _stated_by_hub(entry: Hub) -> dict[str, Any]:
    """What the hub says of each wanted file, by its path, at the entry's commit."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    info = HfApi().model_info(entry.repository, revision=entry.revision, files_metadata=True)
    if not COMMIT.fullmatch(entry.revision):
        raise NotTrusted(f'revision "{entry.revision}" moves; at the hub it is now: revision = "{info.sha}"')
    files = filter_repo_objects(info.siblings or [], allow_patterns=entry.allow, key=lambda file: file.rfilename)
    stated = {file.rfilename: file for file in files}
    if entry.converter == "coqui":
        raise NotTrusted(
            "it holds a pickle, which is opened only if the manifest has its sha256. The hub states these; compare "
            "them with a source that you trust, and write all files into the manifest:\n" + "\n".join(_lines(stated))
        )
    return stated


def _lines(stated: dict[str, Any]) -> Iterator[str]:
    for name, file in stated.items():
        known = f'sha256 = "{file.lfs.sha256}"' if file.lfs else 'sha256 = "(a small file: hash it yourself)"'
        yield f'"{name}" = {{ {known}, size = {file.size} }}'


def _stated_hash(file: Any) -> str:
    """The hub's hash of a file: sha256 of large ones, git's own (sha1) of small ones."""
    return str(file.lfs.sha256 if file.lfs else file.blob_id)


def _hash(path: Path, file: Any) -> str:
    """The same hash of what lies on the disk; empty where nothing does."""
    if not path.is_file():
        return ""
    digest = hashlib.sha256() if file.lfs else hashlib.sha1(f"blob {path.stat().st_size}\0".encode())  # noqa: S324
    with path.open("rb") as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()

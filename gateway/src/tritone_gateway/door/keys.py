"""The file of keys: their names, their hashes and what each may ask for. The keys themselves are nowhere.

A key is 32 random bytes, so a plain SHA-256 of it cannot be guessed back; a slow hash would only slow every request.
"""

import hashlib
import hmac
import logging
import os
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tritone_gateway.settings import Limits

log = logging.getLogger("tritone_gateway")
PREFIX = "sk-tritone-"


class KeysUnreadable(Exception):
    """The file of keys is missing, or is none; the message says which and where."""


def _shown(name: str) -> str:
    """A name that a terminal and a log can show as it is; raises ValueError."""
    if not name.strip() or not name.isprintable():
        raise ValueError(f"a key's name is {name!r}, must be visible characters and spaces")
    return name


class Key(BaseModel):
    """One key, without itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(_shown)]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: datetime
    limits: Limits | None = None  # None: those of the settings


class Listed(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(extra="forbid")

    keys: list[Key] = []


class KeyFile:
    """Reads the file again when it changes, so that a removed key ends at once.

    Args:
        path: of the JSON file; `add` makes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: list[Key] = []
        self._fault = ""  # of the file, as it was last said

    def keys(self) -> list[Key]:
        """All keys.

        Raises: KeysUnreadable.
        """
        try:
            facts = self.path.stat()
            seen = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
            if seen != self._seen:
                self._keys = Listed.model_validate_json(self.path.read_bytes()).keys
                self._seen = seen
        except OSError as error:
            raise KeysUnreadable(f"{self.path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"])) or "its start"
            raise KeysUnreadable(f"{self.path} is no file of keys: {place}: {fault['msg']}") from None
        return self._keys

    def in_force(self) -> list[Key]:
        """All keys; while the file is broken or away those that it had before, which the log says once."""
        try:
            keys, self._fault = self.keys(), ""
        except KeysUnreadable as error:
            keys, fault = self._keys, str(error)
            if fault != self._fault:
                log.error("%s; the %d keys that it had before stay in force", fault, len(keys))
            self._fault = fault
        return keys

    def find(self, secret: str) -> Key | None:
        """The key, compared with every hash in the same time whether or not it is there."""
        digest, found = hash_of(secret), None
        for key in self.in_force():
            if hmac.compare_digest(digest, key.sha256):
                found = key
        return found

    def add(self, name: str, limits: Limits | None = None) -> str:
        """A new key, to be shown once.

        Raises: ValueError: the name is taken, or cannot be shown. KeysUnreadable.
        """
        _shown(name)
        known = self.keys() if self.path.exists() else []
        if any(key.name == name for key in known):
            raise ValueError(f"there is a key named {name!r} already: remove it first")
        secret = PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC).replace(microsecond=0)
        self._write([*known, Key(name=name, sha256=hash_of(secret), created=now, limits=limits)])
        return secret

    def remove(self, name: str) -> None:
        """Raises: ValueError: there is no such key. KeysUnreadable."""
        known = self.keys()
        left = [key for key in known if key.name != name]
        if len(left) == len(known):
            raise ValueError(f"there is no key named {name!r}")
        self._write(left)

    def _write(self, keys: list[Key]) -> None:
        """All or nothing, and for its owner's eyes only."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(Listed(keys=keys).model_dump_json(indent=2, exclude_none=True, exclude_unset=True) + "\n")
            os.replace(name, self.path)
        except BaseException:
            os.unlink(name)
            raise


def hash_of(secret: str) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()

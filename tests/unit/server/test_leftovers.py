"""What a killed run leaves is removed by the next; what a living run holds is not."""

import subprocess
import sys
import tempfile

import pytest

from tritone.server import leftovers
from tritone.server.repository import CannotStart

HOLD = """
import sys
from tritone.server import leftovers
with leftovers.scratch_folder() as folder, leftovers.region_prefix("test") as prefix:
    region = leftovers.SHARED_MEMORY / (prefix + "region")
    region.write_bytes(b"x")
    (folder / "file").touch()
    print(folder, region, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A process that holds a folder and a region: (process, folder, region)."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}\n{HOLD}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    folder, region = map(leftovers.Path, process.stdout.readline().split())
    yield process, folder, region
    process.kill()
    process.communicate()
    leftovers.remove()


def test_a_living_run_keeps_its_things_and_a_killed_one_loses_them(run):
    process, folder, region = run
    leftovers.remove()
    assert region.exists()
    assert folder.exists()
    process.kill()
    process.wait()
    leftovers.remove()
    assert not region.exists()
    assert not folder.exists()


def test_a_run_that_ends_leaves_nothing(run):
    process, folder, region = run
    region.unlink()
    process.communicate("")
    assert process.returncode == 0
    assert not folder.exists()
    assert not list(leftovers.SHARED_MEMORY.glob(f"tritone_{process.pid}_*"))


def test_what_is_not_ours_stays(tmp_path):
    (tmp_path / "tritone-notes").mkdir()  # no lock: not a run's
    (tmp_path / "tritone_7_regions").touch()
    leftovers.remove(tmp_path, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_no_temporary_folder_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(CannotStart, match=r"no folder for temporary files .*\$TMPDIR"), leftovers.scratch_folder():
        pass

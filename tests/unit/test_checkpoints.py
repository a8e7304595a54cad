"""The manifest is complete and valid, and a missing checkpoint names the command that fetches it."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from tritone import checkpoints
from tritone.checkpoints import Hub, MissingCheckpoint

PROJECT = Path(__file__).parents[2]
ENTRY = """
[tiny.voice]
source = "hub"
repository = "someone/voice"
revision = "main"
allow = ["*.json"]
size = 1
license = "MIT"
"""


@pytest.fixture(scope="module")
def manifest() -> checkpoints.Manifest:
    return checkpoints.read_manifest(PROJECT / checkpoints.MANIFEST)


def test_the_manifest_has_every_profile(manifest: checkpoints.Manifest) -> None:
    assert tuple(manifest) == checkpoints.PROFILES
    assert {"whisper", "tts", "smart_turn"} <= set(manifest["tiny"])
    for profile in ("base", "full"):
        models = {"clip", "llava", "stable_diffusion", "whisper", "tts", "aligner"}
        assert set(manifest[profile]) == models | {"smart_turn"}


def test_the_tiny_profile_needs_no_hub(manifest: checkpoints.Manifest) -> None:
    assert {entry.source for entry in manifest["tiny"].values()} <= {"package", "bundled"}


def test_hub_revisions_are_commits(manifest: checkpoints.Manifest) -> None:
    hub = {
        (profile, name): entry.revision
        for profile, entries in manifest.items()
        for name, entry in entries.items()
        if isinstance(entry, Hub)
    }
    moving = {key for key, revision in hub.items() if not re.fullmatch("[0-9a-f]{40}", revision)}
    assert moving == {("base", "llava")}  # the manifest says why


def test_a_misspelt_field_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints.toml"
    file.write_text(ENTRY, encoding="utf-8")
    assert checkpoints.read_manifest(file)["tiny"]["voice"].license == "MIT"
    file.write_text(ENTRY + 'licence = "MIT"\n', encoding="utf-8")
    with pytest.raises(ValidationError, match=r"licence[\s\S]*Extra inputs are not permitted"):
        checkpoints.read_manifest(file)


def test_checkpoints_are_found_under_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whisper").mkdir()
    monkeypatch.setenv("TRITONE_CHECKPOINTS", str(tmp_path))
    assert checkpoints.path("whisper") == tmp_path / "whisper"


def test_a_missing_checkpoint_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITONE_CHECKPOINTS", str(tmp_path / "base"))
    with pytest.raises(MissingCheckpoint, match=r"'clip' is missing .*--profile base --only clip"):
        checkpoints.path("clip")


def test_the_default_is_the_projects_tiny_profile_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITONE_CHECKPOINTS", raising=False)
    for folder in (PROJECT, PROJECT / "tests" / "unit", tmp_path):
        monkeypatch.chdir(folder)
        assert checkpoints.root() == PROJECT / ".checkpoints" / "tiny"


def test_another_checkpoint_can_stand_in_ones_place(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITONE_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv("TRITONE_CHECKPOINT_WHISPER", "whisper_multilingual")
    (tmp_path / "whisper_multilingual").mkdir()
    assert checkpoints.path("whisper") == tmp_path / "whisper_multilingual"

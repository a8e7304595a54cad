"""Reads the model folders of both repositories. Text only: no model is imported and no server is started."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

ROOT = Path(__file__).parents[2]
REPOSITORIES = (ROOT / "model_repository", ROOT / "ensembles")
CPU = "configs/cpu.pbtxt"


@dataclass(frozen=True)
class Served:
    """One model folder: its default config, and the variants in configs/ by path."""

    folder: Path
    config: Any  # ModelConfig
    variants: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def is_ensemble(self) -> bool:
        return bool(self.config.platform == "ensemble")

    @property
    def configs(self) -> dict[str, Any]:
        return {"config.pbtxt": self.config, **self.variants}


def model_folders(repositories: Iterable[Path] = REPOSITORIES) -> list[Path]:
    return sorted(path for repository in repositories for path in repository.iterdir() if path.is_dir())


def parse(path: Path) -> Any:
    """The ModelConfig in a pbtxt; raises text_format.ParseError with line and column, also for an unknown field."""
    return text_format.Parse(path.read_text("utf-8"), ModelConfig())


def read(folder: Path) -> Served:
    variants = {f"configs/{path.name}": parse(path) for path in sorted(folder.glob("configs/*.pbtxt"))}
    return Served(folder, parse(folder / "config.pbtxt"), variants)


def read_all(repositories: Iterable[Path] = REPOSITORIES) -> dict[str, Served]:
    return {folder.name: read(folder) for folder in model_folders(repositories)}


def repeated_names(repositories: Iterable[Path]) -> list[str]:
    """Model names that stand in both repositories, which Triton refuses."""
    counts = Counter(folder.name for folder in model_folders(repositories))
    return [name for name, count in counts.items() if count > 1]

"""Model repositories as `tritone serve` reads them before it starts: which models there are and what each needs.

It knows config.pbtxt files and folders; it knows nothing of processes, ports or model code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

ALWAYS = ("catalog",)  # a gateway and clients ask it what there is
KIND_GPU = model_config_pb2.ModelInstanceGroup.KIND_GPU


class CannotStart(Exception):
    """The server would not work; the message is one sentence for the person who started it."""


@dataclass(frozen=True)
class Model:
    """A model folder with the configuration that Triton will choose for it."""

    name: str
    folder: Path
    config: Any  # model_config_pb2.ModelConfig

    @property
    def is_python(self) -> bool:
        """Whether the model runs in a stub process of its own (an ensemble does not)."""
        return str(self.config.backend) == "python"

    @property
    def checkpoint(self) -> str | None:
        """The logical name of the checkpoint it loads, from its parameter `checkpoint`."""
        return self.parameter("checkpoint") or None

    @property
    def children(self) -> tuple[str, ...]:
        """Models that must be loaded for this one to work: an ensemble's steps, or those it calls itself (BLS).

        Triton knows nothing of the latter, so that a pipeline names them in its parameter `calls`.
        """
        steps = [step.model_name for step in self.config.ensemble_scheduling.step]
        calls = [name.strip() for name in self.parameter("calls").split(",")]
        return tuple(name for name in [*steps, *calls] if name)

    def number(self, key: str) -> int:
        """A whole number among its parameters; 0 if it has none of that name."""
        value = self.parameter(key)
        return int(value) if value.isdecimal() else 0

    def stubs(self, gpus: int = 1) -> int:
        """Processes that it runs in on a machine with so many GPUs: `count` on each that a group of KIND_GPU is for."""
        if not self.is_python:
            return 0
        groups = self.config.instance_group
        return sum(max(1, group.count) * _places(group, max(1, gpus)) for group in groups) or 1

    def processes_on(self, gpu: int) -> int:
        """Processes that Triton starts on the GPU of that number; none of what does not run on GPUs."""
        groups = [group for group in self.config.instance_group if group.kind == KIND_GPU]
        return sum(max(1, group.count) for group in groups if not group.gpus or gpu in group.gpus)

    @property
    def on_gpu(self) -> bool:
        """Whether its instances run on GPUs."""
        return any(group.kind == KIND_GPU for group in self.config.instance_group)

    def parameter(self, key: str) -> str:
        """One of its parameters; "" if it has none of that name."""
        parameters = self.config.parameters
        return str(parameters[key].string_value) if key in parameters else ""


def _places(group: Any, gpus: int) -> int:
    return len(group.gpus) or (gpus if group.kind == KIND_GPU else 1)


def read(repositories: Iterable[Path], config_name: str | None) -> dict[str, Model]:
    """All models of the repositories by name, each with `configs/<config_name>.pbtxt` where it has one.

    Raises: CannotStart: a folder is missing, a configuration cannot be parsed, or two models share a name.
    """
    models: dict[str, Model] = {}
    for repository in repositories:
        if not repository.is_dir():
            raise CannotStart(f"there is no model repository {repository}")
        for folder in sorted(path for path in repository.iterdir() if path.is_dir()):
            file = _config_file(folder, config_name)
            if not file.is_file():
                continue  # not a model, such as __pycache__
            model = Model(folder.name, folder, parse(file))
            if model.name in models:
                raise CannotStart(f"two models are named '{model.name}': {models[model.name].folder} and {folder}")
            models[model.name] = model
    return models


def parse(file: Path) -> Any:
    """The ModelConfig in a config.pbtxt.

    Raises: CannotStart: naming the file, line and cause.
    """
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise CannotStart(f"{file} is no valid model configuration: {error}") from error


def select(models: Mapping[str, Model], names: Sequence[str]) -> list[Model]:
    """The named models and everything they need, children first; all models if no name is given.

    What says what is served (ALWAYS) is among them, named or not.

    Raises: CannotStart: a name that is in no repository, or a model without a version or its code.
    """
    chosen: dict[str, Model] = {}
    always = [name for name in ALWAYS if name in models]
    for name in [*names, *always] if names else sorted(models):
        if name not in models:
            raise CannotStart(f"there is no model '{name}'; there are {', '.join(sorted(models)) or 'none'}")
        _choose(models, name, chosen, ())
    return list(chosen.values())


def users_of(name: str, models: Iterable[Model]) -> list[Model]:
    """The ensembles among `models` that contain the model, directly or through another ensemble, inner ones first."""
    models = list(models)
    direct = [model for model in models if not model.is_python and name in model.children]
    return [*direct, *(outer for model in direct for outer in users_of(model.name, models) if outer not in direct)]


def below(name: str, models: Mapping[str, Model]) -> set[str]:
    """The models that this one calls or contains, and what those call."""
    found: set[str] = set()
    for child in models[name].children if name in models else ():
        found |= {child} | below(child, models)
    return found


def neighbours(name: str, models: Mapping[str, Model]) -> set[str]:
    """The models that may be left waiting when this one dies: those that call it and those that it calls."""
    callers = {model.name for model in models.values() if name in model.children}
    return callers | set(models[name].children)


def _config_file(folder: Path, config_name: str | None) -> Path:
    """Triton's own rule: the whole file is replaced, and where there is none of that name, config.pbtxt is taken."""
    custom = folder / "configs" / f"{config_name}.pbtxt"
    return custom if config_name and custom.is_file() else folder / "config.pbtxt"


def _choose(models: Mapping[str, Model], name: str, chosen: dict[str, Model], path: tuple[str, ...]) -> None:
    if name in path:
        raise CannotStart(f"models call each other in a circle: {' → '.join([*path, name])}")
    for child in models[name].children:
        if child not in models:
            raise CannotStart(f"model '{name}' needs model '{child}', which is in no repository")
        _choose(models, child, chosen, (*path, name))
    if name not in chosen:
        _check_version(models[name])
        chosen[name] = models[name]


def _check_version(model: Model) -> None:
    """Refuse what the server would only wait for: a Python model without code, or a model without a version."""
    versions = [folder for folder in model.folder.iterdir() if folder.name.isdigit()]
    if not versions:
        raise CannotStart(f"model '{model.name}' has no version: there is no folder {model.folder / '1'}")
    code = str(model.config.default_model_filename) or "model.py"
    for version in versions:
        if model.is_python and not (version / code).is_file():
            raise CannotStart(f"model '{model.name}' has no code: there is no file {version / code}")

"""What a model folder must look like. Each check returns the faults it finds, as sentences."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from contract.repositories import CPU, Served
from tritonclient.grpc.model_config_pb2 import DataType, ModelInstanceGroup

WRITTEN_BY_PYTHON = "__pycache__"


def layout_faults(served: Served) -> Iterator[str]:
    """config.pbtxt, configs/*.pbtxt, 1/model.py (an ensemble: 1/.gitkeep), and nothing else."""
    folder = served.folder
    if served.config.name != folder.name:
        yield f"{folder.name}: config.pbtxt says name '{served.config.name}'"
    wanted = {Path("1/.gitkeep" if served.is_ensemble else "1/model.py"), *map(Path, served.configs)}
    found = {
        path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and WRITTEN_BY_PYTHON not in path.parts
    }
    for path in sorted(wanted - found):
        yield f"{folder.name}: {path} is missing"
    for path in sorted(found - wanted):
        yield f"{folder.name}: {path} does not belong here"
    if not served.is_ensemble and served.config.backend != "python":
        yield f"{folder.name}: backend is '{served.config.backend}'"


def kind_faults(served: Served) -> Iterator[str]:
    """A model with a cpu.pbtxt has GPU work: explicit KIND_GPU here, KIND_CPU there. All others are KIND_CPU."""
    if served.is_ensemble:
        if served.config.instance_group:
            yield f"{served.name}: an ensemble has no instances"
        return
    yield from _kinds(served, "config.pbtxt", "KIND_GPU" if CPU in served.variants else "KIND_CPU")
    if CPU in served.variants:
        yield from _kinds(served, CPU, "KIND_CPU")


def _kinds(served: Served, path: str, wanted: str) -> Iterator[str]:
    kinds = [ModelInstanceGroup.Kind.Name(group.kind) for group in served.configs[path].instance_group]
    if not kinds or set(kinds) != {wanted}:
        yield f"{served.name}: {path} has instance kinds {kinds}, must be {wanted}"


def variant_faults(served: Served) -> Iterator[str]:
    """Whichever config the server chooses, callers see the same model, and model.py the same parameters."""
    for path, variant in served.variants.items():
        for field in ("name", "backend", "platform", "max_batch_size", "model_transaction_policy", "input", "output"):
            if getattr(variant, field) != getattr(served.config, field):
                yield f"{served.name}: {path} and config.pbtxt differ in {field}"
        different = set(variant.parameters) ^ set(served.config.parameters)
        if different:
            yield f"{served.name}: {path} and config.pbtxt do not both have the parameters {sorted(different)}"


def queue_faults(served: Served) -> Iterator[str]:
    """Queue policies stall the batcher of servers before 26.08, and the CPU's server is one of them."""
    path = CPU if CPU in served.variants else "config.pbtxt"
    batching = served.configs[path].dynamic_batching
    if batching.HasField("default_queue_policy") or batching.priority_queue_policy or batching.priority_levels:
        yield f"{served.name}: {path} has a queue policy"


def tensor_faults(served: Served) -> Iterator[str]:
    """Every tensor has a batch axis, a name in snake_case and dims."""
    if served.config.max_batch_size < 1:
        yield f"{served.name}: max_batch_size is {served.config.max_batch_size}, so its tensors have no batch axis"
    if not served.config.input or not served.config.output:
        yield f"{served.name}: has no inputs or no outputs"
    for tensor in (*served.config.input, *served.config.output):
        if not tensor.name.isidentifier() or tensor.name != tensor.name.lower():
            yield f"{served.name}: tensor '{tensor.name}' is not snake_case"
        if not tensor.dims:
            yield f"{served.name}: tensor '{tensor.name}' has no dims"


def call_faults(served: Served, names: Collection[str]) -> Iterator[str]:
    """The models that a pipeline calls (parameter `calls`) exist."""
    if "calls" in served.config.parameters:
        for name in served.config.parameters["calls"].string_value.split(","):
            if name not in names:
                yield f"{served.name}: calls '{name}', which does not exist"


def vocabulary_faults(models: Collection[Served]) -> Iterator[str]:
    """A tensor's name means the same data type everywhere."""
    seen: dict[str, tuple[str, Any]] = {}
    for served in models:
        for tensor in (*served.config.input, *served.config.output):
            first, data_type = seen.setdefault(tensor.name, (served.name, tensor.data_type))
            if tensor.data_type != data_type:
                here, there = DataType.Name(tensor.data_type), DataType.Name(data_type)
                yield f"'{tensor.name}' is {here} in {served.name} and {there} in {first}"

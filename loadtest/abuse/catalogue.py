"""The models as their config.pbtxt files describe them: inputs, kinds, and which model needs which."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tritone.server import repository
from tritone.server.repository import Model

ROOT = Path(__file__).resolve().parents[2]
DTYPES = {  # of config.pbtxt to those of the protocol
    "TYPE_STRING": "BYTES", "TYPE_BOOL": "BOOL", "TYPE_UINT8": "UINT8", "TYPE_INT32": "INT32", "TYPE_INT64": "INT64",
    "TYPE_FP16": "FP16", "TYPE_FP32": "FP32", "TYPE_FP64": "FP64",
}  # fmt: skip


@cache
def models() -> Mapping[str, Model]:
    """All models of the project by name."""
    return repository.read([ROOT / "model_repository", ROOT / "ensembles"], "cpu")


def python_models() -> list[str]:
    """Those that have a process of their own."""
    return [name for name, model in models().items() if model.is_python]


def is_decoupled(model: str) -> bool:
    """Whether it answers in a stream."""
    return bool(models()[model].config.model_transaction_policy.decoupled)


def distance(model: str, needed: str) -> int | None:
    """How many calls lie between the model and one that it needs; 0 is itself, None if it does not need it."""
    if model == needed:
        return 0
    found = [distance(child, needed) for child in models()[model].children]
    return min((steps + 1 for steps in found if steps is not None), default=None)


def inputs(model: str) -> list[tuple[str, str, list[int], bool]]:
    """Name, dtype of the protocol, dims without the batch axis, and whether it may be left out."""
    config = models()[model].config
    types = type(config.input[0]).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    return [
        (each.name, DTYPES[types[each.data_type].name], [int(dim) for dim in each.dims], bool(each.optional))
        for each in config.input
    ]

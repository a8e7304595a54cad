"""What the client believes of each model it calls, against that model's config."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from contract.repositories import Served
from tritonclient.grpc.model_config_pb2 import DataType

from tritone_client.calls.models import Model, Tensor


def client_faults(model: Model, models: Mapping[str, Served]) -> Iterator[str]:
    if model.name not in models:
        yield f"the client calls '{model.name}', which does not exist"
        return
    config = models[model.name].config
    if model.decoupled != config.model_transaction_policy.decoupled:
        yield f"{model.name}: the client believes that decoupled is {model.decoupled}"
    yield from _tensor_faults(f"{model.name}: input", model.inputs, config.input)
    yield from _tensor_faults(f"{model.name}: output", model.outputs, config.output)


def _tensor_faults(what: str, believed: Iterable[Tensor], configured: Iterable[Any]) -> Iterator[str]:
    ours, theirs = {tensor.name: tensor for tensor in believed}, {t.name: _tensor(t) for t in configured}
    for name in ours.keys() | theirs.keys():
        if ours.get(name) != theirs.get(name):
            yield f"{what} '{name}' is {ours.get(name)} in the client, {theirs.get(name)} in the config"


def _tensor(tensor: Any) -> Tensor:
    """A config's tensor in the protocol's words: a config says TYPE_STRING for what the protocol calls BYTES."""
    data_type = DataType.Name(tensor.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")
    return Tensor(tensor.name, data_type, tuple(tensor.dims), getattr(tensor, "optional", False))

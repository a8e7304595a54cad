"""What the wires of an ensemble must look like. Triton itself checks some of it, but only at load."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from contract.repositories import Served
from tritonclient.grpc.model_config_pb2 import DataType

from tritone.serving.tensors import BINARY, NUMBERS

End = tuple[str, Any]  # where a wire ends, in words, and the tensor there


def wiring_faults(ensemble: Served, models: Mapping[str, Served]) -> Iterator[str]:
    steps = ensemble.config.ensemble_scheduling.step
    if not steps:
        yield f"{ensemble.name}: has no steps"
    for name, count in Counter(step.model_name for step in steps).items():
        if count > 1:
            yield f"{ensemble.name}: '{name}' stands {count} times in it, which stalls servers before 26.08"
        if name not in models:
            yield f"{ensemble.name}: step '{name}' does not exist"
    known = [step for step in steps if step.model_name in models]
    for step in known:
        yield from _step_faults(ensemble, step, models[step.model_name])
    yield from _wire_faults(ensemble, known, models)
    for step in known:
        yield from _file_faults(ensemble, step, models[step.model_name])


def _step_faults(ensemble: Served, step: Any, served: Served) -> Iterator[str]:
    where, config = f"{ensemble.name}: step '{step.model_name}'", served.config
    inputs = {tensor.name: tensor for tensor in config.input}
    for key in step.input_map.keys() - inputs.keys():
        yield f"{where} has no input '{key}'"
    for key in step.output_map.keys() - {tensor.name for tensor in config.output}:
        yield f"{where} has no output '{key}'"
    for name, tensor in inputs.items():
        if not tensor.optional and name not in step.input_map:
            yield f"{where} gets nothing for its input '{name}'"
    if config.max_batch_size < ensemble.config.max_batch_size:
        yield f"{where} takes batches of {config.max_batch_size}, the ensemble {ensemble.config.max_batch_size}"
    if config.model_transaction_policy.decoupled and not ensemble.name.endswith("_stream"):
        yield f"{where} is decoupled, so the ensemble cannot be called by unary infer"


def _file_faults(ensemble: Served, step: Any, served: Served) -> Iterator[str]:
    """What a caller's parameter `binary`, which reaches every step, may change never goes on to another step."""
    files = [tensor.name for tensor in served.config.output if tensor.name.endswith(BINARY)]
    inner = {wire for each in ensemble.config.ensemble_scheduling.step for wire in each.input_map.values()}
    outer = {tensor.name for tensor in ensemble.config.output}
    for key, wire in step.output_map.items():
        goes = f"{ensemble.name}: '{key}' of step '{step.model_name}' goes on as '{wire}'"
        if key in files and wire in inner:
            yield f"{goes}: it may be base64, or no file"
        if files and key in NUMBERS and wire in inner | outer:
            yield f"{goes}: JSON goes without it"


def _wire_faults(ensemble: Served, steps: list[Any], models: Mapping[str, Served]) -> Iterator[str]:
    sources = _sources(ensemble, steps, models)
    targets = _targets(ensemble, steps, models)
    for wire, ends in sources.items():
        if len(ends) > 1:
            yield f"{ensemble.name}: '{wire}' comes from {' and '.join(where for where, _ in ends)}"
    for wire in sources.keys() - targets.keys():
        if any(where == "its input" for where, _ in sources[wire]):
            yield f"{ensemble.name}: its input '{wire}' goes nowhere"
    for wire, ends in targets.items():
        for where, tensor in ends:
            if wire not in sources:
                yield f"{ensemble.name}: '{wire}' of {where} comes from nowhere"
            else:
                yield from _end_faults(f"{ensemble.name}: '{wire}'", sources[wire][0], (where, tensor))


def _end_faults(wire: str, source: End, target: End) -> Iterator[str]:
    (came, given), (goes, wanted) = source, target
    if given.data_type != wanted.data_type:
        yield f"{wire} is {DataType.Name(given.data_type)} in {came} but {DataType.Name(wanted.data_type)} in {goes}"
    if not _dims_agree(list(given.dims), list(wanted.dims)):
        yield f"{wire} is {list(given.dims)} in {came} but {list(wanted.dims)} in {goes}"
    if getattr(given, "optional", False) and not getattr(wanted, "optional", True):
        yield f"{wire} is optional, but {goes} cannot do without"


def _dims_agree(left: list[int], right: list[int]) -> bool:
    return len(left) == len(right) and all(a == b or -1 in (a, b) for a, b in zip(left, right, strict=True))


def _sources(ensemble: Served, steps: list[Any], models: Mapping[str, Served]) -> dict[str, list[End]]:
    """Where each wire starts: an input of the ensemble or an output of a step."""
    ends: dict[str, list[End]] = {tensor.name: [("its input", tensor)] for tensor in ensemble.config.input}
    for step in steps:
        outputs = {tensor.name: tensor for tensor in models[step.model_name].config.output}
        for key, wire in step.output_map.items():
            if key in outputs:
                ends.setdefault(wire, []).append((f"'{step.model_name}'", outputs[key]))
    return ends


def _targets(ensemble: Served, steps: list[Any], models: Mapping[str, Served]) -> dict[str, list[End]]:
    """Where each wire ends: an output of the ensemble or inputs of steps."""
    ends: dict[str, list[End]] = {tensor.name: [("its output", tensor)] for tensor in ensemble.config.output}
    for step in steps:
        inputs = {tensor.name: tensor for tensor in models[step.model_name].config.input}
        for key, wire in step.input_map.items():
            if key in inputs:
                ends.setdefault(wire, []).append((f"'{step.model_name}'", inputs[key]))
    return ends

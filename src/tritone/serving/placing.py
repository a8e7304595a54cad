"""Where an instance of a model computes, and with how many others. It knows of Triton only its `instance_group`."""

import json
from collections.abc import Mapping
from typing import Any

from tritone import device

# A model's parameters that spread a network over the machine's GPUs, and what they say where it is not: accelerate's
# device_map, and how many of them vLLM shares each layer among.
SPREADS = {"device_map": "none", "tensor_parallel_size": "1"}
# And one that has it take what memory its GPU has left, where it is this.
FILLS = ("slots", "0")


def device_of(args: Mapping[str, str], parameters: Mapping[str, str]) -> str:
    """The torch device of an instance, which is the process's own from here on.

    "cuda:1" is KIND_GPU on GPU 1; "cuda" is KIND_MODEL, whose network finds its devices itself, where there is a GPU;
    "cpu" is all else.

    Args:
        args: Triton's, of which model_name, model_instance_kind ("CPU", "GPU", "MODEL"), model_instance_device_id
            and model_config.
        parameters: the config's.

    Raises:
        ValueError: a network is to be spread over GPUs by an instance that Triton makes once for each of them, or by
            one of several; or several that take all the memory there is are to share a GPU.
    """
    kind = args["model_instance_kind"]
    for name, alone in SPREADS.items():
        if kind != "MODEL" and (spread := parameters.get(name, alone)) != alone:
            raise ValueError(
                f"{name} of model '{args['model_name']}' is '{spread}', which spreads one network over GPUs, "
                f"but its instance_group is KIND_{kind}: write KIND_MODEL and count: 1"
            )
    _check_sharing(args, parameters)
    if kind == "GPU":
        return device.choose(f"cuda:{args['model_instance_device_id']}")
    return device.choose("cuda" if kind == "MODEL" and _has_gpu() else "cpu")


def _check_sharing(args: Mapping[str, str], parameters: Mapping[str, str]) -> None:
    kind, fills = args["model_instance_kind"], parameters.get(FILLS[0]) == FILLS[1]
    together = _on_one_device(json.loads(args["model_config"]), args["model_instance_device_id"])
    if kind == "CPU" or together == 1:
        return
    for name in (name for name, alone in SPREADS.items() if parameters.get(name, alone) != alone):
        raise ValueError(
            f"{name} of model '{args['model_name']}' spreads one network over all GPUs, and its instance_group asks "
            f"for {together} of them: write count: 1"
        )
    if fills:
        raise ValueError(
            f"{FILLS[0]} of model '{args['model_name']}' is {FILLS[1]}, as many as fit, and its instance_group puts "
            f"{together} processes on one GPU, each of which would take the memory for itself: say how many, or write "
            "count: 1"
        )


def _on_one_device(config: Mapping[str, Any], device: str) -> int:
    """How many of a model's processes the device has."""
    groups = config.get("instance_group") or [{}]
    here = (group for group in groups if int(device) in (group.get("gpus") or [int(device)]))
    return sum(max(1, int(group.get("count", 1))) for group in here)


def instances_of(config: Mapping[str, Any]) -> int:
    """How many processes Triton starts for a model: `count` in each group, on each of its `gpus`."""
    groups = config.get("instance_group") or [{}]
    return sum(max(1, int(group.get("count", 1))) * max(1, len(group.get("gpus", []))) for group in groups)


def _has_gpu() -> bool:
    import torch  # heavy, and of use to networks alone

    return torch.cuda.is_available()

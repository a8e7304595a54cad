"""Where an instance of a model computes. It knows nothing of Triton but the words of its `instance_group`."""

from collections.abc import Mapping

from tritone import device

# A model's parameters that spread a network over the machine's GPUs, and what they say where it is not: accelerate's
# device_map, and how many of them vLLM shares each layer among.
SPREADS = {"device_map": "none", "tensor_parallel_size": "1"}


def device_of(args: Mapping[str, str], parameters: Mapping[str, str]) -> str:
    """The torch device of an instance, which is the process's own from here on.

    "cuda:1" is KIND_GPU on GPU 1; "cuda" is KIND_MODEL, whose network finds its devices itself, where there is a GPU;
    "cpu" is all else.

    Args:
        args: Triton's, of which model_name, model_instance_kind ("CPU", "GPU", "MODEL") and model_instance_device_id.
        parameters: the config's.

    Raises: ValueError: a network is to be spread over GPUs by an instance that Triton makes once for each of them.
    """
    kind = args["model_instance_kind"]
    for name, alone in SPREADS.items():
        if kind != "MODEL" and (spread := parameters.get(name, alone)) != alone:
            raise ValueError(
                f"{name} of model '{args['model_name']}' is '{spread}', which spreads one network over GPUs, "
                f"but its instance_group is KIND_{kind}: write KIND_MODEL and count: 1"
            )
    if kind == "GPU":
        return device.choose(f"cuda:{args['model_instance_device_id']}")
    return device.choose("cuda" if kind == "MODEL" and _has_gpu() else "cpu")


def _has_gpu() -> bool:
    import torch  # heavy, and of use to networks alone

    return torch.cuda.is_available()

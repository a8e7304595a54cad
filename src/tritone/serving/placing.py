"""Where an instance of a model computes. It knows nothing of Triton but the words of its `instance_group`."""

from collections.abc import Mapping

from tritone import device

# A model's parameter: how a network is spread over the machine's GPUs (accelerate's device_map); "none": not at all.
DEVICE_MAP = "device_map"


def device_of(args: Mapping[str, str], parameters: Mapping[str, str]) -> str:
    """The torch device of an instance, which is the process's own from here on.

    "cuda:1" is KIND_GPU on GPU 1; "cuda" is KIND_MODEL, whose network finds its devices itself, where there is a GPU;
    "cpu" is all else.

    Args:
        args: Triton's, of which model_name, model_instance_kind ("CPU", "GPU", "MODEL") and model_instance_device_id.
        parameters: the config's.

    Raises: ValueError: a network is to be spread over GPUs by an instance that Triton makes once for each of them.
    """
    kind, spread = args["model_instance_kind"], parameters.get(DEVICE_MAP, "none")
    if spread != "none" and kind != "MODEL":
        raise ValueError(
            f"{DEVICE_MAP} of model '{args['model_name']}' is '{spread}', which spreads one network over all GPUs, "
            f"but its instance_group is KIND_{kind}: write KIND_MODEL and count: 1"
        )
    if kind == "GPU":
        return device.choose(f"cuda:{args['model_instance_device_id']}")
    return device.choose("cuda" if kind == "MODEL" and _has_gpu() else "cpu")


def _has_gpu() -> bool:
    import torch  # heavy, and of use to networks alone

    return torch.cuda.is_available()

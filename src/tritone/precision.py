"""Which floating-point type a network runs in."""

import torch

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def torch_dtype(dtype: str, device: str) -> torch.dtype:
    """The torch type of a config's `dtype`: "auto" is fp16 on a GPU and fp32 on a CPU.

    Raises: ValueError: for any other word than "auto", "float32", "float16", "bfloat16".
    """
    if dtype == "auto":
        return torch.float16 if device.startswith("cuda") else torch.float32
    if dtype not in _DTYPES:
        raise ValueError(f"dtype is '{dtype}', must be auto, {', '.join(_DTYPES)}")
    return _DTYPES[dtype]

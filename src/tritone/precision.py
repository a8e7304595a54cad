"""In which numbers a network's weights are held and computed."""

from typing import Any

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


def quantization_config(quantization: str, dtype: torch.dtype) -> Any:
    """bitsandbytes' settings for a config's `quantization`; None for "none".

    A vision-language model's tower and projector stay as they are: they are small beside the language model, and
    what a picture looks like is lost first. So does the output layer, as bitsandbytes itself would have it.

    Raises: ValueError: for any other word than "none", "int8", "nf4".
    """
    from transformers import BitsAndBytesConfig

    settings: Any = BitsAndBytesConfig
    whole = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
    if quantization == "none":
        return None
    if quantization == "int8":
        return settings(load_in_8bit=True, llm_int8_skip_modules=whole)
    if quantization == "nf4":
        return settings(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=whole,
        )
    raise ValueError(f"quantization is '{quantization}', must be none, int8 or nf4")

"""A LLaVA checkpoint in vLLM: settings of ours as vLLM's, weights and adapters into memory."""

import importlib.metadata
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from tritone.errors import NotServed
from tritone.language import adapters as lora
from tritone.language.adapters import Adapters
from tritone.language.decoder import length_within
from tritone.language.kv_cache import SlotCache
from tritone.language.vllm.engine import VllmEngine
from tritone.language.vllm.plugin import ARCHITECTURE, OWNER
from tritone.language.vllm.requests import Requests
from tritone.precision import torch_dtype

if TYPE_CHECKING:
    from tritone.language.checkpoint import Checkpoint
    from tritone.language.llava import Capacity, Loading

MOST_AT_ONCE = 256  # where `slots` is 0; how many fit is then decided between any two tokens
BLOCK = 128  # tokens; the largest block of vLLM's cache, which answers take block by block
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # of adapters, that vLLM has kernels for
MOST_ADAPTERS = 8  # in one batch; requests for others wait
PICTURES = ("vision_tower", "multi_modal_projector")  # parts of the network that see
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",  # nobody is told what is served here
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # this process has threads
}


def load(
    checkpoint: "Checkpoint",
    device: str,
    max_pictures: int,
    loading: "Loading",
    capacity: "Capacity",
    adapters: Path | None = None,
) -> tuple[VllmEngine, Adapters]:
    """The engine, and the adapters that it has.

    Raises:
        NotServed: vLLM is not installed, or settings that it does not have.
        ValueError: an adapter that cannot be served, by name.
    """
    _check(device, loading, capacity)
    folders = lora.find(adapters) if adapters else []
    os.environ.update(
        {OWNER: str(os.getpid())} | {key: os.environ.get(key, value) for key, value in ENVIRONMENT.items()}
    )
    settings = arguments(checkpoint, device, max_pictures, loading, capacity) | _lora(folders, device)
    requests = _lora_requests(folders)

    async def start() -> Any:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**settings))
        try:
            for request in requests.values():
                with lora.naming(Path(request.lora_path)):
                    await llm.add_lora(request)
        except ValueError:
            llm.shutdown()
            raise
        return llm

    ask = Requests(checkpoint.config.image_token_id, checkpoint.eos, requests).ask
    slots, length = settings["max_num_seqs"], settings["max_model_len"]
    engine = VllmEngine(start, ask, slots, length, capacity.max_queue, _describe(settings))
    return engine, Adapters([folder.name for folder in folders])


def arguments(
    checkpoint: "Checkpoint", device: str, max_pictures: int, loading: "Loading", capacity: "Capacity"
) -> dict[str, Any]:
    """vLLM's `AsyncEngineArgs`, by name, that are those of our settings.

    Raises: NotServed: `max_length` is over the checkpoint's context.
    """
    text = checkpoint.config.text_config
    dtype, length = torch_dtype(loading.dtype, device), length_within(text, capacity.max_length)
    slots = capacity.slots or MOST_AT_ONCE
    return {
        "model": str(checkpoint.folder),
        "hf_overrides": {"architectures": [ARCHITECTURE]},
        "generation_config": "vllm",  # a caller's options are whole
        "dtype": str(dtype).removeprefix("torch."),
        "quantization": None if loading.quantization == "none" else loading.quantization,
        "max_num_seqs": slots,
        "max_model_len": length,
        "max_num_batched_tokens": max(capacity.prefill_chunk + slots, min(length, 2 * slots)),
        "enable_prefix_caching": capacity.enable_prefix_caching,
        "limit_mm_per_prompt": {"image": max_pictures},
        "mm_processor_cache_gb": 0,  # pictures come ready
        "tensor_parallel_size": loading.tensor_parallel_size,
        "enforce_eager": device == "cpu",  # else it compiles for minutes
        "disable_log_stats": True,
        **_cache(text, dtype, slots if capacity.slots else 0, length, loading.tensor_parallel_size, capacity),
        **({"device_ids": [int(device.removeprefix("cuda:"))]} if device.startswith("cuda:") else {}),
    }


def _cache(
    text: Any, dtype: torch.dtype, slots: int, length: int, gpus: int, capacity: "Capacity"
) -> dict[str, int | float]:
    """On each GPU: what `slots` whole answers take, as our own engine's cache; else what weights and reserve leave."""
    if not slots:
        return {"gpu_memory_utilization": 1 - capacity.memory_reserve}
    blocks = slots * -(-length // BLOCK) + 1  # vLLM keeps one for itself
    layer = SlotCache.slot_nbytes(text, BLOCK, dtype) // gpus
    return {"kv_cache_memory_bytes": blocks * text.num_hidden_layers * layer}


def _check(device: str, loading: "Loading", capacity: "Capacity") -> None:
    if importlib.util.find_spec("vllm") is None:
        raise NotServed(
            "engine is 'vllm', and the package vllm is not installed: run in an environment that has it and numpy 2, "
            "such as `make vllm` makes, or set engine to 'torch' (docs/engines.md)"
        )
    if not importlib.metadata.entry_points(group="vllm.general_plugins", name="tritone"):
        raise NotServed("vLLM does not know tritone: install it there, with `pip install --no-deps .`")
    if loading.quantization not in ("none", "fp8"):
        raise NotServed(f"quantization is '{loading.quantization}', of engine vllm it must be none or fp8")
    if loading.device_map != "none":
        raise NotServed(f"device_map is '{loading.device_map}': engine vllm has tensor_parallel_size in its place")
    if device == "cpu" and not capacity.slots:
        raise NotServed("slots is 0, as many as fit, which can be told of a GPU only, not of 'cpu': say how many")


def _lora(folders: Sequence[Path], device: str) -> dict[str, Any]:
    """Those of the arguments that are about adapters."""
    if not folders:
        return {}
    rank = max(_rank(folder) for folder in folders)
    if rank > RANKS[-1]:
        raise NotServed(f"an adapter's rank is {rank}, vLLM has at most {RANKS[-1]}")
    # On a processor vLLM gives rows without an adapter the last place, which so must stay empty.
    places = len(folders) + 1 if device == "cpu" else min(len(folders), MOST_ADAPTERS)
    return {
        "enable_lora": True,
        "max_loras": places,
        "max_cpu_loras": max(places, len(folders)),
        "max_lora_rank": next(each for each in RANKS if each >= rank),
        "enable_tower_connector_lora": any(map(_sees, folders)),
    }


def _lora_requests(folders: Sequence[Path]) -> Mapping[str, Any]:
    if not folders:
        return {}
    from vllm.lora.request import LoRARequest

    return {
        folder.name: LoRARequest(lora_name=folder.name, lora_int_id=number, lora_path=str(folder))
        for number, folder in enumerate(folders, 1)
    }


def _rank(folder: Path) -> int:
    from peft import PeftConfig

    config: Any = PeftConfig.from_pretrained(str(folder))
    return max(int(rank) for rank in (config.r, *(config.rank_pattern or {}).values()))


def _sees(folder: Path) -> bool:
    """Whether an adapter changes how pictures are seen."""
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        return any(part in name for name in file.keys() for part in PICTURES)  # noqa: SIM118


def _describe(settings: Mapping[str, Any]) -> str:
    cache = settings.get("kv_cache_memory_bytes")
    size = f"{cache / 2**20:,.0f} MiB" if cache else f"up to {settings['gpu_memory_utilization']:.0%} of the GPU"
    return (
        f"vLLM, tensor_parallel_size {settings['tensor_parallel_size']}, "
        f"weights {settings['quantization'] or settings['dtype']}, "
        f"cache {size} ({settings['max_num_seqs']} answers at once, {settings['max_model_len']} tokens each)"
    )

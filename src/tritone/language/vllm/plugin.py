"""What vLLM is told about us in each of its processes, through the entry point `vllm.general_plugins`."""

import os
import threading
import time

ARCHITECTURE = "TritoneLlava"  # of a checkpoint, in place of LlavaForConditionalGeneration
OWNER = "TRITONE_VLLM_OWNER"  # environment: the process that vLLM computes for
LOOK_S = 1.0


def register() -> None:
    """Make our architecture known; and where vLLM computes for a model of ours, end with it.

    vLLM's process outlives one that is killed, and would keep its GPU.
    """
    from vllm import ModelRegistry

    ModelRegistry.register_model(ARCHITECTURE, "tritone.language.vllm.network:Llava")
    owner = os.environ.get(OWNER)
    if owner and os.getppid() == int(owner):
        threading.Thread(target=_end_with, args=(int(owner),), name="owner", daemon=True).start()


def _end_with(owner: int) -> None:
    while os.getppid() == owner:
        time.sleep(LOOK_S)
    os._exit(1)

"""What we use of vLLM 0.32, without a network: `AsyncLLM.generate` says what a test has written down."""

import asyncio
import contextlib
import enum
import importlib.metadata
import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from unittest import mock


class RequestOutputKind(enum.Enum):
    CUMULATIVE = 0
    DELTA = 1


class PlaceholderRange(SimpleNamespace):
    pass


class LoRARequest(SimpleNamespace):
    pass


class MultiModalKwargsItems:
    @staticmethod
    def from_hf_inputs(inputs, config):
        return {"image": list(inputs["pixel_values"])}


def output(ids, reason=None, logprobs=None):
    """A RequestOutput."""
    return SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, finish_reason=reason, logprobs=logprobs)])


class AsyncLLM:
    """Says `script`: of each answer, the token ids of one output after the other; an exception is raised.

    Outputs come as soon as `gate` is open.
    """

    def __init__(self, args=None, script=((7,), (8,), (2,))):
        self.args, self.script, self.gate = args, list(script), asyncio.Event()
        self.gate.set()
        self.asked, self.aborted, self.adapters = [], [], []
        self.errored = self.was_shut_down = False

    async def generate(self, prompt, params, request_id, *, lora_request=None):
        self.asked.append((prompt, params, lora_request))
        for number, said in enumerate(self.script, 1):
            await self.gate.wait()
            await asyncio.sleep(0)
            if isinstance(said, Exception):
                raise said
            if isinstance(said, SimpleNamespace):
                yield said
                continue
            stopped = said[-1] in params.stop_token_ids
            yield output(said, "stop" if stopped else "length" if number == len(self.script) else None)
            if stopped:
                return

    async def abort(self, request_id):
        self.aborted.append(request_id)

    async def add_lora(self, request):
        self.adapters.append(request.lora_name)

    def shutdown(self, timeout=None):
        self.was_shut_down = True


def modules(llms):
    """The modules by name; every AsyncLLM that is made with `from_engine_args` is put into `llms`."""

    def from_engine_args(args):
        llms.append(AsyncLLM(args))
        return llms[-1]

    here = {
        "vllm": {"SamplingParams": SimpleNamespace, "AsyncEngineArgs": SimpleNamespace},
        "vllm.sampling_params": {
            "RequestOutputKind": RequestOutputKind,
            "StructuredOutputsParams": SimpleNamespace,
        },
        "vllm.inputs": {
            "tokens_input": lambda ids: {"type": "token", "prompt_token_ids": ids},
            "mm_input": lambda ids, items, hashes, places: {
                "type": "multimodal",
                "prompt_token_ids": ids,
                "mm_kwargs": items,
                "mm_hashes": hashes,
                "mm_placeholders": places,
            },
        },
        "vllm.multimodal": {},
        "vllm.multimodal.inputs": {
            "MultiModalFieldConfig": SimpleNamespace(batched=lambda modality: modality),
            "MultiModalKwargsItems": MultiModalKwargsItems,
            "PlaceholderRange": PlaceholderRange,
        },
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": LoRARequest},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.async_llm": {"AsyncLLM": SimpleNamespace(from_engine_args=from_engine_args)},
    }
    made = {}
    for name, content in here.items():
        made[name] = ModuleType(name)
        made[name].__spec__ = ModuleSpec(name, None, is_package=True)
        made[name].__path__ = []
        vars(made[name]).update(content)
    return made


@contextlib.contextmanager
def installed(monkeypatch, knows_tritone=True):
    """While the context lasts vLLM is there, and nothing that it is told stays in the environment."""
    llms, others = [], importlib.metadata.entry_points

    def entry_points(**wish):
        return ["tritone"] * knows_tritone if wish.get("group") == "vllm.general_plugins" else others(**wish)

    with monkeypatch.context() as patch, mock.patch.dict(os.environ):
        for name, module in modules(llms).items():
            patch.setitem(sys.modules, name, module)
        patch.setattr(importlib.metadata, "entry_points", entry_points)
        yield llms

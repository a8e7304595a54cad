"""What `Llava` asks for, in vLLM's words."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any

import torch

from tritone.language.choosing.logprobs import TokenLogprob
from tritone.language.choosing.sampling import Sampling
from tritone.language.token_stream import Prompt


class Requests:
    """Asks vLLM's `AsyncLLM` for answers.

    Args:
        image_token: stands for a part of a picture in a prompt's `input_ids`.
        eos: token ids that end an answer.
        adapters: vLLM's `LoRARequest`s by name.
    """

    def __init__(self, image_token: int, eos: Iterable[int], adapters: Mapping[str, Any]) -> None:
        self.image_token, self.eos, self.adapters = image_token, sorted(eos), adapters

    async def ask(self, llm: Any, prompt: Prompt) -> AsyncGenerator[Any, None]:
        """vLLM's `RequestOutput`s of an answer, each with the tokens since the one before.

        Greedy answers are those of our own engine. A seed draws the same in every answer that vLLM gives, but not what
        it draws in our engine: the two turn random numbers into tokens in ways of their own.
        """
        name, adapter = uuid.uuid4().hex, self.adapters.get(prompt.adapter)
        asked = llm.generate(self._input(prompt), self._options(prompt), name, lora_request=adapter)
        try:
            async with aclosing(asked) as outputs:
                async for output in outputs:
                    yield output
        except (asyncio.CancelledError, GeneratorExit):
            await llm.abort(name)  # `generate` forgets to where the caller leaves while it is handing the prompt over
            raise

    def _options(self, prompt: Prompt) -> Any:
        """vLLM's `SamplingParams`. Text is made, and stop strings are found, by our own detokenizer."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        grammar = prompt.sampling.grammar
        return SamplingParams(
            **_drawing(prompt.sampling),
            structured_outputs=StructuredOutputsParams(json=grammar.schema) if grammar else None,
            logprobs=prompt.sampling.top_logprobs,
            max_tokens=prompt.max_tokens,
            ignore_eos=True,  # vLLM's own idea of it; ours are these
            stop_token_ids=self.eos,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )

    def _input(self, prompt: Prompt) -> Any:
        """vLLM's `EngineInput`: token ids and pictures as they are, so that nothing is tokenised or resized again."""
        from vllm.inputs import mm_input, tokens_input
        from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems, PlaceholderRange

        ids = prompt.input_ids.tolist()
        if prompt.pixel_values is None:
            return tokens_input(ids)
        pixels: Any = {"pixel_values": prompt.pixel_values}
        items = MultiModalKwargsItems.from_hf_inputs(pixels, {"pixel_values": MultiModalFieldConfig.batched("image")})
        places = [PlaceholderRange(offset=first, length=length) for first, length in self._places(prompt)]
        # By this name vLLM knows a picture again whose tokens it has in its cache.
        names = [hashlib.sha256(picture.numpy().tobytes()).hexdigest() for picture in prompt.pixel_values]
        return mm_input(ids, items, {"image": names}, {"image": places})

    def _places(self, prompt: Prompt) -> list[tuple[int, int]]:
        """Where each picture begins in `input_ids`, and how many tokens it has there."""
        pictures = 0 if prompt.pixel_values is None else len(prompt.pixel_values)
        tokens = torch.nonzero(prompt.input_ids == self.image_token)[:, 0].view(pictures, -1)
        return [(int(each[0]), len(each)) for each in tokens]


def logprobs_of(said: Any, most: int | None) -> list[TokenLogprob]:
    """Of each token of vLLM's `CompletionOutput`, with the `most` likeliest; empty where they are not asked for.

    vLLM's are of the distribution that its grammar left.
    """
    if most is None:
        return []
    return [
        TokenLogprob(token, _finite(found[token].logprob), _likeliest(found, most))
        for token, found in zip(said.token_ids, said.logprobs or (), strict=True)
    ]


def _likeliest(found: Mapping[int, Any], most: int) -> tuple[tuple[int, float], ...]:
    ranked = sorted((each for each in found.items() if each[1].rank <= most), key=lambda each: int(each[1].rank))
    return tuple((token, _finite(each.logprob)) for token, each in ranked)


def _finite(logprob: float) -> float:
    """OpenAI's number for what is next to impossible: JSON has no −∞."""
    return max(float(logprob), -9999.0)


def _drawing(sampling: Sampling) -> dict[str, Any]:
    """What of `SamplingParams` decides on the next token; the formulas are the same in both engines."""
    drawn = sampling.temperature > 0
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "repetition_penalty": sampling.repetition_penalty,
        "seed": sampling.seed if drawn else None,
    }

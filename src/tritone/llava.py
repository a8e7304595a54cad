"""LLaVA: questions about pictures, and conversation. Any checkpoint of LlavaForConditionalGeneration.

A caller's words and pictures become a `Chat` (checked, decoded, tokenised), and `Llava.stream` turns that into
pieces of answer, token by token. This file knows nothing of Triton.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, TypeAdapter, ValidationError
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from tritone import image as images
from tritone.detokenizer import Detokenizer, Unit
from tritone.errors import InvalidInput
from tritone.precision import torch_dtype


class ImagePart(BaseModel):
    """Stands for the next picture of `image_bytes`."""

    type: Literal["image"]


class TextPart(BaseModel):
    """Words of a turn."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of a conversation, in OpenAI's shape."""

    role: Literal["system", "user", "assistant"]
    content: str | list[ImagePart | TextPart]

    @property
    def pictures(self) -> int:
        """How many pictures the turn shows."""
        return sum(isinstance(part, ImagePart) for part in self.content)

    @property
    def texts(self) -> list[str]:
        """The words of the turn."""
        if isinstance(self.content, str):
            return [self.content]
        return [part.text for part in self.content if isinstance(part, TextPart)]


_MESSAGES = TypeAdapter(list[Message])


@dataclass(frozen=True)
class Limits:
    """What one request may ask for."""

    max_characters: int  # of the question and the history together
    max_pictures: int
    max_image_bytes: int  # each picture, encoded
    max_pixels: int  # each picture, decoded
    max_tokens: int  # of the answer; also the default


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Temperature 0 is greedy; otherwise the seed decides."""

    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True)
class Chat:
    """A request that is ready to be answered."""

    inputs: dict[str, torch.Tensor]  # input_ids, attention_mask (1, length); pixel_values (pictures, 3, H, W) if any
    max_tokens: int
    sampling: Sampling
    unit: Unit

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt, the pictures' tokens included."""
        return int(self.inputs["input_ids"].shape[1])


@dataclass(frozen=True)
class Piece:
    """Part of an answer; the last one has a finish reason: "stop" or "length"."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class Llava:
    """A LLaVA checkpoint in memory."""

    def __init__(self, model: LlavaForConditionalGeneration, processor: LlavaProcessor, limits: Limits) -> None:
        self.model = model
        self.processor = processor
        self.limits = limits
        eos = model.generation_config.eos_token_id
        self._eos = set(eos if isinstance(eos, list) else [eos])
        # Written by a caller these would be read as what they stand for: a picture, the end of a turn.
        self._controls = processor.tokenizer.all_special_tokens
        self._context = int(model.config.text_config.max_position_embeddings)  # type: ignore[union-attr]
        self._turn = asyncio.Lock()  # one answer at a time

    @classmethod
    def load(cls, directory: Path, device: str, dtype: str, limits: Limits) -> "Llava":
        """Read a checkpoint folder and answer once, so that the first caller finds it warm.

        Args:
            device: "cpu" or "cuda:N".
            dtype: "auto" (fp16 on a GPU, fp32 on a CPU), "float32", "float16" or "bfloat16".
        """
        model = LlavaForConditionalGeneration.from_pretrained(
            directory, dtype=torch_dtype(dtype, device), local_files_only=True, use_safetensors=True
        )
        processor = LlavaProcessor.from_pretrained(directory, local_files_only=True)
        llava = cls(model.to(torch.device(device)).eval(), processor, limits)  # type: ignore[arg-type]
        asyncio.run(_exhaust(llava.stream(llava.prepare("Hello", max_tokens=2))))
        llava._turn = asyncio.Lock()  # the first one belongs to the loop of the warm-up
        return llava

    def prepare(
        self,
        text_input: str,
        image_bytes: list[bytes] | None = None,
        messages: str = "",
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stream_unit: str = "token",
    ) -> Chat:
        """Check a request and make it ready.

        Args:
            text_input: the question.
            image_bytes: encoded pictures: those that `messages` show, in order, then those of the question.
            messages: the conversation so far, a JSON list in OpenAI's shape.

        Raises: InvalidInput: naming the value and the limit.
        """
        max_tokens = self.limits.max_tokens if max_tokens is None else max_tokens
        if not 1 <= max_tokens <= self.limits.max_tokens:
            raise InvalidInput(f"max_tokens is {max_tokens}, must be 1 to {self.limits.max_tokens}")
        if stream_unit not in get_args(Unit):
            raise InvalidInput(f"stream_unit is '{stream_unit}', must be one of {', '.join(get_args(Unit))}")
        sampling = _check_sampling(temperature, top_p, seed)
        turns = self._turns(text_input, image_bytes or [], messages)
        pictures = [
            images.decode(data, self.limits.max_image_bytes, self.limits.max_pixels) for data in image_bytes or []
        ]
        inputs = self._tokenise(turns, pictures)
        length = inputs["input_ids"].shape[1]
        if length + max_tokens > self._context:
            raise InvalidInput(
                f"the prompt's {length} tokens and max_tokens {max_tokens} exceed the {self._context} of the model"
            )
        return Chat(inputs, int(max_tokens), sampling, stream_unit)  # type: ignore[arg-type]

    async def stream(self, chat: Chat) -> AsyncIterator[Piece]:
        """The answer piece by piece; cancelling stops the model at the next token."""
        async with self._turn:
            detokenizer = Detokenizer(self._decode, chat.unit)
            decoding = _Decoding(self.model, chat)
            for count in range(1, chat.max_tokens + 1):
                token = await asyncio.to_thread(decoding.next_token)
                reason = "stop" if token in self._eos else "length" if count == chat.max_tokens else ""
                text = "" if token in self._eos else detokenizer.add(token)
                if reason:
                    yield Piece(text + detokenizer.finish(), reason, chat.prompt_tokens, count)
                    return
                if text:
                    yield Piece(text, "", chat.prompt_tokens, count)

    def _turns(self, text_input: str, image_bytes: list[bytes], messages: str) -> list[Message]:
        """The whole conversation, the question last.

        Raises: InvalidInput
        """
        if not text_input.strip():
            raise InvalidInput("text_input is empty: ask a question")
        if (length := len(text_input) + len(messages)) > self.limits.max_characters:
            raise InvalidInput(
                f"text_input and messages have {length} characters, the limit is {self.limits.max_characters}"
            )
        if len(image_bytes) > self.limits.max_pictures:
            raise InvalidInput(
                f"image_bytes holds {len(image_bytes)} pictures, the limit is {self.limits.max_pictures}"
            )
        try:
            history = _MESSAGES.validate_json(messages or "[]")
        except ValidationError as error:
            fault = error.errors()[0]
            raise InvalidInput(
                f"messages at {'.'.join(map(str, fault['loc'])) or 'the start'}: {fault['msg']}"
            ) from None
        for words in (text_input, *(text for message in history for text in message.texts)):
            if control := next((token for token in self._controls if token in words), None):
                raise InvalidInput(f"text_input and messages must not hold '{control}', which steers the model")
        shown = sum(message.pictures for message in history)
        if shown > len(image_bytes):
            raise InvalidInput(f"messages show {shown} pictures, but image_bytes holds {len(image_bytes)}")
        question: list[ImagePart | TextPart] = [ImagePart(type="image")] * (len(image_bytes) - shown)
        return [*history, Message(role="user", content=[*question, TextPart(type="text", text=text_input.strip())])]

    def _tokenise(
        self, turns: list[Message], pictures: list[np.ndarray[Any, np.dtype[np.uint8]]]
    ) -> dict[str, torch.Tensor]:
        prompt = self.processor.apply_chat_template([turn.model_dump() for turn in turns], add_generation_prompt=True)
        inputs = self.processor(
            text=[prompt],
            images=[Image.fromarray(picture) for picture in pictures] or None,
            return_tensors="pt",
            # The chat template writes the begin-of-text token itself.
            add_special_tokens=False,
        )
        kept = ("input_ids", "attention_mask", "pixel_values")
        return {name: inputs[name].to(self.model.device) for name in kept if name in inputs}

    def _decode(self, tokens: list[int]) -> str:
        return str(self.processor.tokenizer.decode(tokens, skip_special_tokens=True))


class _Decoding:
    """One answer in progress: the key/value cache and the sampler's state."""

    def __init__(self, model: LlavaForConditionalGeneration, chat: Chat) -> None:
        self.model = model
        self.sampling = chat.sampling
        self.generator = torch.Generator(model.device).manual_seed(chat.sampling.seed)
        self.inputs: dict[str, Any] = {**chat.inputs, "use_cache": True, "logits_to_keep": 1}
        if "pixel_values" in self.inputs:
            self.inputs["pixel_values"] = self.inputs["pixel_values"].to(model.dtype)

    @torch.inference_mode()
    def next_token(self) -> int:
        """Run the model over what it has not seen and choose the next token."""
        output = self.model(**self.inputs)
        token = choose(output.logits[0, -1].float(), self.sampling, self.generator)
        seen = torch.ones((1, self.inputs["attention_mask"].shape[1] + 1), dtype=torch.long, device=self.model.device)
        self.inputs = {
            "input_ids": torch.tensor([[token]], device=self.model.device),
            "attention_mask": seen,
            "past_key_values": output.past_key_values,
            "use_cache": True,
        }
        return token


def choose(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token from float32 logits (vocabulary,): the likeliest, or drawn from the `top_p` nucleus."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities, order = (logits / sampling.temperature).softmax(-1).sort(descending=True)
    # A token stays while those before it hold less than top_p, so the likeliest always stays (Holtzman et al. 2020).
    probabilities = probabilities.where(probabilities.cumsum(-1) - probabilities < sampling.top_p, 0)
    return int(order[torch.multinomial(probabilities, 1, generator=generator)])


def _check_sampling(temperature: float, top_p: float, seed: int) -> Sampling:
    if not 0 <= temperature <= 2:
        raise InvalidInput(f"temperature is {temperature}, must be 0 to 2")
    if not 0 < top_p <= 1:
        raise InvalidInput(f"top_p is {top_p}, must be over 0 and at most 1")
    if not 0 <= seed < 2**63:
        raise InvalidInput(f"seed is {seed}, must be 0 to {2**63 - 1}")
    return Sampling(float(temperature), float(top_p), int(seed))


async def _exhaust(pieces: AsyncIterator[Piece]) -> None:
    async for _ in pieces:
        pass

"""LLaVA: questions about pictures, and conversation. Any checkpoint of LlavaForConditionalGeneration.

A caller's words and pictures become a `Chat` (checked, decoded, tokenised), and `Llava.stream` turns that into
pieces of answer; many are answered together by the engine, ours or vLLM's. This file knows nothing of Triton.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

from tritone.cuda_graphs import capture_on
from tritone.errors import InvalidInput, NotServed
from tritone.language import conversation
from tritone.language.adapters import Adapters
from tritone.language.chat_template import ChatTemplate
from tritone.language.checkpoint import Checkpoint
from tritone.language.choosing.grammar import Grammar, Vocabulary
from tritone.language.choosing.logprobs import Content
from tritone.language.choosing.response_format import schema_of
from tritone.language.choosing.sampling import Sampling
from tritone.language.conversation import File, Message
from tritone.language.decoder import Decoder
from tritone.language.detokenizer import Detokenizer, Unit
from tritone.language.engine import Engine
from tritone.language.token_stream import AnyEngine, Prompt
from tritone.media import image as images
from tritone.precision import quantization_config, torch_dtype

MAX_STOPS = 16
MAX_STOP_CHARACTERS = 100


@dataclass(frozen=True)
class Limits:
    """What one request may ask for."""

    max_characters: int  # of the question and the history together
    max_pictures: int
    max_image_bytes: int  # each picture, encoded
    max_pixels: int  # each picture, decoded
    max_tokens: int  # of the answer; also the default
    max_total_pixels: int = 50_000_000  # all pictures together, decoded


@dataclass(frozen=True)
class Loading:
    """Who computes, and how the weights are held."""

    engine: str = "torch"  # ours; or "vllm"
    dtype: str = "auto"  # fp16 on a GPU, fp32 on a CPU; or "float32", "float16", "bfloat16"
    quantization: str = "none"  # or, the language model's by bitsandbytes: "int8", "nf4"; by vLLM: "fp8"
    attn_implementation: str = "sdpa"  # or "eager"
    device_map: str = "none"  # all on one device; or "auto", "balanced", "sequential": spread over the machine's GPUs
    cuda_graphs: bool = True  # on a GPU: each decoding step is one launch
    tensor_parallel_size: int = 1  # vLLM's: GPUs that share each layer


@dataclass(frozen=True)
class Capacity:
    """How many are answered at once."""

    slots: int = 8  # 0: as many as fit into the GPU's memory
    max_length: int = 0  # tokens of prompt and answer together, in each slot; 0: the checkpoint's context
    max_queue: int = 64  # requests that wait for a slot
    prefill_chunk: int = 512  # tokens of prompts between two tokens of the answers in progress
    stream_interval_ms: int = 0  # token streams: a response at most this often; each costs a trip between processes
    memory_reserve: float = 0.1  # where slots is 0: the share of the GPU for passes, CUDA itself and other models
    enable_prefix_caching: bool = False  # vLLM's: what two prompts begin with is computed once


WHOLE = Loading()
ORDINARY = Capacity()


@dataclass(frozen=True)
class Chat:
    """A request that is ready to be answered."""

    prompt: Prompt
    unit: Unit
    stop: tuple[str, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt, the pictures' tokens included."""
        return len(self.prompt.input_ids)


@dataclass(frozen=True)
class Piece:
    """Part of an answer; the last one has a finish reason: "stop" or "length"."""

    text: str
    finish_reason: str
    prompt_tokens: int
    image_tokens: int  # of the prompt, those of pictures
    completion_tokens: int
    logprobs_content: str = ""  # of the tokens that begin in `text`, OpenAI's `logprobs.content` as JSON, if asked for


class Llava:
    """A LLaVA checkpoint in memory, answering many at a time."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        engine: AnyEngine,
        adapters: Adapters,
        limits: Limits,
        stream_interval_ms: int = 0,
    ) -> None:
        self.processor, self.engine, self.limits, self.adapters = checkpoint.processor, engine, limits, adapters
        self._eos = checkpoint.eos
        self._template = ChatTemplate(self.processor)
        self._controls = checkpoint.controls
        self._vocabulary = Vocabulary(self.processor.tokenizer, checkpoint.vocabulary_size, checkpoint.eos)
        self._image_token = int(checkpoint.config.image_token_id)
        self._picture_tokens = self._count_picture_tokens()
        # Beside the pictures there is at least a word of the question and a token of the answer.
        self._max_pictures = min(limits.max_pictures, (engine.length - 2) // self._picture_tokens)
        # Full-size pictures in memory: one. Requests are prepared on many threads.
        self._decoding = threading.Semaphore(1)
        self._interval_s = stream_interval_ms / 1000

    @classmethod
    def load(
        cls,
        directory: Path,
        device: str,
        limits: Limits,
        loading: Loading = WHOLE,
        capacity: Capacity = ORDINARY,
        adapters: Path | None = None,
    ) -> "Llava":
        """Read a checkpoint folder and answer once, so that the first caller finds it warm.

        Args:
            device: "cpu", "cuda:N" or "cuda".
            adapters: folder of PEFT LoRA folders, each served under its name.

        Raises: NotServed: a checkpoint of another kind, one without an end-of-text token, one that does not fit, or
            settings that the engine does not have.
        """
        checkpoint = Checkpoint.read(directory)
        engine, served = _load(checkpoint, device, limits, loading, capacity, adapters)
        llava = cls(checkpoint, engine, served, limits, capacity.stream_interval_ms)
        asyncio.run(llava.say_something())
        return llava

    async def say_something(self) -> None:
        """Answer with a token or two."""
        async for _ in self.stream(self.prepare("Hello", max_tokens=2)):
            pass

    def describe(self) -> str:
        """What is in memory, for the log."""
        names = ", ".join(self.adapters.names) or "none"
        pictures = f"at most {self._max_pictures} of {self._picture_tokens} tokens"
        return f"{self.engine.describe()}, pictures: {pictures}, adapters: {names}"

    def facts(self) -> dict[str, Any]:
        """What is offered, in JSON's values: `max_length` in tokens, pictures of one request."""
        return {
            "adapters": list(self.adapters.names),
            "max_length": self.engine.length,
            "max_tokens": self.limits.max_tokens,
            "max_pictures": self._max_pictures,
        }

    def close(self) -> None:
        """Stop answering."""
        self.engine.close()

    def prepare(
        self,
        text_input: str | None = None,
        image_bytes: list[bytes] | None = None,
        messages: str = "",
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        stream_unit: str = "token",
        adapter: str = "",
        response_format: str = "",
        logprobs: bool = False,
        top_logprobs: int | None = None,
    ) -> Chat:
        """Check a request and make it ready.

        Args:
            text_input: the question; without, it is the last turn of `messages`.
            image_bytes: encoded pictures: those that `messages` show, in order, then those of the question.
            messages: the conversation so far, a JSON list in OpenAI's shape.
            top_k: 0 is all tokens.
            stop: the answer ends before the first of these.
            adapter: a LoRA adapter's name; "" is the checkpoint itself.
            response_format: OpenAI's object as JSON, for answers that are JSON (`response_format.schema_of`).
            logprobs: whether the tokens' log-probabilities are wanted.
            top_logprobs: with `logprobs`, those of how many other likely tokens, 0 to 20.

        Raises: InvalidInput: naming the value and the limit.
        """
        max_tokens = self.limits.max_tokens if max_tokens is None else int(max_tokens)
        if not 1 <= max_tokens <= self.limits.max_tokens:
            raise InvalidInput(f"max_tokens is {max_tokens}, must be 1 to {self.limits.max_tokens}")
        if stream_unit not in get_args(Unit):
            raise InvalidInput(f"stream_unit is '{stream_unit}', must be one of {', '.join(get_args(Unit))}")
        self.adapters.check(adapter)
        _check_stop(stop)
        schema, top = schema_of(response_format), _top_logprobs(logprobs, top_logprobs)
        if schema or logprobs:
            self._vocabulary.check()
        grammar = Grammar(self._vocabulary, schema) if schema else None
        sampling = Sampling(
            float(temperature), float(top_p), int(seed), int(top_k), float(repetition_penalty), grammar, top
        )
        turns, pictures = self._turns(text_input, image_bytes or [], messages)
        self._check_pixels(pictures)
        written = self._template.write(turns)
        input_ids, pixel_values = self._tokenise(written, [self._look(picture) for picture in pictures])
        most = self.engine.length
        if len(input_ids) + max_tokens > most:
            raise InvalidInput(
                f"the prompt's {len(input_ids)} tokens and max_tokens {max_tokens} exceed the {most} of the model"
            )
        picture_tokens = int((input_ids == self._image_token).sum())
        prompt = Prompt(input_ids, pixel_values, picture_tokens, max_tokens, sampling, adapter)
        return Chat(prompt, stream_unit, tuple(stop))  # type: ignore[arg-type]

    async def stream(self, chat: Chat) -> AsyncIterator[Piece]:
        """The answer piece by piece; leaving the iterator frees its slot at the engine's next step.

        Raises: Unavailable: too many are being answered.
        """
        detokenizer, asked = Detokenizer(self._decode, chat.unit, chat.stop), chat.prompt.sampling.top_logprobs
        content = None if asked is None else Content(self._vocabulary.written)
        count = 0
        # A clause is spoken as soon as it is there, so only token streams wait.
        with self.engine.submit(chat.prompt, self._interval_s if chat.unit == "token" else 0.0) as answer:
            async for tokens in answer:
                text, reason = "", str(tokens.reason)
                for place, token in enumerate(tokens.ids):
                    count += 1
                    if token not in self._eos:
                        text += detokenizer.add(token)
                        if content:
                            content.add(tokens.logprobs[place])
                    if detokenizer.stopped:
                        answer.finish()
                        reason = "stop"
                        break
                if reason:
                    text += detokenizer.finish()
                if text or reason:
                    # Behind a stop string there are tokens that are not part of the answer.
                    logprobs = content.give(text, rest=bool(reason) and not detokenizer.stopped) if content else ""
                    yield Piece(text, reason, chat.prompt_tokens, chat.prompt.picture_tokens, count, logprobs)
                if reason:
                    return

    def _turns(
        self, text_input: str | None, image_bytes: list[bytes], messages: str
    ) -> tuple[list[Message], list[File]]:
        """The whole conversation, the question last, and its pictures.

        Raises: InvalidInput
        """
        most = self.limits.max_characters
        if text_input is not None and not text_input.strip():
            raise InvalidInput("text_input is empty: ask a question")
        turns = conversation.with_question(conversation.read(messages, most), text_input, len(image_bytes))
        conversation.check_characters(turns, most)
        conversation.refuse_controls(turns, self._controls)
        turns, pictures = conversation.shown(turns, image_bytes)
        if len(pictures) > self._max_pictures:
            raise InvalidInput(
                f"{conversation.holders(pictures)} {len(pictures)} pictures, the limit is {self._max_pictures} "
                f"of {self._picture_tokens} tokens each"
            )
        return turns, conversation.decoded(pictures, self.limits.max_image_bytes)

    def _check_pixels(self, pictures: list[File]) -> None:
        """Refuse from their headers what no memory should be taken for.

        Raises: InvalidInput
        """
        limits, total = self.limits, 0
        for name, data in pictures:
            total += images.count_pixels(data, limits.max_image_bytes, limits.max_pixels, name)
            if total > limits.max_total_pixels:
                raise InvalidInput(
                    f"the {len(pictures)} pictures have {total:,} pixels or more together, "
                    f"the limit is {limits.max_total_pixels:,} pixels"
                )

    def _look(self, picture: File) -> torch.Tensor:
        """A picture as the vision tower takes it, (3, height, width); only this is kept of it."""
        limits = self.limits
        with self._decoding:
            pixels = images.decode(
                picture.data, limits.max_image_bytes, limits.max_pixels, images.ENOUGH_TO_LOOK_AT, picture.name
            )
            values = self.processor.image_processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
        return torch.as_tensor(values[0])

    def _count_picture_tokens(self) -> int:
        """Of the prompt, for each picture."""
        blank = self.processor.image_processor(Image.new("RGB", (64, 64)), return_tensors="pt")["pixel_values"]
        input_ids, _ = self._tokenise(self.processor.image_token, [torch.as_tensor(blank[0])])
        return int((input_ids == self._image_token).sum())

    def _tokenise(self, prompt: str, pictures: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """input_ids (length,), and pixel_values (pictures, 3, height, width) if there are pictures."""
        inputs = self.processor(
            text=[prompt],
            images=pictures or None,
            return_tensors="pt",
            add_special_tokens=not self._template.begins(prompt),
            # The pictures are ready; here they only tell how many tokens they take.
            do_convert_rgb=False,
            do_resize=False,
            do_center_crop=False,
            do_rescale=False,
            do_normalize=False,
        )
        return inputs["input_ids"][0], inputs.get("pixel_values")

    def _decode(self, tokens: list[int]) -> str:
        return str(self.processor.tokenizer.decode(tokens, skip_special_tokens=True))


def _load(
    checkpoint: Checkpoint, device: str, limits: Limits, loading: Loading, capacity: Capacity, adapters: Path | None
) -> tuple[AnyEngine, Adapters]:
    """The engine that `loading` names, with the weights and the adapters in it.

    Raises: NotServed: as `Llava.load`.
    """
    if loading.engine == "vllm":
        from tritone.language.vllm import loading as vllm

        return vllm.load(checkpoint, device, limits.max_pictures, loading, capacity, adapters)
    if loading.engine != "torch":
        raise NotServed(f"engine is '{loading.engine}', must be torch or vllm")
    if loading.tensor_parallel_size != 1:
        raise NotServed(f"tensor_parallel_size is {loading.tensor_parallel_size}, which takes engine vllm")
    dtype = torch_dtype(loading.dtype, device)
    model = LlavaForConditionalGeneration.from_pretrained(
        checkpoint.folder,
        dtype=dtype,
        quantization_config=quantization_config(loading.quantization, dtype),
        attn_implementation=loading.attn_implementation,
        device_map={"": device} if loading.device_map == "none" else loading.device_map,
        local_files_only=True,
        use_safetensors=True,
    )
    served = Adapters.load(model, adapters) if adapters else Adapters()
    decoder = Decoder(
        model.train(False),
        served,
        capacity.slots,
        capacity.max_length,
        capacity.memory_reserve,
        capture_on(device, loading.cuda_graphs),
    )
    return Engine(decoder, checkpoint.eos, capacity.max_queue, capacity.prefill_chunk), served


def _check_stop(stop: Sequence[str]) -> None:
    if len(stop) > MAX_STOPS:
        raise InvalidInput(f"stop holds {len(stop)} strings, the limit is {MAX_STOPS}")
    for text in stop:
        if not 1 <= len(text) <= MAX_STOP_CHARACTERS:
            raise InvalidInput(f"stop holds a string of {len(text)} characters, must be 1 to {MAX_STOP_CHARACTERS}")


def _top_logprobs(logprobs: bool, top_logprobs: int | None) -> int | None:
    """How many likely tokens are told with each token of the answer; None: no log-probability is."""
    if top_logprobs is not None and not logprobs:
        raise InvalidInput(f"top_logprobs is {top_logprobs}, which takes logprobs true")
    return int(top_logprobs or 0) if logprobs else None

"""The tensors of each model that this client calls: what `config.pbtxt` says, seen from the other side.

`tests/contract` compares this table with the configs, tensor by tensor. Dims are without the batch axis; values on
the wire always have it, as [1, ...].
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tritone_client.exceptions import InvalidInput
from tritone_client.types import ServedModel

NUMBERS: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype(np.float32),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
}
_KINDS = {"i": ("iu", "a whole number"), "f": ("iuf", "a number"), "b": ("b", "True or False")}  # what each takes


@dataclass(frozen=True)
class Tensor:
    """Name, Triton's data type, and dims without the batch axis; −1 is any length."""

    name: str
    datatype: str
    dims: tuple[int, ...] = (1,)
    optional: bool = False

    def array(self, value: Any) -> npt.NDArray[Any]:
        """The value with its batch axis: [1, 1] for one value, [1, n] for a list.

        Raises: InvalidInput: a value that does not fit the data type.
        """
        if self.datatype == "BYTES":
            items = value if isinstance(value, (list, tuple)) else [value]
            return np.array([[self._encode(item) for item in items]], np.object_)
        given, wanted = np.atleast_1d(np.asarray(value)), NUMBERS[self.datatype]
        kinds, what = _KINDS[wanted.kind]
        if given.dtype.kind not in kinds:
            raise InvalidInput(f"'{self.name}' is {value!r}, must be {what}")
        if wanted.kind == "i" and not np.array_equal(given.astype(wanted), given):
            raise InvalidInput(f"'{self.name}' is {value!r}, which does not fit {wanted}")
        return np.expand_dims(given.astype(wanted), 0)

    def _encode(self, item: str | bytes) -> bytes:
        if not isinstance(item, (str, bytes)):
            raise InvalidInput(f"'{self.name}' is a {type(item).__name__}, must be text")
        try:
            return item.encode() if isinstance(item, str) else item
        except UnicodeEncodeError as error:
            raise InvalidInput(f"'{self.name}' cannot be written as UTF-8: {error.reason}") from error


@dataclass(frozen=True)
class Model:
    """A model's inputs and outputs; a decoupled one answers in a stream."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    decoupled: bool = False

    def served(self) -> ServedModel:
        """As a caller sees it."""
        inputs, outputs = (tuple(tensor.name for tensor in tensors) for tensors in (self.inputs, self.outputs))
        return ServedModel(self.name, self.decoupled, inputs, outputs)


_CHAT_INPUTS = (
    Tensor("text_input", "BYTES", optional=True),
    Tensor("image_bytes", "BYTES", (-1,), optional=True),
    Tensor("messages", "BYTES", optional=True),
    Tensor("max_tokens", "INT32", optional=True),
    Tensor("temperature", "FP32", optional=True),
    Tensor("top_p", "FP32", optional=True),
    Tensor("top_k", "INT32", optional=True),
    Tensor("repetition_penalty", "FP32", optional=True),
    Tensor("seed", "INT64", optional=True),
    Tensor("stop", "BYTES", (-1,), optional=True),
    Tensor("adapter", "BYTES", optional=True),
    Tensor("response_format", "BYTES", optional=True),
)
_LOGPROBS_INPUTS = (Tensor("logprobs", "BOOL", optional=True), Tensor("top_logprobs", "INT32", optional=True))
_CHAT_OUTPUTS = (
    Tensor("text_output", "BYTES"),
    Tensor("finish_reason", "BYTES"),
    Tensor("prompt_tokens", "INT32"),
    Tensor("image_tokens", "INT32"),
    Tensor("completion_tokens", "INT32"),
    Tensor("logprobs_content", "BYTES"),
)

_HEARING_INPUTS = (
    Tensor("language", "BYTES", optional=True),
    Tensor("task", "BYTES", optional=True),
    Tensor("initial_prompt", "BYTES", optional=True),
    Tensor("word_timestamps", "BOOL", optional=True),
    Tensor("temperature", "FP32", optional=True),
)
_HEARD_OUTPUTS = (
    Tensor("text", "BYTES"),
    Tensor("language", "BYTES"),
    Tensor("duration", "FP32"),
    Tensor("segment_start", "FP32", (-1,)),
    Tensor("segment_end", "FP32", (-1,)),
    Tensor("segment_text", "BYTES", (-1,)),
    Tensor("segment_tokens", "BYTES", (-1,)),
    Tensor("segment_seek", "INT32", (-1,)),
    Tensor("segment_temperature", "FP32", (-1,)),
    Tensor("segment_avg_logprob", "FP32", (-1,)),
    Tensor("segment_compression_ratio", "FP32", (-1,)),
    Tensor("segment_no_speech_prob", "FP32", (-1,)),
    Tensor("word", "BYTES", (-1,)),
    Tensor("word_start", "FP32", (-1,)),
    Tensor("word_end", "FP32", (-1,)),
)
TRANSCRIBE = Model(
    "transcribe",
    inputs=(
        Tensor("audio_bytes", "BYTES", optional=True),
        Tensor("text_input", "BYTES", optional=True),
        *_HEARING_INPUTS,
    ),
    outputs=_HEARD_OUTPUTS,
)
TRANSCRIBE_STREAM = Model(
    "transcribe_stream",
    inputs=(Tensor("audio_bytes", "BYTES"), *_HEARING_INPUTS),
    outputs=(Tensor("index", "INT32"), Tensor("end", "FP32"), Tensor("is_final", "BOOL"), *_HEARD_OUTPUTS),
    decoupled=True,
)
_WORDS = (Tensor("word", "BYTES", (-1,)), Tensor("word_start", "FP32", (-1,)), Tensor("word_end", "FP32", (-1,)))
_SPEECH_OUTPUTS = (
    Tensor("audio", "FP32", (-1,)),
    Tensor("sampling_rate", "INT32"),
    Tensor("audio_wav", "BYTES"),
    Tensor("audio_bytes", "BYTES"),
    Tensor("voice", "BYTES"),
    *_WORDS,
    Tensor("note", "BYTES"),
)
TTS = Model(
    "tts",
    inputs=(
        Tensor("text", "BYTES"),
        Tensor("voice", "BYTES", optional=True),
        Tensor("language", "BYTES", optional=True),
        Tensor("speed", "FP32", optional=True),
        Tensor("response_format", "BYTES", optional=True),
        Tensor("index", "INT32", optional=True),
    ),
    outputs=_SPEECH_OUTPUTS,
)
SPEAK_STREAM = Model(
    "speak_stream",
    TTS.inputs[:-1],
    (Tensor("index", "INT32"), Tensor("text", "BYTES"), *_SPEECH_OUTPUTS),
    decoupled=True,
)
LLAVA_ANSWER = Model("llava_answer", (*_CHAT_INPUTS, *_LOGPROBS_INPUTS), _CHAT_OUTPUTS)
LLAVA = Model(
    "llava", (*LLAVA_ANSWER.inputs, Tensor("stream_unit", "BYTES", optional=True)), _CHAT_OUTPUTS, decoupled=True
)
VOICE_ASSISTANT = Model(
    "voice_assistant",
    inputs=(
        Tensor("audio_bytes", "BYTES", optional=True),
        Tensor("text_input", "BYTES", optional=True),
        Tensor("image_bytes", "BYTES", (-1,), optional=True),
        Tensor("messages", "BYTES", optional=True),
        Tensor("max_tokens", "INT32", optional=True),
        Tensor("adapter", "BYTES", optional=True),
        Tensor("voice", "BYTES", optional=True),
        Tensor("speed", "FP32", optional=True),
    ),
    outputs=(
        Tensor("transcript", "BYTES"),
        Tensor("duration", "FP32"),
        Tensor("text_output", "BYTES"),
        Tensor("finish_reason", "BYTES"),
        Tensor("audio_wav", "BYTES"),
        *_WORDS,
        Tensor("speech_error", "BYTES"),
    ),
)
VOICE_ASSISTANT_STREAM = Model(
    "voice_assistant_stream",
    inputs=(
        Tensor("audio_bytes", "BYTES", optional=True),
        *(Tensor(tensor.name, tensor.datatype, tensor.dims, optional=True) for tensor in _CHAT_INPUTS),
        Tensor("language", "BYTES", optional=True),
        Tensor("voice", "BYTES", optional=True),
        Tensor("speed", "FP32", optional=True),
        Tensor("modalities", "BYTES", (-1,), optional=True),
    ),
    outputs=(
        Tensor("index", "INT32"),
        Tensor("transcript", "BYTES"),
        Tensor("duration", "FP32"),
        Tensor("text_output", "BYTES"),
        Tensor("finish_reason", "BYTES"),
        Tensor("prompt_tokens", "INT32"),
        Tensor("completion_tokens", "INT32"),
        Tensor("image_tokens", "INT32"),
        Tensor("audio", "FP32", (-1,)),
        Tensor("sampling_rate", "INT32"),
        Tensor("audio_wav", "BYTES"),
        *_WORDS,
        Tensor("speech_error", "BYTES"),
        *(Tensor(f"{stage}_ms", "FP32") for stage in ("hear", "think", "speak", "elapsed")),
    ),
    decoupled=True,
)
_IMAGE_INPUTS = (
    Tensor("prompt", "BYTES"),
    Tensor("negative_prompt", "BYTES", optional=True),
    Tensor("height", "INT32", optional=True),
    Tensor("width", "INT32", optional=True),
    Tensor("num_inference_steps", "INT32", optional=True),
    Tensor("guidance_scale", "FP32", optional=True),
    Tensor("num_images", "INT32", optional=True),
    Tensor("seed", "INT64", optional=True),
    Tensor("scheduler", "BYTES", optional=True),
    Tensor("style", "BYTES", optional=True),
    Tensor("image_bytes", "BYTES", optional=True),
    Tensor("mask_bytes", "BYTES", optional=True),
    Tensor("strength", "FP32", optional=True),
)
_IMAGE_OUTPUTS = (
    Tensor("image", "UINT8", (-1, -1, -1, 3)),
    Tensor("image_png", "BYTES", (-1,)),
    Tensor("seed", "INT64", (-1,)),
    Tensor("prompt_tokens", "INT32"),
    Tensor("truncated_text", "BYTES"),
)
TEXT_TO_IMAGE = Model("text_to_image", _IMAGE_INPUTS, _IMAGE_OUTPUTS)
STABLE_DIFFUSION = Model(
    "stable_diffusion",
    inputs=(*_IMAGE_INPUTS, Tensor("preview_interval", "INT32", optional=True)),
    outputs=(
        Tensor("step", "INT32"),
        Tensor("num_steps", "INT32"),
        Tensor("preview_png", "BYTES", (-1,)),
        *_IMAGE_OUTPUTS,
    ),
    decoupled=True,
)
ALIGN = Model(
    "align",
    inputs=(Tensor("audio_bytes", "BYTES"), Tensor("text", "BYTES")),
    outputs=(
        Tensor("word", "BYTES", (-1,)),
        Tensor("start", "FP32", (-1,)),
        Tensor("end", "FP32", (-1,)),
        Tensor("score", "FP32", (-1,)),
        Tensor("matches", "BOOL"),
        Tensor("duration", "FP32"),
    ),
)

CLIP_TEXT = Model(
    "clip_text",
    inputs=(Tensor("text", "BYTES"),),
    outputs=(Tensor("text_embeds", "FP32", (-1,)), Tensor("token_count", "INT32"), Tensor("truncated", "BOOL")),
)
CLIP_IMAGE = Model(
    "clip_image", inputs=(Tensor("image_bytes", "BYTES"),), outputs=(Tensor("image_embeds", "FP32", (-1,)),)
)

CATALOG = Model("catalog", inputs=(Tensor("model", "BYTES"),), outputs=(Tensor("catalog", "BYTES"),))

MODELS = {
    model.name: model
    for model in (
        *(TRANSCRIBE, TRANSCRIBE_STREAM, TTS, SPEAK_STREAM, ALIGN, LLAVA_ANSWER, LLAVA),
        *(VOICE_ASSISTANT, VOICE_ASSISTANT_STREAM, CLIP_TEXT, CLIP_IMAGE, TEXT_TO_IMAGE, STABLE_DIFFUSION),
        CATALOG,
    )
}

"""Keyword arguments of the verbs, each where it is said what it means; a verb and its streaming twin share them.

Each is a `TypedDict` for `**options: Unpack[...]`, so that editors complete the names and type checkers know them. None
of an option is the server's default.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from tritone_client.types import ImageLike, Messages

O = TypeVar("O", bound=Mapping[str, object])  # noqa: E741


class Sending(TypedDict, total=False):
    """How a request is sent.

    Args:
        timeout_s: how long the answer may take, retries included, in seconds; the client's own by default.
        request_id: what the server writes into its log; a random one by default.
        metadata: headers of this request, beside the client's own.
    """

    timeout_s: float | None
    request_id: str | None
    metadata: Mapping[str, str] | None


class Length(TypedDict, total=False):
    """Who answers, and how much.

    Args:
        max_tokens: after so many the answer ends, with the `finish_reason` "length".
        adapter: name of a LoRA adapter that the server has.
    """

    max_tokens: int | None
    adapter: str | None


class Sampling(TypedDict, total=False):
    """How the next token is chosen.

    Args:
        temperature: 0, the default, always gives the likeliest answer; above, `seed` decides.
        top_p, top_k: only the likeliest tokens are drawn from, down to this share or this many.
        repetition_penalty: above 1, what has been said becomes less likely.
        seed: draws the same answer again.
        stop: the answer ends before the first of these strings.
    """

    temperature: float | None
    top_p: float | None
    top_k: int | None
    repetition_penalty: float | None
    seed: int | None
    stop: str | Sequence[str] | None


class Earlier(TypedDict, total=False):
    """What was shown and said.

    Args:
        images: pictures, like `image`: path, bytes, file object, Pillow image, or uint8 array (height, width, 3).
        messages: the conversation so far: [{"role": "user", "content": "..."}, ...].
    """

    images: Sequence[ImageLike] | None
    messages: Messages | None


class Answering(Sending, Length, Sampling, total=False):
    """Options of every turn of a chat: those of `Sending`, `Length` and `Sampling`."""


class Asking(Answering, Earlier, total=False):
    """Options of `ask` and `ask_stream`: those of `Sending`, `Length`, `Sampling` and `Earlier`, and these.

    Args:
        response_format: what the answer must be, in OpenAI's shape: {"type": "json_object"}, or "json_schema".
        logprobs: whether the answer tells how likely each of its tokens was.
        top_logprobs: and so many likely others in each place.
    """

    response_format: Mapping[str, Any] | None
    logprobs: bool | None
    top_logprobs: int | None


class Captioning(Sending, Length, total=False):
    """Options of `caption`: those of `Sending` and `Length`."""


class Conversing(Sending, Length, Earlier, total=False):
    """Options of `converse` and `converse_stream`: those of `Sending`, `Length` and `Earlier`, and these.

    Args:
        sampling_rate: of samples, in Hz; files say their own.
        text: the question, typed instead of spoken.
        voice, speed: as in `Speaking`.
    """

    sampling_rate: int | None
    text: str | None
    voice: str | None
    speed: float | None


class ConversingStream(Conversing, Sampling, total=False):
    """Options of `converse_stream`: those of `Conversing` and `Sampling`, and these.

    Args:
        language: of the spoken question.
        aloud: False: the answer is text only.
    """

    language: str | None
    aloud: bool


class Hearing(Sending, total=False):
    """Options of `transcribe` and `transcribe_stream`: those of `Sending`, and these.

    Args:
        sampling_rate: of samples, in Hz; files say their own.
        language: code such as "en"; the server listens for it when None.
        task: "transcribe" or "translate" (into English).
        initial_prompt: text that could stand before the recording: names, spelling, style.
        word_timestamps: whether the transcript has `words` with their times.
        temperature: to sample at, 0..1; 0, the default, is the likeliest text.
    """

    sampling_rate: int | None
    temperature: float | None
    language: str | None
    task: str | None
    initial_prompt: str | None
    word_timestamps: bool | None


class Speaking(Sending, total=False):
    """Options of `speak` and `speak_stream`: those of `Sending`, and these.

    Args:
        voice, language: who speaks; the first voice that can read the text when None.
        speed: 2 is twice as fast as usual.
        response_format: "wav", "flac", "mp3" or "opus": the kind of file in `Speech.encoded`.
    """

    voice: str | None
    language: str | None
    speed: float | None
    response_format: str | None


class Aligning(Sending, total=False):
    """Options of `align`: those of `Sending`, and this.

    Args:
        sampling_rate: of samples, in Hz; files say their own.
    """

    sampling_rate: int | None


class Drawing(Sending, total=False):
    """Options of `generate_image` and `generate_image_stream`: those of `Sending`, and these.

    Args:
        negative_prompt: what the picture should not show.
        height, width: pixels, multiples of 8; by default those of `image`, else the checkpoint's.
        num_inference_steps: of denoising; more are slower and finer.
        guidance_scale: how closely the prompt is followed; 1 is not at all guided, and half the work.
        num_images: how many pictures.
        seed: of the first picture; the others count up from it. Drawn, and told, when None.
        scheduler: "ddim", "euler", "euler_a", "dpmpp_2m", "lms", "pndm" or "unipc".
        style: such as "oil painting" or "油画": adds words to the prompt and to `negative_prompt`.
        image: the picture to start from; with `mask` only its white part is painted anew.
        strength: how much of `image` may change, 0..1.
    """

    negative_prompt: str | None
    height: int | None
    width: int | None
    num_inference_steps: int | None
    guidance_scale: float | None
    num_images: int | None
    seed: int | None
    scheduler: str | None
    style: str | None
    image: ImageLike | None
    mask: ImageLike | None
    strength: float | None


def known(kind: type[O], options: O) -> O:
    """The options, if `kind` has them all.

    Raises: TypeError: one it has not, as Python says of an argument that no signature has.
    """
    for name in options.keys() - kind.__annotations__.keys():
        near = ", ".join(sorted(kind.__annotations__))
        raise TypeError(f"unexpected keyword argument '{name}'; there are {near}")
    return options


def inputs_of(options: Mapping[str, object], *handled: str) -> dict[str, Any]:
    """The options that are inputs of the model under the same names: neither those of `Sending` nor the `handled`."""
    return {name: value for name, value in options.items() if name not in (*Sending.__annotations__, *handled)}

"""The client: one method per task. What a request looks like is in `_calls`, how it travels in `_transport`."""

import time
import warnings
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tritone_client import _calls, _embeddings, _images, _speech
from tritone_client._calls import Call, Delivery
from tritone_client._chat import Chat
from tritone_client._embeddings import Match, TextTruncated
from tritone_client._exceptions import Error, ServerUnavailable
from tritone_client._transport import GrpcTransport, Transport
from tritone_client._types import (
    Alignment,
    Answer,
    AnswerChunk,
    AudioLike,
    GeneratedImages,
    ImageLike,
    ImageProgress,
    Messages,
    Reply,
    ReplyChunk,
    Speech,
    SpeechChunk,
    Transcript,
    TranscriptChunk,
)

T = TypeVar("T")
READY_INTERVAL_S = 0.1  # between two looks at a server that is starting


class Client:
    """A Tritone server, called over gRPC. Threads may share one client.

    >>> with Client("localhost:8001") as client:
    ...     print(client.ask("What is in this picture?", image="cat.png").text)

    Every verb takes two more arguments: `timeout_s`, how long its answer may take, and `request_id`, which the server
    writes into its log (a random one by default). Every verb raises the errors of this package, see `Error`.

    Args:
        url: host:port of the server's gRPC address.
        timeout_s: how long an answer may take where the call does not say, in seconds.
        transport: what carries the requests instead of gRPC, such as `MockTransport`.
    """

    def __init__(
        self, url: str = "localhost:8001", *, timeout_s: float = 60.0, transport: Transport | None = None
    ) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._transport: Transport = GrpcTransport(url) if transport is None else transport

    def transcribe(
        self,
        audio: AudioLike,
        *,
        sampling_rate: int | None = None,
        language: str | None = None,
        task: str | None = None,
        initial_prompt: str | None = None,
        word_timestamps: bool | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Transcript:
        """Write down what is said, in a recording of any length up to the server's limit.

        Args:
            audio: path or bytes of a WAV, FLAC, MP3, OGG, M4A or WebM file; or samples, with `sampling_rate` in Hz.
            language: code such as "en"; the server listens for it when None.
            task: "transcribe" or "translate" (into English).
            initial_prompt: text that could stand before the recording: names, spelling, style.
            word_timestamps: whether the transcript has `words` with their times.
        """
        options = {"task": task, "initial_prompt": initial_prompt, "word_timestamps": word_timestamps}
        delivery = self._delivery(timeout_s, request_id)
        return self._send(_calls.transcribe(delivery, audio, sampling_rate, language=language, **options))

    def transcribe_stream(
        self,
        audio: AudioLike,
        *,
        sampling_rate: int | None = None,
        language: str | None = None,
        task: str | None = None,
        initial_prompt: str | None = None,
        word_timestamps: bool | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Generator[TranscriptChunk, None, None]:
        """Like `transcribe`, but each stretch of up to 30 s comes, in order, as soon as it has been heard.

        As with `ask_stream`, closing the generator cancels the request on the server.
        """
        options = {"task": task, "initial_prompt": initial_prompt, "word_timestamps": word_timestamps}
        delivery = self._delivery(timeout_s, request_id)
        call = _calls.transcribe_stream(delivery, audio, sampling_rate, language=language, **options)
        return self._stream(call, lambda chunk: chunk.is_final)

    def speak(
        self,
        text: str,
        *,
        voice: str | None = None,
        language: str | None = None,
        speed: float | None = None,
        response_format: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Speech:
        """Say a text aloud.

        Args:
            voice, language: who speaks; the first voice that can read the text when None.
            speed: 2 is twice as fast as usual.
            response_format: "wav", "flac", "mp3" or "opus": the kind of file in `Speech.encoded`.
        """
        inputs = _speech_inputs(text, voice, language, speed, response_format)
        return self._send(_speech.speak(self._delivery(timeout_s, request_id), inputs))

    def speak_stream(
        self,
        text: str,
        *,
        voice: str | None = None,
        language: str | None = None,
        speed: float | None = None,
        response_format: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Generator[SpeechChunk, None, None]:
        """Like `speak`, but each clause comes as soon as it is spoken; closing the generator stops the voice."""
        inputs = _speech_inputs(text, voice, language, speed, response_format)
        return self._stream(_speech.speak_stream(self._delivery(timeout_s, request_id), inputs))

    def align(
        self,
        audio: AudioLike,
        text: str,
        *,
        sampling_rate: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Alignment:
        """Find out when each word of a text is said in a recording; `audio` as in `transcribe`."""
        return self._send(_speech.align(self._delivery(timeout_s, request_id), audio, text, sampling_rate))

    def ask(
        self,
        question: str,
        image: ImageLike | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        messages: Messages | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        adapter: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Ask the language model, with or without a picture.

        Args:
            image, images: path, bytes, Pillow image, or uint8 array (height, width, 3); one or several.
            messages: the conversation so far: [{"role": "user", "content": "..."}, ...].
            temperature: 0, the default, always gives the likeliest answer; above, `seed` decides.
            top_p, top_k: only the likeliest tokens are drawn from, down to this share or this many.
            repetition_penalty: above 1, what has been said becomes less likely.
            stop: the answer ends before the first of these strings.
            adapter: name of a LoRA adapter that the server has.
        """
        options = _calls.SamplingOptions(max_tokens, temperature, top_p, top_k, repetition_penalty, seed, stop, adapter)
        inputs = _calls.chat_inputs(question, image, images, messages, options)
        return self._send(_calls.ask(self._delivery(timeout_s, request_id), inputs))

    def ask_stream(
        self,
        question: str,
        image: ImageLike | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        messages: Messages | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        adapter: str | None = None,
        unit: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Generator[AnswerChunk, None, None]:
        """Like `ask`, but each piece of the answer comes as soon as it is there.

        The request is sent with the first `next`, and `timeout_s` covers the whole answer. Closing the generator, or
        dropping it, cancels the request on the server.

        Args:
            unit: how much comes at a time: "token" (the default; several where the reader is slower), "clause" or
                "none" (all at once).
        """
        options = _calls.SamplingOptions(max_tokens, temperature, top_p, top_k, repetition_penalty, seed, stop, adapter)
        inputs = _calls.chat_inputs(question, image, images, messages, options)
        call = _calls.ask_stream(self._delivery(timeout_s, request_id), inputs, unit)
        return self._stream(call, lambda chunk: chunk.finish_reason is not None)

    def caption(
        self,
        image: ImageLike,
        *,
        language: str = "en",
        max_tokens: int | None = None,
        adapter: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> str:
        """Describe a picture in a sentence; `language` is "en" or "zh"."""
        question = _calls.caption_question(language)
        options = _calls.SamplingOptions(max_tokens=max_tokens, adapter=adapter)
        inputs = _calls.chat_inputs(question, image, None, None, options)
        return self._send(_calls.ask(self._delivery(timeout_s, request_id), inputs)).text

    def chat(self, *, system: str | None = None, **options: Any) -> Chat:
        """A conversation that remembers its turns and their pictures.

        Args:
            system: how the model should behave; the first turn of the history.
            options: those of `ask`, for every turn, such as `temperature` or `adapter`.
        """
        return Chat(self, system=system, **options)

    def converse(
        self,
        audio: AudioLike | None = None,
        image: ImageLike | None = None,
        *,
        sampling_rate: int | None = None,
        text: str | None = None,
        images: Sequence[ImageLike] | None = None,
        messages: Messages | None = None,
        max_tokens: int | None = None,
        adapter: str | None = None,
        voice: str | None = None,
        speed: float | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Reply:
        """One turn with the voice assistant: a question, spoken (`audio`) or typed (`text`), is answered aloud.

        The arguments are those of `transcribe`, `ask` and `speak`.
        """
        delivery = self._delivery(timeout_s, request_id)
        return self._send(
            _calls.converse(
                delivery, audio, sampling_rate, text, image, images, messages, max_tokens, adapter, voice, speed
            )
        )

    def converse_stream(
        self,
        audio: AudioLike | None = None,
        image: ImageLike | None = None,
        *,
        sampling_rate: int | None = None,
        text: str | None = None,
        images: Sequence[ImageLike] | None = None,
        messages: Messages | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        adapter: str | None = None,
        language: str | None = None,
        voice: str | None = None,
        speed: float | None = None,
        aloud: bool = True,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Generator[ReplyChunk, None, None]:
        """Like `converse`, but the transcript and each clause of the answer come as soon as they are there.

        Closing the generator stops the answer on the server: for a listener who interrupts. `heard` then says what
        to write into the history.

        Args:
            language: of the spoken question.
            aloud: False: the answer is text only.
        """
        options = _calls.SamplingOptions(max_tokens, temperature, top_p, top_k, repetition_penalty, seed, stop, adapter)
        manner = {"language": language, "voice": voice, "speed": speed, "modalities": None if aloud else ["text"]}
        inputs = _calls.chat_inputs(text, image, images, messages, options) | manner
        delivery = self._delivery(timeout_s, request_id)
        call = _speech.converse_stream(delivery, audio, sampling_rate, inputs)
        return self._stream(call, lambda chunk: chunk.finish_reason is not None)

    def embed_text(
        self, texts: str | Sequence[str], *, timeout_s: float | None = None, request_id: str | None = None
    ) -> npt.NDArray[np.float32]:
        """Unit vectors float32 (texts, width) of texts, in the space of `embed_images`; a dot product is a likeness.

        Many requests are in flight at a time, so that the server makes batches of them; `timeout_s` is of each. Warns
        with TextTruncated where a text was longer than the model reads.
        """
        listed, delivery = _embeddings.texts_of(texts), self._delivery(timeout_s, request_id)
        found = _embeddings.all_of(
            "texts",
            len(listed),
            _embeddings.each(
                lambda index, text: self._send(_embeddings.embed_text(_embeddings.numbered(delivery, index), text)),
                listed,
            ),
        )
        if cut := [index for index, embedding in enumerate(found) if embedding.truncated]:
            message = f"{len(cut)} of {len(found)} texts are longer than the model reads and were cut: texts{cut[:10]}"
            warnings.warn(message, TextTruncated, stacklevel=2)
        return _embeddings.stack([embedding.vector for embedding in found])

    def embed_images(
        self, images: ImageLike | Sequence[ImageLike], *, timeout_s: float | None = None, request_id: str | None = None
    ) -> npt.NDArray[np.float32]:
        """Unit vectors float32 (pictures, width) of pictures, many in flight like those of `embed_text`.

        Args:
            images: a list of paths, bytes, Pillow images or uint8 arrays (height, width, 3); or a single one.
        """
        listed, delivery = _embeddings.images_of(images), self._delivery(timeout_s, request_id)
        found = _embeddings.each(
            lambda index, image: self._send(_embeddings.embed_image(_embeddings.numbered(delivery, index), image)),
            listed,
        )
        return _embeddings.stack(_embeddings.all_of("images", len(listed), found))

    def embed(self, query: str | ImageLike) -> npt.NDArray[np.float32]:
        """The unit vector of a text (any str) or of a picture (anything else; a file as a Path), float32 (width,)."""
        vectors = self.embed_text(query) if isinstance(query, str) else self.embed_images([query])
        return vectors.reshape(-1)

    def rank(self, query: str | ImageLike, candidates: Sequence[str | ImageLike]) -> list[Match]:
        """The candidates, best match first. Every str is a text; pictures are anything else, a file as a Path.

        >>> client.rank("a red circle", [Path("one.png"), Path("two.png")])[0].candidate
        >>> client.rank(Path("one.png"), ["a circle", "a square"])[0].score
        """
        texts = [index for index, item in enumerate(candidates) if isinstance(item, str)]
        pictures = [index for index, item in enumerate(candidates) if not isinstance(item, str)]
        vectors = [
            *self.embed_text([str(candidates[index]) for index in texts]),
            *self.embed_images([candidates[index] for index in pictures]),
        ]
        order = np.argsort([*texts, *pictures], kind="stable")
        return _embeddings.rank(self.embed(query), _embeddings.stack([vectors[row] for row in order]), candidates)

    def generate_image(
        self,
        prompt: str,
        *,
        negative_prompt: str | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_images: int | None = None,
        seed: int | None = None,
        scheduler: str | None = None,
        style: str | None = None,
        image: ImageLike | None = None,
        mask: ImageLike | None = None,
        strength: float | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> GeneratedImages:
        """Have pictures drawn.

        Args:
            height, width: pixels, multiples of 8; by default those of `image`, else the checkpoint's.
            guidance_scale: how closely the prompt is followed; 1 is not at all guided, and half the work.
            seed: of the first picture; the others count up from it. Drawn, and told, when None.
            scheduler: "ddim", "euler", "euler_a", "dpmpp_2m", "lms", "pndm" or "unipc".
            style: such as "oil painting" or "油画": adds words to the prompt and to `negative_prompt`.
            image: the picture to start from; with `mask` only its white part is painted anew.
            strength: how much of `image` may change, 0..1.
        """
        inputs = _images.generation_inputs(
            image,
            mask,
            prompt=prompt,
            negative_prompt=negative_prompt,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            num_images=num_images,
            seed=seed,
            scheduler=scheduler,
            style=style,
            strength=strength,
        )
        return self._send(_images.generate_image(self._delivery(timeout_s, request_id), inputs))

    def generate_image_stream(
        self,
        prompt: str,
        *,
        negative_prompt: str | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_images: int | None = None,
        seed: int | None = None,
        scheduler: str | None = None,
        style: str | None = None,
        image: ImageLike | None = None,
        mask: ImageLike | None = None,
        strength: float | None = None,
        preview_interval: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Generator[ImageProgress | GeneratedImages, None, None]:
        """Like `generate_image`, with an `ImageProgress` after each step; the `GeneratedImages` come last.

        Closing the generator, or dropping it, cancels the request on the server within a step.

        Args:
            preview_interval: a preview comes along after every so many steps.
        """
        inputs = _images.generation_inputs(
            image,
            mask,
            prompt=prompt,
            negative_prompt=negative_prompt,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            num_images=num_images,
            seed=seed,
            scheduler=scheduler,
            style=style,
            strength=strength,
        )
        call = _images.generate_image_stream(self._delivery(timeout_s, request_id), inputs, preview_interval)
        return self._stream(call, lambda part: isinstance(part, GeneratedImages))

    def is_ready(self, model: str | None = None, timeout_s: float = 5.0) -> bool:
        """Whether the server, or one of its models, is ready; False also where nobody answers."""
        return self._why_not_ready(model, timeout_s) is None

    def wait_until_ready(self, timeout_s: float = 60.0, model: str | None = None) -> None:
        """Wait for a server that is starting.

        Raises: ServerUnavailable: not ready within `timeout_s`; the message says what the last look found.
        """
        deadline = time.monotonic() + timeout_s
        remaining = timeout_s
        while (reason := self._why_not_ready(model, max(remaining, READY_INTERVAL_S))) is not None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise ServerUnavailable(f"{self.url} is not ready after {timeout_s:g} s: {reason}", model=model)
            time.sleep(min(READY_INTERVAL_S, remaining))

    def close(self) -> None:
        """Close the connection; requests under way are cancelled."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: Call[T]) -> T:
        return call.parse(self._transport.infer(call.request))

    def _stream(self, call: Call[T], is_last: Callable[[T], bool] = lambda _: True) -> Generator[T, None, None]:
        """The parts of an answer. The last one must say that it is: a stream that breaks off is no short answer.

        Raises: InferenceFailed: it broke off.
        """
        ended = False
        responses = self._transport.stream(call.request)
        try:
            for outputs in responses:
                part = call.parse(outputs)
                ended = is_last(part)
                yield part
        finally:
            responses.close()
        if not ended:
            raise call.failure(f"the stream of '{call.request.model}' broke off before the end of the answer")

    def _delivery(self, timeout_s: float | None, request_id: str | None) -> Delivery:
        return Delivery(self.timeout_s if timeout_s is None else timeout_s, request_id)

    def _why_not_ready(self, model: str | None, timeout_s: float) -> str | None:
        """What keeps the server or the model from being ready; None if it is."""
        try:
            ready = self._transport.is_ready(model, timeout_s)
        except Error as error:
            return str(error)
        return None if ready else "it answers, but is not ready"


def _speech_inputs(
    text: str, voice: str | None, language: str | None, speed: float | None, response_format: str | None
) -> dict[str, object]:
    return {"text": text, "voice": voice, "language": language, "speed": speed, "response_format": response_format}

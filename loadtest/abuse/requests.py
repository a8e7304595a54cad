"""What people ask of each public model, and what a right answer says: the truth, or what was answered alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import soundfile

from abuse import catalogue
from abuse.wire import Caller, Inputs, Outcome, Outputs, message, text
from tritone.vision import shapes

PAIRS = (("red", "circle"), ("blue", "square"), ("green", "square"), ("yellow", "star"))
STEPS = 8  # of a picture: enough to show its shape
ATTEMPTS = 8  # the tiny models may err when nothing else runs; such a question measures nothing

Check = Callable[[Sequence[Outputs]], str]  # the parts of an answer → what is wrong with it; "" if nothing is


@dataclass(frozen=True)
class Sample:
    """One request with its check."""

    request: Any  # ModelInferRequest
    check: Check

    @property
    def model(self) -> str:
        """Whom it is sent to."""
        return str(self.request.model_name)

    @property
    def streamed(self) -> bool:
        """Whether the answer is a stream."""
        return catalogue.is_decoupled(self.model)

    def ask(self, caller: Caller, deadline_s: float | None = None) -> Outcome:
        """Send it."""
        return caller.ask(self.request, self.streamed, deadline_s)

    def fault(self, outcome: Outcome) -> str:
        """What is wrong with an outcome: its code, or what its answer says; "" if it is right."""
        if not outcome.ok:
            return outcome.code
        try:
            return self.check(outcome.parts)
        except Exception as error:  # an answer that lacks an output is a wrong answer
            return f"unreadable answer: {type(error).__name__} {error}"


Kinds = Mapping[str, Sequence[Sample]]


class NotPrepared(Exception):
    """The server answers wrongly even alone, so that nothing can be measured."""


def prepare(address: str) -> Kinds:
    """Samples for each public model, by the name of what is asked.

    Raises: NotPrepared: a model gives no right answer when nothing else runs.
    """
    with Caller(address) as caller:
        questions = _questions(caller)
        return {
            "clip_text": [_vector(caller, "clip_text", "text_embeds", text=f"a {c} {s}") for c, s in PAIRS],
            "clip_image": [_vector(caller, "clip_image", "image_embeds", image_bytes=q.picture) for q in questions],
            "llava_answer": [_answer(caller, q, "llava_answer") for q in questions],
            "transcribe": [_transcript(caller, q, "transcribe") for q in questions],
            "tts": [_speech(caller, "tts", q.words) for q in questions],
            "text_to_image": [_picture(caller, prompt=f"a {c} {s}", seed=np.int64(seed))
                              for seed, (c, s) in enumerate(PAIRS)],
            "voice_assistant": [_turn(caller, q) for q in questions],
            "llava": [_answer(caller, q, "llava") for q in questions[:1]],
            "transcribe_stream": [_transcript(caller, q, "transcribe_stream") for q in questions[:1]],
            "speak_stream": [_speech(caller, "speak_stream", q.words) for q in questions[:1]],
            "speak_answer": [_speech(caller, "speak_answer", q.words) for q in questions[:1]],
            "voice_assistant_stream": [_turn(caller, q, "voice_assistant_stream") for q in questions[:1]],
            "align": [_aligned(q) for q in questions[:1]],
            "picture_changed": [_picture(caller, prompt="a red circle", seed=np.int64(5),
                                         image_bytes=questions[0].picture, strength=0.8)],
        }  # fmt: skip


def nearest(kinds: Kinds, model: str, count: int = 3) -> list[str]:
    """The kinds whose requests need the model, those with the fewest calls between first."""
    steps = {kind: catalogue.distance(samples[0].model, model) for kind, samples in kinds.items()}
    # `picture_changed` alone needs the models that read a picture for Stable Diffusion.
    needing = [kind for kind, number in steps.items() if number is not None]
    if model in ("image_decoder", "sd_vae_encoder"):
        return [kind for kind in needing if kind == "picture_changed"]
    return sorted(needing, key=lambda kind: steps[kind] or 0)[:count]


# ---- questions about pictures


@dataclass(frozen=True)
class Question:
    """Words, their sound, a picture, and the word that a true answer holds."""

    words: str
    speech: bytes  # WAV
    picture: bytes  # PNG
    truth: str
    answer: str  # what LLaVA says to it alone


def _questions(caller: Caller) -> list[Question]:
    found: list[Question] = []
    for number in range(ATTEMPTS):
        colour, shape = PAIRS[number % len(PAIRS)]
        picture, words = png(Random(number), (colour, shape)), f"What color is the {shape}?"
        spoken_words = alone(caller, "tts", text=words)[0]["audio_wav"][0, 0]
        heard = text(alone(caller, "transcribe", audio_bytes=spoken_words)[0], "text")
        answer = text(alone(caller, "llava_answer", text_input=heard, image_bytes=[picture])[0], "text_output")
        if spoken(heard) == spoken(words) and colour in answer.lower():
            found.append(Question(words, spoken_words, picture, colour, answer))
        if len(found) == 2:
            return found
    raise NotPrepared(f"of {ATTEMPTS} questions {len(found)} were answered truly, 2 are needed")


def png(random: Random, *pairs: tuple[str, str], side: int = 128) -> bytes:
    """A picture of the shapes."""
    file = io.BytesIO()
    shapes.render(shapes.draw_scene(random, pairs=list(pairs)), side).save(file, "PNG")
    return file.getvalue()


def alone(caller: Caller, model: str, **inputs: Any) -> Sequence[Outputs]:
    """The answer to a request while nothing else runs.

    Raises: NotPrepared: there is none.
    """
    outcome = caller.ask(message(model, inputs), catalogue.is_decoupled(model))
    if not outcome.ok:
        raise NotPrepared(f"{model} answers {outcome.code} alone: {outcome.detail}")
    return outcome.parts


def spoken(words: str) -> list[str]:
    """Words as one hears them."""
    return "".join(c if c.isalnum() else " " for c in words.lower()).replace("colour", "color").split()


# ---- samples


def _vector(caller: Caller, model: str, name: str, **inputs: Any) -> Sample:
    expected = alone(caller, model, **inputs)[0][name][0]

    def check(parts: Sequence[Outputs]) -> str:
        vector = parts[0][name][0]
        length, cosine = float(np.linalg.norm(vector)), float(vector @ expected)
        return "" if abs(length - 1) < 1e-3 and cosine > 0.999 else f"length {length:.4f}, cosine {cosine:.4f}"

    return Sample(message(model, inputs), check)


def _answer(caller: Caller, question: Question, model: str) -> Sample:
    inputs: Inputs = {"text_input": question.words, "image_bytes": [question.picture]}

    def said(parts: Sequence[Outputs]) -> str:
        return "".join(text(part, "text_output") for part in parts)

    expected = said(alone(caller, model, **inputs))
    if question.truth not in expected.lower():
        raise NotPrepared(f"{model} was asked {question.words!r} and answers {expected!r}")
    return Sample(
        message(model, inputs), lambda parts: "" if said(parts) == expected else f"{said(parts)!r}, not {expected!r}"
    )


def _transcript(caller: Caller, question: Question, model: str) -> Sample:
    def check(parts: Sequence[Outputs]) -> str:
        heard = " ".join(text(part, "text") for part in parts)
        return "" if spoken(heard) == spoken(question.words) else f"said {question.words!r}, heard {heard!r}"

    return Sample(message(model, {"audio_bytes": question.speech}), check)


def _speech(caller: Caller, model: str, words: str) -> Sample:
    """Right is what lasts as long as alone, within a quarter, and is about as loud."""
    expected = _sound(alone(caller, model, text=words))

    def check(parts: Sequence[Outputs]) -> str:
        sound = _sound(parts)
        lasts, loud = len(sound) / len(expected), float(sound.std() / expected.std())
        right = 0.75 < lasts < 1.34 and 0.5 < loud < 2
        return "" if right else f"{lasts:.2f} times as long as alone, {loud:.2f} times as loud"

    return Sample(message(model, {"text": words}), check)


def _sound(parts: Sequence[Outputs]) -> np.ndarray:
    return np.concatenate([soundfile.read(io.BytesIO(part["audio_wav"][0, 0]), dtype="float32")[0] for part in parts])


def _picture(caller: Caller, **inputs: Any) -> Sample:
    inputs |= {"num_inference_steps": STEPS}
    expected = alone(caller, "text_to_image", **inputs)[0]["image"][0, 0].astype(int)

    def check(parts: Sequence[Outputs]) -> str:
        image = parts[0]["image"][0, 0].astype(int)
        worst = np.abs(image - expected).max() if image.shape == expected.shape else 255
        return "" if worst <= 2 else f"not the picture of its seed, off by up to {worst}"

    return Sample(message("text_to_image", inputs), check)


def _turn(caller: Caller, question: Question, model: str = "voice_assistant") -> Sample:
    inputs: Inputs = {"audio_bytes": question.speech, "image_bytes": [question.picture]}

    def said(parts: Sequence[Outputs]) -> str:
        return "".join(text(part, "text_output") for part in parts)

    expected = said(alone(caller, model, **inputs))

    def check(parts: Sequence[Outputs]) -> str:
        heard = text(parts[0], "transcript")
        if spoken(heard) != spoken(question.words):
            return f"said {question.words!r}, heard {heard!r}"
        if said(parts) != expected:
            return f"answered {said(parts)!r}, alone {expected!r}"
        silent = not any(len(part["audio_wav"][0, 0]) > 1_000 for part in parts)
        return f"spoke nothing ({text(parts[-1], 'speech_error')})" if silent else ""

    return Sample(message(model, inputs), check)


def _aligned(question: Question) -> Sample:
    def check(parts: Sequence[Outputs]) -> str:
        count = parts[0]["word"].shape[1]
        return "" if count == len(question.words.split()) else f"{count} words found in {question.words!r}"

    return Sample(message("align", {"audio_bytes": question.speech, "text": question.words}), check)

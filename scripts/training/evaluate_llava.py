"""Ask a LLaVA checkpoint about pictures it has never seen and count the answers that are right to the letter.

    python scripts/training/evaluate_llava.py .checkpoints/tiny/llava

Prints a Markdown table: exact-match accuracy per kind of question and language, on new pictures and on the
colour–shape pairs that training never showed. With `--variants` another: how many answers stay as they are when the
same question is written in capitals, without its mark, with another apostrophe, …
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
import typer
from PIL import Image
from rich.progress import track
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from lessons.exchanges import LANGUAGES, Exchange
from lessons.rewording import VARIANTS, reword, variants
from lessons.shape_chat import chat
from lessons.shape_questions import ask, ask_without_picture
from lessons.thing_questions import ask_colour, ask_shape
from tritone.vision.shapes import HELD_OUT, draw_scene, render

PICTURE_SIZE = 256  # pixels; larger than the network's own, as users' pictures are
BATCH = 50


@dataclass(frozen=True)
class Trial:
    """A question as asked, the picture, and the answer expected."""

    part: str
    picture: Image.Image | None
    question: str
    exchange: Exchange


def new_pictures(count: int, seed: int) -> list[Trial]:
    """Any question about random scenes, some chat among them; held-out pairs are left to `held_out`."""
    random = Random(f"evaluate {seed}")
    trials = []
    for number in range(count):
        language = LANGUAGES[number % 2]
        if number % 12 == 10:
            exchange = chat(random, language)
            trials.append(Trial("new pictures", None, reword(random, exchange), exchange))
            continue
        scene = draw_scene(random, allow_held_out=False)
        if number % 24 == 11:
            exchange = ask_without_picture(random, scene, language)
            trials.append(Trial("new pictures", None, reword(random, exchange), exchange))
            continue
        exchange = ask(random, scene, language)
        trials.append(Trial("new pictures", render(scene, PICTURE_SIZE), reword(random, exchange), exchange))
    return trials


def single_things(count: int, seed: int, held_out: bool) -> list[Trial]:
    """Colour and shape of a lone thing: of a pair that training showed, or of one it never did."""
    random = Random(f"evaluate {seed}")
    part = "held-out pairs" if held_out else "single things"
    trials = []
    for number in range(count):
        pairs = [random.choice(sorted(HELD_OUT))] if held_out else None
        scene = draw_scene(random, count=1, pairs=list(pairs) if pairs else None, allow_held_out=held_out)
        exchange = None
        while not exchange:
            exchange = (ask_colour, ask_shape)[number // 2 % 2](random, scene, LANGUAGES[number % 2])
        trials.append(Trial(part, render(scene, PICTURE_SIZE), reword(random, exchange), exchange))
    return trials


def rewritten(trials: list[Trial]) -> list[Trial]:
    """Each question as its exchange has it (part "") and in every other writing (the writing is the part)."""
    return [
        replace(trial, part=part, question=question)
        for trial in trials
        for part, question in {"": trial.exchange.question, **variants(trial.exchange.question)}.items()
    ]


def answer(model: LlavaForConditionalGeneration, processor: LlavaProcessor, trials: list[Trial]) -> list[str]:
    """Greedy answers to a batch of questions."""
    prompts = [prompt(processor, trial) for trial in trials]
    images = [t.picture for t in trials if t.picture]
    inputs = processor(text=prompts, images=images or None, padding=True, return_tensors="pt", add_special_tokens=False)
    inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=96, do_sample=False)
    new = tokens[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in processor.batch_decode(new, skip_special_tokens=True)]


def prompt(processor: LlavaProcessor, trial: Trial) -> str:
    """What the model reads."""
    content = [{"type": "image"}] * bool(trial.picture) + [{"type": "text", "text": trial.question}]
    return str(processor.apply_chat_template([{"role": "user", "content": content}]))


def steadiness(model: LlavaForConditionalGeneration, processor: LlavaProcessor, trials: list[Trial]) -> str:
    """A Markdown table of how each writing of a question is answered, per language.

    Of those answered rightly as the exchange has them, how many still are; and of all, how many answers are the same.
    """
    still, same = defaultdict(list), defaultdict(list)
    for trial, said in answered_once(model, processor, rewritten(trials)):
        right = said == trial.exchange.answer
        if not trial.part:
            first, first_right = said, right
            still["as it is", trial.exchange.language].append(right)
            continue
        for part in (trial.part, "**all**"):
            same[part, trial.exchange.language].append(said == first)
            if first_right:
                still[part, trial.exchange.language].append(right)
    rows = ["| writing | English: still right | same | Chinese: still right | same |", "|---|---|---|---|---|"]
    for part in ("as it is", *VARIANTS, "**all**"):
        cells = [_percent(table[part, language]) for language in LANGUAGES for table in (still, same)]
        rows.append(f"| {part} | {' | '.join(cells)} |")
    return "\n".join(rows)


def answered_once(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, trials: list[Trial]
) -> list[tuple[Trial, str]]:
    """Each trial and its answer; questions that the chat template writes alike are asked once."""
    keys = [(prompt(processor, trial), id(trial.picture)) for trial in trials]
    once = dict(zip(keys, trials, strict=True))
    said: dict[tuple[str, int], str] = {}
    for start in track(range(0, len(once), BATCH), "asking", transient=True):
        some = list(once)[start : start + BATCH]
        said.update(zip(some, answer(model, processor, [once[key] for key in some]), strict=True))
    return [(trial, said[key]) for trial, key in zip(trials, keys, strict=True)]


def accuracy(model: LlavaForConditionalGeneration, processor: LlavaProcessor, trials: list[Trial]) -> str:
    """A Markdown table of exact-match accuracy per part, kind and language."""
    right: dict[tuple[str, str, str], list[bool]] = defaultdict(list)
    for start in track(range(0, len(trials), BATCH), "asking", transient=True):
        some = trials[start : start + BATCH]
        for trial, said in zip(some, answer(model, processor, some), strict=True):
            right[trial.part, trial.exchange.kind, trial.exchange.language].append(said == trial.exchange.answer)
            right[trial.part, "**all**", trial.exchange.language].append(said == trial.exchange.answer)
    rows = ["| pictures | question | English | Chinese |", "|---|---|---|---|"]
    for part, kind in sorted({(part, kind) for part, kind, _ in right}):
        cells = [_percent(right[part, kind, language]) for language in LANGUAGES]
        rows.append(f"| {part} | {kind} | {cells[0]} | {cells[1]} |")
    return "\n".join(rows)


def _percent(right: list[bool]) -> str:
    return f"{100 * sum(right) / len(right):.1f} % of {len(right)}" if right else "–"


def main(checkpoint: Path, questions: int = 2400, seed: int = 7, variants: bool = False) -> None:
    """Score a checkpoint folder."""
    model = LlavaForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    processor = LlavaProcessor.from_pretrained(checkpoint)
    trials = new_pictures(questions, seed)
    if variants:
        print(steadiness(model, processor, trials))
        return
    trials += single_things(questions // 3, seed, held_out=False) + single_things(questions // 3, seed, held_out=True)
    print(accuracy(model, processor, trials))


if __name__ == "__main__":
    typer.run(main)

"""Train the tiny LLaVA: a real LlavaForConditionalGeneration that answers questions about coloured shapes.

It starts from the vision tower of `train_tiny_vision.py`, which stays as it is, and learns conversations about
pictures, in English and Chinese: many short ones about each picture, small talk without a picture, a picture that
comes in a later turn, a second picture. The loss is on the answers alone. No picture ever shows a pair of
tritone.vision.shapes.HELD_OUT.

    python scripts/training/train_tiny_vision.py --output .training/vision
    python scripts/training/train_tiny_llava.py --vision .training/vision --output checkpoints/tiny/llava
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated

import torch
import typer
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own convention)
from torch.optim.lr_scheduler import OneCycleLR
from transformers import (
    CLIPImageProcessor,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from album import IMAGE_SIZE, Picture, draw_all, look, photograph
from evaluate_llava import accuracy, new_pictures
from lessons.exchanges import LANGUAGES, Exchange
from lessons.rewording import plain, plain_template, reword
from lessons.scene_questions import ask_count, ask_presence, ask_side
from lessons.shape_chat import chat, every_text
from lessons.shape_questions import ask, ask_without_picture
from lessons.shape_scenes import training_scene
from lessons.thing_questions import ask_colour, ask_position, ask_shape, ask_truth
from loop import Training, begin, millions
from train_tiny_vision import GRID, IGNORE, PATCH, pixel_values
from tritone.vision.shapes import Scene

FINDING = (
    *(ask_colour, ask_colour, ask_colour, ask_colour, ask_shape, ask_presence),
    *(ask_truth, ask_side, ask_position, ask_position, ask_count),
)
ENGLISH = 0.6  # of the questions: English has more ways to ask, and is learned later
PAD, BOS, EOS, IMAGE = "<pad>", "<s>", "</s>", "<image>"
# LLaVA 1.5's conversation form; content is a string or a list of {"type": "image"} and {"type": "text"} parts.
# What the user writes comes in its plain form, so that neither case nor marks change an answer.
CHAT_TEMPLATE = (
    f"{plain_template()}"
    "{{ bos_token }}{% for message in messages %}"
    "{% set parts = [] if message['content'] is string else message['content'] %}"
    "{% set text = message['content'] if message['content'] is string else "
    "parts | selectattr('type', 'equalto', 'text') | map(attribute='text') | join(' ') %}"
    "{% if message['role'] == 'assistant' %} {{ text }}{{ eos_token }}{% else %}"
    "{{ 'USER: ' if message['role'] == 'user' else '' }}"
    "{% for part in parts if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% if message['role'] == 'user' %}{{ plain(text) }} ASSISTANT:{% else %}{{ text }}{{ '\n' }}{% endif %}"
    "{% endif %}{% endfor %}"
)


def train_tokenizer(random: Random, vocabulary: int = 1200) -> PreTrainedTokenizerFast:
    """Byte-level BPE on the project's own sentences; Chinese characters are never merged with each other."""
    texts = [*every_text(), "USER:", " ASSISTANT:"]
    for seed in range(4000):
        scene = training_scene(seed)
        for language in LANGUAGES:
            exchange = ask(random, scene, language)
            texts += [exchange.question, exchange.answer, reword(random, exchange)]
    tokenizer = Tokenizer(models.BPE())
    one_character = pre_tokenizers.Split(Regex(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([one_character, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BOS, EOS, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD, padding_side="left",
        extra_special_tokens={"image_token": IMAGE}, model_max_length=1024,
    )  # fmt: skip


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Pictures to 64 × 64 pixels by CLIP's own rules, text with 64 image tokens a picture."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": IMAGE_SIZE}, crop_size=size),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        image_token=IMAGE,
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tower: CLIPVisionModel, tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """About 6.3 million parameters: the trained tower, a projector, four layers of Llama."""
    tokens = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        **tokens,
    )
    config = LlavaConfig(
        vision_config=tower.config,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(IMAGE_SIZE // PATCH) ** 2,
        # The tower was trained for its last layer; OpenAI's towers serve LLaVA best one layer earlier.
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.generation_config.update(**tokens, max_new_tokens=96, do_sample=False)
    return model


def draw(seed: int) -> Picture:
    """One training picture."""
    return photograph(training_scene(seed), seed)


class SeenPictures(nn.Module):
    """In the place of the frozen vision tower: what it made of each picture is computed once and not every time."""

    def forward(self, pixel_values: torch.Tensor, **_: object) -> BaseModelOutputWithPooling:
        """States (pictures, 65, width) that come in the place of pixels."""
        return BaseModelOutputWithPooling(last_hidden_state=pixel_values, hidden_states=(pixel_values,))


Turn = tuple[Picture | None, Exchange]


@dataclass
class Lesson:
    """A shared beginning and conversations that go on from there, none of which sees another."""

    picture: Picture | None
    conversations: list[list[Turn]]

    @property
    def pictures(self) -> list[Picture]:
        """All pictures, in the order of their tokens."""
        later = [picture for conversation in self.conversations for picture, _ in conversation]
        return [picture for picture in (self.picture, *later) if picture]


def lesson_about(random: Random, picture: Picture | None, other: Picture, count: int) -> Lesson:
    """`count` short conversations about one picture, or without any."""
    return Lesson(picture, [_talk(random, picture, other, 2 if random.random() < 0.1 else 1) for _ in range(count)])


def lesson_in_turns(random: Random, pictures: list[Picture], length: int) -> Lesson:
    """One conversation in which a picture comes at any turn, and perhaps a second; it is about the latest one."""
    arrivals = random.choice(({0}, {1}, {2}, {0, 2}))
    turns: list[Turn] = []
    for turn in range(length):
        arrived = random.choice(pictures) if turn in arrivals else None
        current = arrived or next((picture for picture, _ in reversed(turns) if picture), None)
        [(_, exchange)] = _talk(random, current, random.choice(pictures), 1)
        turns.append((arrived, exchange))
    return Lesson(None, [turns])


def _talk(random: Random, picture: Picture | None, other: Picture, length: int) -> list[Turn]:
    """Questions about the picture, some small talk; without a picture, questions that cannot be answered too."""
    turns: list[Turn] = []
    for _ in range(length):
        language = "en" if random.random() < ENGLISH else "zh"
        if random.random() < (0.05 if picture else 0.7):
            exchange = chat(random, language)
        elif picture:
            exchange = _ask(random, picture.scene, language)
        else:
            exchange = ask_without_picture(random, other.scene, language)
        turns.append((None, exchange))
    return turns


def _ask(random: Random, scene: Scene, language: str) -> Exchange:
    """Any question; every second time one that takes finding a thing among others, which is learned last."""
    found = random.choice(FINDING)(random, scene, language) if random.random() < 0.5 else None
    return found or ask(random, scene, language)


@dataclass
class Encoded:
    """A lesson as tokens, all four lists of one length."""

    ids: list[int]
    labels: list[int]  # IGNORE outside the answers
    positions: list[int]  # each conversation counts on from the shared beginning
    blocks: list[int]  # 0 for the shared beginning, then 1, 2, … per conversation


def encode(random: Random, lesson: Lesson, tokenizer: PreTrainedTokenizerFast) -> Encoded:
    """Tokens of a lesson."""
    begin = f"{BOS}USER: {_image_tokens()}" if lesson.picture else BOS
    ids = tokenizer.encode(begin, add_special_tokens=False)
    encoded = Encoded(ids, [IGNORE] * len(ids), list(range(len(ids))), [0] * len(ids))
    shared = len(ids)
    for block, conversation in enumerate(lesson.conversations, start=1):
        position = shared
        for turn, (picture, exchange) in enumerate(conversation):
            user = "" if lesson.picture and turn == 0 else "USER: "
            question = f"{user}{_image_tokens() if picture else ''}{plain(reword(random, exchange))} ASSISTANT:"
            prompt = tokenizer.encode(question, add_special_tokens=False)
            answer = tokenizer.encode(f" {exchange.answer}{EOS}", add_special_tokens=False)
            length = len(prompt) + len(answer)
            encoded.ids += prompt + answer
            encoded.labels += [IGNORE] * len(prompt) + answer
            encoded.positions += range(position, position + length)
            encoded.blocks += [block] * length
            position += length
    return encoded


def _image_tokens() -> str:
    return IMAGE * GRID**2 + "\n"


def collate(random: Random, lessons: list[Lesson], processor: LlavaProcessor) -> dict[str, torch.Tensor]:
    """Right-padded tensors (batch, length), a mask (batch, 1, length, length), and the pictures in order."""
    encoded = [encode(random, lesson, processor.tokenizer) for lesson in lessons]
    pictures = [
        p for lesson in lessons for p in (lesson.picture, *(t for c in lesson.conversations for t, _ in c)) if p
    ]
    batch = {
        "input_ids": _pad([row.ids for row in encoded], processor.tokenizer.pad_token_id),
        "labels": _pad([row.labels for row in encoded], IGNORE),
        "position_ids": _pad([row.positions for row in encoded], 0),
        "attention_mask": attention(_pad([row.blocks for row in encoded], -1)),
    }
    if pictures:
        batch["pixel_values"] = torch.stack([picture.states for picture in pictures]).float()
    return batch


def attention(blocks: torch.Tensor) -> torch.Tensor:
    """Who sees whom, bool (batch, 1, length, length): what came before, in the own block or the shared beginning."""
    seen = (blocks[:, None, :] == 0) | (blocks[:, None, :] == blocks[:, :, None])
    return (seen & torch.ones(blocks.shape[1], blocks.shape[1], dtype=torch.bool).tril())[:, None]


def _pad(rows: list[list[int]], value: int) -> torch.Tensor:
    length = max(map(len, rows))
    return torch.tensor([row + [value] * (length - len(row)) for row in rows])


def loss_of(model: LlavaForConditionalGeneration, labels: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the answers' tokens; the vocabulary is computed at their places only."""
    with torch.autocast("cpu", torch.bfloat16):
        states = model.model(**inputs, use_cache=False).last_hidden_state[:, :-1]  # (batch, length - 1, width)
        told = labels[:, 1:] != IGNORE
        return F.cross_entropy(model.lm_head(states[told]).float(), labels[:, 1:][told])


def lessons_of(random: Random, album: list[Picture], batch: int) -> list[Lesson]:
    """One step's lessons: mostly four conversations about each picture; every tenth step, pictures at any turn."""
    if random.random() < 0.1:
        length = random.choice((2, 3, 4))
        return [lesson_in_turns(random, random.choices(album, k=2), length) for _ in range(batch)]
    without = max(1, batch // 20)
    return [
        lesson_about(random, None if row < without else random.choice(album), random.choice(album), 4)
        for row in range(batch)
    ]


def training_of(model: LlavaForConditionalGeneration, rate: float, steps: int) -> Training:
    """All that is not frozen learns."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learning, rate, weight_decay=0.05, betas=(0.9, 0.98), fused=True)
    return Training(optimiser, partial(OneCycleLR, max_lr=rate, total_steps=steps, pct_start=0.05), steps)


def learn(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    album: list[Picture],
    training: Training,
    random: Random,
    batch: int = 40,
) -> Iterator[int]:
    """Take the steps of a training from pictures that were looked at; yields the number of each that is done."""
    for step in training.run():
        loss = loss_of(model, **collate(random, lessons_of(random, album, batch), processor))
        training.learn(loss)
        training.say(50, loss=loss.item())
        yield step


def main(
    output: Annotated[Path, typer.Option(help="folder for the trained model")],
    vision: Annotated[Path | None, typer.Option(help="folder of the trained vision tower, to begin")] = None,
    start: Annotated[Path | None, typer.Option(help="folder of a tiny LLaVA, to go on with")] = None,
    steps: int = 2700,
    batch: int = 40,
    pictures: int = 40_000,
    rate: float = 1.5e-3,
    seed: int = 0,
) -> None:
    """Train, score and save the tiny LLaVA."""
    begin(seed)
    random = Random(seed)
    album = draw_all(draw, pictures, block=seed + 1)
    if start:
        processor = LlavaProcessor.from_pretrained(start)
        model = LlavaForConditionalGeneration.from_pretrained(start, dtype=torch.float32).train()
    else:
        processor = build_processor(train_tokenizer(Random(0)))
        model = build_model(CLIPVisionModel.from_pretrained(vision), processor.tokenizer).train()
    seeing, remembering = model.model.vision_tower.requires_grad_(False), SeenPictures()
    look(lambda pictures: seeing(pixel_values(pictures)).last_hidden_state, album)
    print(f"{millions(model)} parameters", flush=True)
    model.model.vision_tower = remembering
    training = training_of(model, rate, steps)
    for step in learn(model, processor, album, training, random, batch):
        if training.every(600):
            model.model.vision_tower = seeing
            save(model, processor, output)
            print(accuracy(model.eval(), processor, new_pictures(200, seed=step)), flush=True)
            model.train().model.vision_tower = remembering


def save(model: LlavaForConditionalGeneration, processor: LlavaProcessor, output: Path) -> None:
    """Write the folder that LlavaForConditionalGeneration.from_pretrained reads, in fp16."""
    model.config.vision_config.name_or_path = ""  # a path of the machine that trained it
    state = {name: weight.half() for name, weight in model.state_dict().items()}
    model.save_pretrained(output, state_dict=state)
    processor.save_pretrained(output)


if __name__ == "__main__":
    typer.run(main)

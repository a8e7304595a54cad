"""Train the tiny CLIP: a real CLIPModel that finds pictures of coloured shapes by English and Chinese captions.

It starts from the vision tower of the tiny LLaVA, which already knows colour, shape, size and centre of what covers
each patch; the lower layers stay as they are. A batch is pictures, for each of them true captions of several forms and
wrong ones that differ in a word or have two colours swapped. The loss is contrastive both ways. A caption that happens
to be true of another picture of the batch is no negative for it. No picture or caption ever shows a pair of
tritone.vision.shapes.HELD_OUT.

    python scripts/training/train_tiny_clip.py --output checkpoints/tiny/clip
"""

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import torch
import typer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch.nn import functional as F  # noqa: N812 (torch's own convention)
from torch.optim.lr_scheduler import OneCycleLR
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTokenizer,
    LlavaForConditionalGeneration,
)

from album import IMAGE_SIZE, Picture, draw_all, look, photograph
from evaluate_clip import report
from lessons.shape_captions import LANGUAGES, Caption, Part, partial_caption, whole_caption, wrong_caption
from lessons.shape_scenes import training_scene
from loop import Training, begin, millions
from train_tiny_vision import CONFIG as VISION
from train_tiny_vision import pixel_values
from tritone.vision.shapes import COLOURS, HELD_OUT, POSITIONS, SHAPES, SIZES, Scene, Thing, draw_scene

WIDTH = 128  # of the embeddings
CONTEXT = 77  # tokens, as OpenAI's
FROZEN = 4  # of six layers of the vision tower that stay as they are
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
ATTRIBUTES = (tuple(COLOURS), SHAPES, SIZES, POSITIONS)
THINGS = 3  # most in a scene


# ---- text


def train_tokenizer(captions: list[str], vocabulary: int = 1000) -> CLIPTokenizer:
    """CLIP's byte-level BPE: English merges are learned; each Chinese character is one token and stands alone."""
    english = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    english.pre_tokenizer = CLIPTokenizer().backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    ascii_only = [text.lower() for text in captions if text.isascii()]
    english.train_from_iterator(ascii_only, trainer)
    merges = [tuple(merge) for merge in _merges(english)]
    found = Counter(character for text in captions for character in text if not character.isascii())
    for character, _ in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        first, second, third = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(character)[0][0]
        steps = ((first, second), (first + second, third), (first + second, third + "</w>"))
        merges += [step for step in steps if step not in merges]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(merge) for merge in merges), BOS, EOS]
    names = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=names, merges=merges, model_max_length=CONTEXT)


def _merges(tokenizer: Tokenizer) -> list[list[str]]:
    return json.loads(tokenizer.to_str())["model"]["merges"]


# ---- pictures


def draw(seed: int) -> Picture:
    """One training picture with a little noise. Every odd one is a twin of the one before: its words, mixed anew."""
    scene = training_scene(seed - seed % 2)
    if seed % 2:
        scene = twin(Random(seed), scene)
    return photograph(scene, seed)


def twin(random: Random, scene: Scene) -> Scene:
    """The colours go to other shapes, or one colour or shape changes: a picture that takes care to tell apart."""
    while True:
        colours, shapes = [t.colour for t in scene.things], [t.shape for t in scene.things]
        choice = random.random()
        if choice < 0.5:
            random.shuffle(colours)
        elif choice < 0.75:
            colours[random.randrange(len(colours))] = random.choice(tuple(COLOURS))
        else:
            shapes[random.randrange(len(shapes))] = random.choice(SHAPES)
        pairs = list(zip(colours, shapes, strict=True))
        if not HELD_OUT & set(pairs):
            return draw_scene(random, pairs=pairs)


def frozen_layers(model: CLIPModel, pictures: torch.Tensor) -> torch.Tensor:
    """uint8 (batch, 64, 64, 3) -> states (batch, 65, width), below the layers that learn."""
    tower = model.vision_model
    states = tower.pre_layrnorm(tower.embeddings(pixel_values(pictures)))
    for layer in tower.encoder.layers[:FROZEN]:
        states = layer(states, None)
    return states


# ---- what is true of what


def words(things: list[Thing] | list[Part]) -> np.ndarray:
    """Colour, shape, size and position of up to three things, int8 (3, 4); -1: not said, -2: no such thing."""
    table = np.full((THINGS, len(ATTRIBUTES)), -2, np.int8)
    for row, thing in enumerate(things):
        said = (thing.colour, thing.shape, thing.size, thing.position)
        table[row] = [names.index(word) if word else -1 for names, word in zip(ATTRIBUTES, said, strict=True)]
    return table


def is_true(captions: np.ndarray, whole: np.ndarray, scenes: np.ndarray) -> np.ndarray:
    """Which caption is true of which scene: bool (captions, scenes). Nobody counts: one red circle is two.

    Args:
        captions: `words` of each caption's parts, (captions, 3, 4).
        whole: bool (captions,); such a caption is true only of a scene that holds nothing else.
        scenes: `words` of each scene's things, (scenes, 3, 4).
    """
    said, real = captions[:, None, :, None, :], scenes[None, :, None, :, :]
    there = (scenes[None, :, None, :, 0] != -2) & (captions[:, None, :, None, 0] != -2)
    fits = ((said == -1) | (said == real)).all(-1) & there  # (captions, scenes, part, thing)
    every_part = (fits.any(3) | (captions[:, None, :, 0] == -2)).all(2)
    every_thing = (fits.any(2) | (scenes[None, :, :, 0] == -2)).all(2)
    return every_part & (every_thing | ~whole[:, None])


# ---- learning


def captions_of(random: Random, scene: Scene) -> tuple[Caption, Caption, Caption]:
    """A full caption, a partial one, and one that is wrong."""
    known = all(thing.colour and thing.shape for thing in scene.things)
    full = (whole_caption if known else partial_caption)(random, scene, random.choice(LANGUAGES))
    part = partial_caption(random, scene, random.choice(LANGUAGES))
    wrong = wrong_caption(random, random.choice((full, full, part)), random.choice(LANGUAGES))
    return full, part, wrong


def see(model: CLIPModel, pictures: list[Picture]) -> torch.Tensor:
    """Unit vectors of the pictures, on from the frozen layers."""
    tower = model.vision_model
    states = torch.stack([picture.states for picture in pictures]).float()
    for layer in tower.encoder.layers[FROZEN:-1]:
        states = layer(states, None)
    # Of the last layer only the class token is ever read: no need to ask it for the others.
    last = tower.encoder.layers[-1]
    attention = last.self_attn
    normed = last.layer_norm1(states)
    heads = (len(pictures), -1, attention.num_heads, attention.head_dim)
    query, key, value = (
        project(rows).view(heads).transpose(1, 2)
        for project, rows in (
            (attention.q_proj, normed[:, :1]),
            (attention.k_proj, normed),
            (attention.v_proj, normed),
        )
    )
    mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    state = states[:, :1] + attention.out_proj(mixed)
    state = state + last.mlp(last.layer_norm2(state))
    return F.normalize(model.visual_projection(tower.post_layernorm(state[:, 0])).float(), dim=-1)


def read(model: CLIPModel, tokenizer: CLIPTokenizer, captions: list[Caption]) -> torch.Tensor:
    """Unit vectors of the captions."""
    texts = [caption.text for caption in captions]
    ids = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")["input_ids"]
    return F.normalize(model.get_text_features(ids).pooler_output.float(), dim=-1)


def loss_of(model: CLIPModel, tokenizer: CLIPTokenizer, random: Random, pictures: list[Picture]) -> torch.Tensor:
    """Contrastive loss of a batch, pictures to captions and captions to pictures."""
    full, part, wrong = map(list, zip(*(captions_of(random, picture.scene) for picture in pictures), strict=True))
    columns = [full, part, wrong[: len(wrong) // 2]]
    scenes = np.stack([words(list(picture.scene.things)) for picture in pictures])
    with torch.autocast("cpu", torch.bfloat16):
        seen = see(model, pictures)
        texts = [read(model, tokenizer, captions) for captions in columns]
    logits, true = [], []
    for captions, text in zip(columns, texts, strict=True):
        logits.append(model.logit_scale.exp() * text @ seen.T)  # (captions, pictures)
        said = np.stack([words(list(caption.parts)) for caption in captions])
        true.append(torch.from_numpy(is_true(said, np.array([caption.whole for caption in captions]), scenes)))
    loss, rows = torch.zeros(()), torch.arange(len(pictures))
    for own, also_true in zip(logits[:2], true[:2], strict=True):
        others = also_true.clone()
        others[rows, rows] = False
        loss = loss + F.cross_entropy(own.masked_fill(others, -torch.inf), rows)
        # A picture chooses among the captions of one form and all wrong ones.
        choice, others = torch.cat([own, logits[2]]), torch.cat([others, true[2]])
        loss = loss + F.cross_entropy(choice.masked_fill(others, -torch.inf).T, rows)
    return loss / 4


def tokenizer_for(album: list[Picture]) -> CLIPTokenizer:
    """Made for the captions of the first 8,000 pictures."""
    return train_tokenizer([each.text for picture in album[:8000] for each in captions_of(Random(0), picture.scene)])


def build_processor(tokenizer: CLIPTokenizer) -> CLIPProcessor:
    """Pictures to 64 × 64 pixels by CLIP's own rules."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    resize = CLIPImageProcessor(size={"shortest_edge": IMAGE_SIZE}, crop_size=size)
    return CLIPProcessor(image_processor=resize, tokenizer=tokenizer)


def build(llava: Path, tokenizer: CLIPTokenizer) -> CLIPModel:
    """About 4.3 million parameters: the LLaVA's vision tower, a text tower of three layers, two projections."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=3,
        num_attention_heads=6,
        max_position_embeddings=CONTEXT,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=VISION.to_dict(), projection_dim=WIDTH))
    seeing = LlavaForConditionalGeneration.from_pretrained(llava, dtype=torch.float32).model.vision_tower
    model.vision_model.load_state_dict(seeing.state_dict())
    model.vision_model.embeddings.requires_grad_(False)
    model.vision_model.pre_layrnorm.requires_grad_(False)
    model.vision_model.encoder.layers[:FROZEN].requires_grad_(False)
    return model


def training_of(model: CLIPModel, rate: float, steps: int) -> Training:
    """What has learned already, the vision tower, learns at half the rate."""
    seeing = [p for p in model.vision_model.parameters() if p.requires_grad]
    reading = [*model.text_model.parameters(), *model.text_projection.parameters()]
    reading += [*model.visual_projection.parameters(), model.logit_scale]
    groups = [{"params": seeing}, {"params": reading}]
    optimiser = torch.optim.AdamW(groups, rate, weight_decay=0.05, betas=(0.9, 0.98), fused=True)
    schedule = partial(OneCycleLR, max_lr=[rate / 2, rate], total_steps=steps, pct_start=0.1)
    return Training(optimiser, schedule, steps)


def learn(
    model: CLIPModel,
    tokenizer: CLIPTokenizer,
    album: list[Picture],
    training: Training,
    random: Random,
    batch: int = 128,
) -> Iterator[int]:
    """Take the steps of a training; yields the number of each that is done. Twins stay together."""
    for step in training.run():
        chosen = [2 * random.randrange(len(album) // 2) for _ in range(batch // 2)]
        loss = loss_of(model.train(), tokenizer, random, [album[c + side] for c in chosen for side in (0, 1)])
        training.learn(loss)
        with torch.no_grad():
            model.logit_scale.clamp_(max=np.log(100))  # as OpenAI's
        training.say(25, loss=loss.item())
        yield step


def main(
    output: Annotated[Path, typer.Option(help="folder for the trained model")],
    llava: Annotated[Path, typer.Option(help="folder of the tiny LLaVA")] = Path("checkpoints/tiny/llava"),
    start: Annotated[Path | None, typer.Option(help="folder of a tiny CLIP, to go on with")] = None,
    steps: int = 600,
    batch: int = 128,
    pictures: int = 24_000,
    rate: float = 1.5e-3,
    seed: int = 0,
) -> None:
    """Train, score and save the tiny CLIP."""
    begin(seed)
    random = Random(seed)
    album = draw_all(draw, pictures, block=seed + 50)
    tokenizer = CLIPTokenizer.from_pretrained(start) if start else tokenizer_for(album)
    processor = build_processor(tokenizer)
    model = build(llava, tokenizer)
    if start:
        model.load_state_dict(CLIPModel.from_pretrained(start, dtype=torch.float32).state_dict())
    print(f"{millions(model)} parameters, {len(tokenizer)} tokens", flush=True)
    look(partial(frozen_layers, model), album)
    training = training_of(model, rate, steps)
    for step in learn(model, tokenizer, album, training, random, batch):
        if training.every(200):
            save(model, processor, output)
            print(report(model.eval(), processor, pictures=500 if step == steps else 200, seed=step), flush=True)


def save(model: CLIPModel, processor: CLIPProcessor, output: Path) -> None:
    """Write the folder that CLIPModel and CLIPProcessor read, in fp16."""
    model.save_pretrained(output, state_dict={name: weight.half() for name, weight in model.state_dict().items()})
    processor.save_pretrained(output)


if __name__ == "__main__":
    typer.run(main)

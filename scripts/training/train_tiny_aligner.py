"""Train the tiny aligner: a small Wav2Vec2ForCTC that hears the letters of English speech, and when.

It learns from the project's own voices, whose words have known times. Two losses: CTC on the letters, and per frame
the cross-entropy of what is certain: the first letter of a word where it starts, the last where it ends, nothing in
the pauses, and the letters in between spread evenly, as a first guess whose weight falls. So the letters come early
and late enough for the edges of words, where CTC alone puts a letter anywhere. Words of `is_held_out` are never heard.

    python scripts/training/train_tiny_aligner.py --data .training/speech --output checkpoints/tiny/aligner

An interrupted run goes on where it was, from `training.pt` in the data folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812 (torch's own convention)
from torch.optim.lr_scheduler import OneCycleLR
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

from lessons.spoken_speech import Utterance, cached, spoken_by_espeak, spoken_by_vits
from loop import Training, begin, millions
from tritone.speech.alignment import SAMPLING_RATE, Frames

# In the order of facebook/wav2vec2-base-960h.
VOCABULARY = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
NUMBER = {token: number for number, token in enumerate(VOCABULARY)}
BLANK, GAP = NUMBER["<pad>"], NUMBER["|"]
IGNORE = -100
BATCH_SECONDS = 60


def build_model() -> Wav2Vec2ForCTC:
    """About 1.4 million parameters, 20 ms a frame, as in wav2vec2-base but with fewer and wider strides."""
    return Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(VOCABULARY),
            pad_token_id=BLANK,
            conv_dim=[48, 96, 128, 160],
            conv_kernel=[20, 8, 8, 4],
            conv_stride=[10, 4, 4, 2],
            num_feat_extract_layers=4,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            conv_bias=True,
            hidden_size=160,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=512,
            num_conv_pos_embeddings=64,
            num_conv_pos_embedding_groups=16,
            apply_spec_augment=False,
            mask_time_prob=0.0,
            layerdrop=0.0,
            hidden_dropout=0.05,
            attention_dropout=0.05,
            activation_dropout=0.0,
            feat_proj_dropout=0.0,
            final_dropout=0.0,
            ctc_zero_infinity=True,
        )
    )


def save(model: Wav2Vec2ForCTC, output: Path) -> None:
    """Write the folder that Wav2Vec2ForCTC and Wav2Vec2Processor read, weights in fp16."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "vocab.json").write_text(json.dumps(NUMBER), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(str(output / "vocab.json"), word_delimiter_token="|")  # noqa: S106
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=True)
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(output)
    model.save_pretrained(output, state_dict={name: weight.half() for name, weight in model.state_dict().items()})


def disturb(random: Random, utterance: Utterance) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Audio float32 (n_samples,) and word times, a little faster or slower, between silences, in noise."""
    audio, times = utterance.audio.astype(np.float32) / 32768, utterance.times.astype(np.float64)
    factor = random.uniform(0.88, 1.14)  # also raises or lowers the voice
    places = np.arange(0, len(audio) - 1, factor)
    audio = np.interp(places, np.arange(len(audio)), audio).astype(np.float32)
    before, behind = (int(random.uniform(0, 0.4) * SAMPLING_RATE) for _ in range(2))
    audio = np.pad(audio, (before, behind)) * random.uniform(0.2, 1.5)
    noise = np.random.default_rng(random.getrandbits(32)).standard_normal(len(audio)).astype(np.float32)
    if random.random() < 0.5:  # brown rather than white
        noise = np.convolve(noise, np.full(8, 0.35, np.float32), "same")
    level = float(np.sqrt(np.mean(audio**2))) * 10 ** (-random.uniform(12, 50) / 20)
    return audio + level * noise, times / factor + before / SAMPLING_RATE


def letters_of(word: str) -> list[int]:
    """Vocabulary numbers of a word."""
    return [NUMBER[letter] for letter in word.upper() if letter.isalpha() or letter == "'"]


def frame_targets(words: tuple[str, ...], times: NDArray[np.float64], frames: int) -> tuple[list[int], list[float]]:
    """What each frame should say, and how certain that is: 1 at the edges of words and in pauses, 0 inside words.

    `times` (n_words, 2) are in frames.
    """
    targets, certain = [BLANK] * frames, [1.0] * frames
    for word, (start, end) in zip(words, times, strict=True):
        letters = letters_of(word)
        first = min(round(start), frames - 1)
        last = min(max(round(end) - 1, first), frames - 1)
        if first and targets[first - 1] != BLANK:  # the words touch: the gap needs a frame
            first = min(first + 1, frames - 1)
            last = max(last, first)
            targets[first - 1], certain[first - 1] = GAP, 1.0
        for frame in range(first, last + 1):
            targets[frame] = letters[(frame - first) * len(letters) // (last - first + 1)]
            certain[frame] = float(frame in (first, last))
        targets[first], targets[last] = letters[0], letters[-1] if last > first else letters[0]
        if last + 1 < frames:
            targets[last + 1] = GAP
    return targets, certain


def collate(random: Random, utterances: list[Utterance], cut: Frames) -> dict[str, torch.Tensor]:
    """Padded tensors of one step."""
    rows = []
    for utterance in utterances:
        audio, times = disturb(random, utterance)
        frames = cut.count(len(audio))
        targets, certain = frame_targets(utterance.words, times * SAMPLING_RATE / cut.hop, frames)
        letters = [number for word in utterance.words for number in (GAP, *letters_of(word))][1:]
        normed = (audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)
        rows.append((normed, targets, certain, letters))
    longest, frames = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "audio": torch.from_numpy(np.stack([np.pad(row[0], (0, longest - len(row[0]))) for row in rows])),
        "lengths": torch.tensor([len(row[0]) for row in rows]),
        "frames": torch.tensor([len(row[1]) for row in rows]),
        "targets": torch.tensor([row[1] + [IGNORE] * (frames - len(row[1])) for row in rows]),
        "certain": torch.tensor([row[2] + [0.0] * (frames - len(row[2])) for row in rows]),
        "letters": pad([torch.tensor(row[3]) for row in rows], batch_first=True),
        "n_letters": torch.tensor([len(row[3]) for row in rows]),
    }


def loss_of(model: Wav2Vec2ForCTC, batch: dict[str, torch.Tensor], guess: float) -> torch.Tensor:
    """CTC and frame loss; `guess` is the weight of frames inside words."""
    mask = torch.arange(batch["audio"].shape[1])[None] < batch["lengths"][:, None]
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(batch["audio"], attention_mask=mask.long()).logits
    logs = logits.float().log_softmax(-1)  # (batch, n_frames, n_letters)
    ctc = F.ctc_loss(
        logs.transpose(0, 1), batch["letters"], batch["frames"], batch["n_letters"], BLANK, zero_infinity=True
    )
    targets = batch["targets"][:, : logs.shape[1]]
    weights = (batch["certain"] + (1 - batch["certain"]) * guess)[:, : logs.shape[1]] * (targets != IGNORE)
    each = F.cross_entropy(logs.transpose(1, 2), targets, ignore_index=IGNORE, reduction="none")
    return ctc + (each * weights).sum() / weights.sum()


def batches(random: Random, utterances: list[Utterance]) -> list[list[Utterance]]:
    """One round of all utterances in random order, those of about one length together."""
    order = sorted(utterances, key=lambda each: len(each.audio) * random.uniform(0.85, 1.15))
    groups, group = [], list[Utterance]()
    for each in order:
        if group and (len(group) + 1) * len(each.audio) > BATCH_SECONDS * SAMPLING_RATE:
            groups.append(group)
            group = []
        group.append(each)
    groups.append(group)
    random.shuffle(groups)
    return groups


def training_of(model: Wav2Vec2ForCTC, rate: float, steps: int, state: Path | None) -> Training:
    """All of the network learns."""
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    schedule = partial(OneCycleLR, max_lr=rate, total_steps=steps, pct_start=0.1)
    return Training(optimiser, schedule, steps, state, {"model": model})


def learn(
    model: Wav2Vec2ForCTC, spoken: list[Utterance], robots: list[Utterance], training: Training, random: Random
) -> Iterator[int]:
    """Take the steps of a training, as many robots as people a round; yields the number of each step that is done."""
    cut, queue = Frames.of(model.config), list[list[Utterance]]()
    for step in training.run():
        queue = queue or batches(random, [*spoken, *random.sample(robots, len(spoken))])
        guess = max(0.1, 1 - 2 * step / training.steps)
        loss = loss_of(model, collate(random, queue.pop(), cut), guess)
        training.learn(loss)
        training.say(50, loss=loss.item())
        yield step


def main(
    output: Annotated[Path, typer.Option(help="folder for the trained model")],
    data: Annotated[Path, typer.Option(help="folder for the spoken sentences and the state of the training")],
    steps: int = 2000,
    vits: int = 900,
    espeak: int = 5000,
    rate: float = 1.5e-3,
    seed: int = 0,
    only_speak: Annotated[bool, typer.Option(help="stop when the sentences are spoken")] = False,
) -> None:
    """Train and save the tiny aligner; `evaluate_aligner.py` scores it."""
    begin(seed)
    spoken = cached(data / f"vits-{vits}.npz", spoken_by_vits(seed + 1, vits, held_out=False))
    robots = cached(data / f"espeak-{espeak}.npz", spoken_by_espeak(seed + 2, espeak))
    if only_speak:
        return
    # Some sentences end with a mark that stands alone: a word without letters teaches nothing.
    spoken, robots = ([u for u in part if all(map(letters_of, u.words))] for part in (spoken, robots))
    model = build_model().train()
    print(f"{millions(model)} parameters", flush=True)
    training = training_of(model, rate, steps, data / "training.pt")
    for _ in learn(model, spoken, robots, training, Random(f"{seed}-{training.step}")):
        if training.every(200):
            save(model, output)


if __name__ == "__main__":
    typer.run(main)

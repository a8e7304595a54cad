"""A few steps of each training: the loss falls, and one seed makes one network."""

from itertools import islice
from random import Random

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer, CLIPVisionModel, LlavaForConditionalGeneration, LlavaProcessor

import train_tiny_aligner
import train_tiny_clip
import train_tiny_diffusion
import train_tiny_llava
import train_tiny_vae
import train_tiny_vision
from album import look
from lessons.shape_scenes import portrait, training_scene
from lessons.spoken_speech import Utterance
from loop import Training, averaged
from tritone import checkpoints

STEPS, TAKEN = 60, 4  # of the rate, which rises at first, and of the test
RANDOM = Random()


def rewind():
    """The same pictures, words and noise as before: what is left to differ is the network."""
    torch.manual_seed(3)
    RANDOM.seed(3)


@pytest.fixture(autouse=True)
def one_thread():
    """So small networks are no faster on more, and much slower beside others who compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def losses(monkeypatch):
    noted, learn = [], Training.learn

    def noting(training, loss):
        noted.append(loss.item())
        learn(training, loss)
        rewind()

    monkeypatch.setattr(Training, "learn", noting)
    return noted


def vision(_):
    tower, heads = CLIPVisionModel(train_tiny_vision.CONFIG), train_tiny_vision.PatchHeads(192)
    training = train_tiny_vision.training_of(tower, heads, STEPS, STEPS)
    known = next(seed for seed in range(99) if all(t.colour and t.shape for t in training_scene(seed).things))
    return train_tiny_vision.learn(tower, heads, [train_tiny_vision.example(known)], training, batch=2)


def clip(_):
    album = [train_tiny_clip.draw(seed) for seed in range(4)]
    tokenizer = CLIPTokenizer.from_pretrained(checkpoints.path("clip"))
    model = train_tiny_clip.build(checkpoints.path("llava"), tokenizer)
    look(lambda pictures: train_tiny_clip.frozen_layers(model, pictures), album)
    training = train_tiny_clip.training_of(model, 1e-3, STEPS)
    return train_tiny_clip.learn(model, tokenizer, album, training, RANDOM, batch=4)


def llava(_):
    processor = LlavaProcessor.from_pretrained(checkpoints.path("llava"))
    known = LlavaForConditionalGeneration.from_pretrained(checkpoints.path("llava"), dtype=torch.float32)
    tower = known.model.vision_tower
    album = [train_tiny_llava.draw(seed) for seed in range(4)]
    look(lambda pictures: tower(train_tiny_vision.pixel_values(pictures)).last_hidden_state, album)
    model = train_tiny_llava.build_model(tower, processor.tokenizer)
    model.model.vision_tower = train_tiny_llava.SeenPictures()
    training = train_tiny_llava.training_of(model, 1e-3, STEPS)
    return train_tiny_llava.learn(model, processor, album, training, RANDOM, batch=2)


def aligner(_):
    rng = np.random.default_rng(0)
    sound = (rng.standard_normal(8_000) * 3000).astype(np.int16)
    spoken = [Utterance(sound, ("one", "two"), np.float32([[0.05, 0.2], [0.25, 0.45]]))] * 2
    model = train_tiny_aligner.build_model()
    training = train_tiny_aligner.training_of(model, 1e-3, STEPS, None)
    return train_tiny_aligner.learn(model, spoken, spoken, training, RANDOM)


def vae(folder):
    model = train_tiny_vae.build_vae()
    training, average = train_tiny_vae.training_of(model, 1e-3, STEPS, folder / "vae.pt")
    images = torch.from_numpy(np.stack([train_tiny_vae.picture(seed) for seed in range(1)]))
    return train_tiny_vae.learn(model, images, training, average, batch=4)


def unet(folder):
    learning = train_tiny_diffusion.build_networks(tokenizer := train_tiny_diffusion.train_tokenizer())
    training, average = averaged(learning, 1e-1, STEPS, folder / "unet.pt")
    latents, scenes = torch.randn(2, 4, 16, 16), [portrait(seed) for seed in range(2)]
    return train_tiny_diffusion.learn(learning, tokenizer, latents, scenes, training, average, RANDOM, batch=8)


@pytest.mark.parametrize("training", [vision, clip, llava, aligner, vae, unet])
def test_the_loss_falls_and_one_seed_makes_one_network(training, losses, tmp_path):
    for run, count in (("first", TAKEN), ("second", 2)):
        torch.manual_seed(3)
        (tmp_path / run).mkdir()
        steps = training(tmp_path / run)
        rewind()
        assert list(islice(steps, count)) == list(range(1, count + 1))
    first, second = losses[:TAKEN], losses[TAKEN:]
    assert first[:2] == second  # to the bit, so after a step the weights are the same
    assert first[-1] < first[0]

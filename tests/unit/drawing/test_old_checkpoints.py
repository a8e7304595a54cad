"""Checkpoints as Stable Diffusion 1.5 is: written by diffusers 0.6, with a safety checker."""

import json
import shutil
from pathlib import Path

import pytest
import tiny_diffusion
import torch
from diffusers import AutoencoderKL
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor

from tritone.drawing.diffusion_networks import VaeDecoder, VaeEncoder
from tritone.drawing.stable_diffusion import SCHEDULERS, Checkpoint

PUBLIC = Path(__file__).parents[2] / "data/stable_diffusion_1_5"  # its configuration files, of 2022


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The public files with small networks of random weights: each config.json has the keys of 2022 and no others."""
    folder = tmp_path_factory.mktemp("old") / "checkpoint"
    tiny = tiny_diffusion.pipeline()
    tiny.vae.save_pretrained(folder / "vae")
    shutil.copy(PUBLIC / "model_index.json", folder)
    old, written = (json.loads((place / "vae/config.json").read_text()) for place in (PUBLIC, folder))
    (folder / "vae/config.json").write_text(json.dumps({**old, **{key: written[key] for key in old if key[0] != "_"}}))
    checker = CLIPConfig(
        text_config={"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
        vision_config={
            "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 16,
        },
        projection_dim=8,
    )  # fmt: skip
    StableDiffusionSafetyChecker(checker).save_pretrained(folder / "safety_checker")
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder / "feature_extractor")
    return folder


def test_a_checkpoint_of_2022_is_read():
    checkpoint = Checkpoint.read(PUBLIC)
    assert (checkpoint.scaling_factor, checkpoint.default_side) == (0.18215, 512)
    assert (checkpoint.unet_channels, checkpoint.latent_channels, checkpoint.vae_scale_factor) == (4, 4, 8)
    assert checkpoint.scheduler["clip_sample"] is False


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_takes_the_settings_of_2022(name):
    scheduler = SCHEDULERS[name].from_config(Checkpoint.read(PUBLIC).scheduler)
    scheduler.set_timesteps(20)
    assert 950 < float(scheduler.timesteps[0]) < 1000


def test_what_the_file_does_not_say_is_what_diffusers_takes(folder):
    assert "scaling_factor" not in json.loads((folder / "vae/config.json").read_text())
    config = AutoencoderKL.from_pretrained(folder / "vae").config
    assert Checkpoint.read(PUBLIC).scaling_factor == config.scaling_factor


def test_an_autoencoder_of_2022_draws_through_its_safety_checker(folder):
    decoder, encoder = VaeDecoder(folder, "cpu", "auto"), VaeEncoder(folder, "cpu", "auto")
    latents = torch.randn(2, 4, 16, 16)
    out = decoder(latents)
    assert out["image"].shape == (2, 32, 32, 3)
    assert out["nsfw_content_detected"].shape == (2, 1)
    decoder.checker.concept_embeds_weights.data.fill_(-2.0)  # now it objects to everything
    assert decoder(latents)["nsfw_content_detected"].tolist() == [[True], [True]]
    assert torch.equal(decoder(latents)["image"], out["image"])
    assert encoder(torch.zeros(1, 3, 32, 32))["latents_mean"].shape == (1, 4, 16, 16)

"""Stable Diffusion's networks in their true widths on a GPU that is not there: loading, warming up, a step."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from fake_cuda import count_synchronisations, fake_cuda
from fakes.fake_graph import FakeCapture
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tritone import cuda_graphs
from tritone.drawing import diffusion_networks
from tritone.drawing.diffusion_networks import TextEncoder, UNet, VaeDecoder, VaeEncoder

PUBLIC = Path(__file__).parents[2] / "data/stable_diffusion_1_5"
DEVICE = "cuda:1"
HALVES = ["float16", "bfloat16"]

pytestmark = pytest.mark.parametrize("dtype", HALVES)


@pytest.fixture
def card(monkeypatch):
    """The fake card, where networks of Stable Diffusion 1.5 are loaded: with its shapes, without its numbers."""

    def stand_in(network, build):
        monkeypatch.setattr(network, "from_pretrained", lambda _, dtype, **options: build().to(dtype))

    def written(part):
        """The public settings with one layer a block: half the time, and nothing else to see."""
        return {**json.loads((PUBLIC / part / "config.json").read_text()), "layers_per_block": 1}

    stand_in(UNet2DConditionModel, lambda: UNet2DConditionModel.from_config(written("unet")))
    stand_in(AutoencoderKL, lambda: AutoencoderKL.from_config(written("vae")))
    stand_in(StableDiffusionSafetyChecker, lambda: StableDiffusionSafetyChecker(CLIPConfig(
        vision_config={
            "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 2, "num_attention_heads": 16,
            "patch_size": 14,
        },
        projection_dim=768,
    )))  # fmt: skip
    stand_in(CLIPTextModel, lambda: CLIPTextModel(CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=2, num_attention_heads=12,
    )))  # fmt: skip
    monkeypatch.setattr(CLIPImageProcessor, "from_pretrained", lambda _: CLIPImageProcessor())
    with fake_cuda() as card:
        yield card


def test_a_step_of_the_unet_waits_for_nothing(card, dtype):
    unet = UNet(PUBLIC, DEVICE, dtype)
    latents, states = torch.zeros(4, 4, 64, 64, device=DEVICE), torch.zeros(4, 77, 768, device=DEVICE)
    timestep = torch.zeros(4, 1, device=DEVICE)
    with count_synchronisations() as waits:
        noise_pred = unet(latents, timestep, states)["noise_pred"]
    assert waits.found == []
    assert (noise_pred.shape, noise_pred.device, noise_pred.dtype) == (latents.shape, latents.device, torch.float32)


def test_the_unets_usual_step_is_a_graph_of_which_nothing_is_on_the_host(card, dtype, monkeypatch):
    capture = FakeCapture()
    monkeypatch.setattr(diffusion_networks, "capture_on", lambda *_: capture)
    monkeypatch.setattr(cuda_graphs, "must_be_near", lambda *_: None)  # there are no numbers
    unet = UNet(PUBLIC, DEVICE, dtype, cuda_graphs=True)
    [graph] = capture.graphs
    assert len(unet.graphs) == 1, unet.graphs.without
    assert graph.devices() == {torch.device(DEVICE)}
    with count_synchronisations() as waits:
        unet(*unet._usual())
    assert waits.found == []


def test_no_weight_is_ever_in_float32_on_the_card(card, dtype):
    UNet(PUBLIC, DEVICE, dtype)
    weights = {(320, 4, 3, 3), (1280, 1280, 3, 3), (1280, 1280)}
    assert not card.shapes(torch.float32) & weights
    assert card.shapes(getattr(torch, dtype)) >= weights


def test_an_autoencoder_puts_only_its_own_half_on_the_card(card, dtype):
    VaeDecoder(PUBLIC, DEVICE, dtype, check_safety=False)
    encoders = {(128, 3, 3, 3), (8, 512, 3, 3)}  # first and last convolution
    decoders = {(512, 4, 3, 3), (3, 128, 3, 3)}
    half = getattr(torch, dtype)
    assert not card.shapes(half) & encoders
    assert card.shapes(half) >= decoders
    card.placed.clear()
    VaeEncoder(PUBLIC, DEVICE, dtype)
    assert not card.shapes(half) & decoders
    assert card.shapes(half) >= encoders


def test_pictures_come_through_the_safety_checker(card, dtype):
    decoder = VaeDecoder(PUBLIC, DEVICE, dtype)
    with count_synchronisations() as waits:
        out = decoder(torch.zeros(2, 4, 64, 64, device=DEVICE))
    assert out["image"].shape == (2, 512, 512, 3)
    assert (out["image"].dtype, out["nsfw_content_detected"].shape) == (torch.uint8, (2, 1))
    # The pictures, what the checker is shown of them, and its two answers.
    assert len(waits) == 4, waits.found


def test_a_picture_is_encoded_without_a_wait(card, dtype):
    encoder = VaeEncoder(PUBLIC, DEVICE, dtype)
    pixel_values = torch.zeros(1, 3, 512, 512, device=DEVICE)
    with count_synchronisations() as waits:
        out = encoder(pixel_values)
    assert waits.found == []
    assert {(each.shape, each.dtype) for each in out.values()} == {((1, 4, 64, 64), torch.float32)}


def test_prompts_go_there_and_their_states_come_back(card, dtype, monkeypatch):
    class Tokenizer:
        model_max_length = 77

        def __call__(self, prompts, **_):
            return Tokens(torch.zeros(len(prompts), 77, dtype=torch.long), torch.ones(len(prompts), 77))

    class Tokens:
        def __init__(self, input_ids, attention_mask):
            self.input_ids, self.attention_mask = input_ids, attention_mask

        def to(self, device):
            return Tokens(self.input_ids.to(device), self.attention_mask.to(device))

    monkeypatch.setattr(CLIPTokenizer, "from_pretrained", lambda _: Tokenizer())
    encoder = TextEncoder(PUBLIC, DEVICE, dtype)
    with count_synchronisations() as waits:
        states = encoder.encode(["a", "b"])
    assert (states.shape, states.device.type, states.dtype) == ((2, 77, 768), "cpu", torch.float32)
    assert len(waits) == 3, waits.found  # ids and mask go there, states come back

"""Random Stable Diffusion pipelines, small enough to run in a test, and the loop's callables over their modules."""

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tritone.drawing.diffusion_networks import UNet, VaeDecoder, VaeEncoder
from tritone.drawing.stable_diffusion import Decoded, Networks, Posterior

SIDE = 32


def tokenizer():
    tokens = [chr(code) for code in range(97, 123)]
    vocabulary = [*tokens, *(token + "</w>" for token in [*tokens, ","]), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[], model_max_length=77)


def pipeline(prediction_type="epsilon", unet_channels=4):
    """A pipeline with random weights; 32 × 32 pixels, 16 × 16 latents."""
    torch.manual_seed(0)
    tokens = tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        bos_token_id=tokens.bos_token_id, eos_token_id=tokens.eos_token_id, pad_token_id=tokens.pad_token_id,
    )  # fmt: skip
    built = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, sample_size=SIDE,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=tokens,
        unet=UNet2DConditionModel(
            sample_size=SIDE // 2, in_channels=unet_channels, out_channels=4, block_out_channels=(8, 16),
            layers_per_block=1, cross_attention_dim=32, attention_head_dim=4, norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1,
            set_alpha_to_one=False, prediction_type=prediction_type,
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    built.scheduler.register_to_config(clip_sample=False)  # as Stable Diffusion 1.5 has it
    built.set_progress_bar_config(disable=True)
    return built


def save(folder, **options):
    """A saved pipeline and the same loaded again."""
    pipeline(**options).save_pretrained(folder)
    loaded = StableDiffusionPipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def networks(folder, predict_noise=None):
    """The loop's callables over the networks of a folder, in this process."""
    from tritone.drawing.diffusion_networks import TextEncoder

    encoder, unet = TextEncoder(folder, "cpu", "auto"), UNet(folder, "cpu", "auto")
    decoder, image_encoder = VaeDecoder(folder, "cpu", "auto"), VaeEncoder(folder, "cpu", "auto")

    async def encode_prompt(prompts):
        return encoder.encode(prompts)

    async def predict(latents, timestep, states, steps_left):
        return unet(latents, timestep[:, None], states)["noise_pred"]

    async def decode_latents(latents):
        out = decoder(latents)
        return Decoded(out["image"].numpy(), out["nsfw_content_detected"].numpy()[:, 0])

    async def encode_image(pixel_values):
        return Posterior(*image_encoder(pixel_values).values())

    return Networks(encode_prompt, predict_noise or predict, decode_latents, encode_image)

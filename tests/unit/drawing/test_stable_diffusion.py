"""The loop against diffusers' own pipelines: same modules, same seed, same picture."""

import asyncio

import numpy as np
import pytest
import tiny_diffusion
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline
from PIL import Image

from tritone.drawing.stable_diffusion import SCHEDULERS, Checkpoint, Limits, check, denoise
from tritone.errors import InvalidInput, NotServed

LIMITS = Limits(max_steps=50, max_side=128, max_images=4, max_characters=200, max_guidance_scale=30)
WISHES = {
    "prompt": "a red circle",
    "negative_prompt": "blue",
    "height": None,
    "width": None,
    "num_inference_steps": 6,
    "guidance_scale": 5.0,
    "num_images": 1,
    "seed": 11,
    "scheduler": "ddim",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("stable_diffusion")
    tiny_diffusion.save(path, prediction_type="v_prediction")
    return path


@pytest.fixture(scope="module")
def reference(folder):
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def job(folder, **wishes):
    return check(LIMITS, Checkpoint.read(folder), **{**WISHES, **wishes})


def draw(folder, networks=None, **wishes):
    """Pictures uint8 (n, height, width, 3), and the numbers of the steps."""

    async def run():
        nets, steps = networks or tiny_diffusion.networks(folder), []
        async for step in denoise(job(folder, **wishes), Checkpoint.read(folder), nets):
            steps.append((step.step, step.num_steps))
            latents = step.latents
        return (await nets.decode_latents(latents)).image, steps

    return asyncio.run(run())


def expected(pipeline, seeds, **wishes):
    """The diffusers pipeline's picture of each seed."""
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    common = {
        key: value for key, value in {**WISHES, **wishes}.items() if key not in ("num_images", "seed", "scheduler")
    }
    images = [pipeline(generator=each, output_type="np", **common).images[0] for each in generators]
    return (np.stack(images) * 255).round().astype(np.uint8)


def difference(one, other):
    return np.abs(one.astype(int) - other.astype(int)).max()


def with_scheduler(pipeline, name, kind=None):
    scheduler = SCHEDULERS[name].from_config(pipeline.scheduler.config)
    if kind is None:
        pipeline.scheduler = scheduler
        return pipeline
    built = kind(**{**pipeline.components, "scheduler": scheduler}, requires_safety_checker=False)
    built.set_progress_bar_config(disable=True)
    return built


def picture(seed=0, side=tiny_diffusion.SIDE):
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8))
    return np.asarray(small.resize((side, side)))


def half_mask(side=tiny_diffusion.SIDE):
    mask = np.zeros((side, side, 3), np.uint8)
    mask[:, side // 2 :] = 255
    return mask


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_a_picture_is_the_diffusers_pipelines(folder, reference, scheduler, guidance_scale):
    wishes = {"guidance_scale": guidance_scale, "num_inference_steps": 7, "height": 40, "width": 24}
    drawn, steps = draw(folder, scheduler=scheduler, **wishes)
    assert difference(drawn, expected(with_scheduler(reference, scheduler), [11], **wishes)) <= 1
    assert drawn.shape == (1, 40, 24, 3)
    assert steps == [(number, len(steps)) for number in range(1, len(steps) + 1)]


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a"])
def test_each_of_several_images_is_the_picture_that_its_seed_gives_alone(folder, reference, scheduler):
    drawn, _ = draw(folder, scheduler=scheduler, num_images=3)
    assert difference(drawn, expected(with_scheduler(reference, scheduler), [11, 12, 13])) <= 1
    assert difference(drawn[0], drawn[1]) > 5


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_image_to_image_is_the_diffusers_pipelines(folder, reference, scheduler):
    pipeline = with_scheduler(reference, scheduler, StableDiffusionImg2ImgPipeline)
    image = picture()
    drawn, steps = draw(folder, scheduler=scheduler, image=image, strength=0.6, num_inference_steps=10, num_images=2)
    wishes = {"image": Image.fromarray(image), "strength": 0.6, "num_inference_steps": 10}
    reference_images = [
        pipeline(
            WISHES["prompt"], negative_prompt=WISHES["negative_prompt"], guidance_scale=5.0, output_type="np",
            generator=torch.Generator("cpu").manual_seed(seed), **wishes,
        ).images[0]
        for seed in (11, 12)
    ]  # fmt: skip
    assert difference(drawn, (np.stack(reference_images) * 255).round().astype(np.uint8)) <= 1
    assert len(steps) < 10


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a", "pndm", "dpmpp_2m"])
@pytest.mark.parametrize(("strength", "channels"), [(1.0, 4), (0.7, 4), (1.0, 9), (0.7, 9)])
def test_inpainting_is_the_diffusers_pipelines(folder, reference, tmp_path, scheduler, strength, channels):
    if channels == 9:
        folder = tmp_path
        reference = tiny_diffusion.save(folder, prediction_type="v_prediction", unet_channels=9)
    pipeline = with_scheduler(reference, scheduler, StableDiffusionInpaintPipeline)
    image, mask = picture(), half_mask()
    drawn, _ = draw(folder, scheduler=scheduler, image=image, mask=mask, strength=strength, num_inference_steps=8)
    images = {"image": Image.fromarray(image), "mask_image": Image.fromarray(mask), "strength": strength}
    wanted = expected(pipeline, [11], num_inference_steps=8, **images, height=32, width=32)
    assert difference(drawn, wanted) <= 1


def test_without_guidance_the_unet_is_asked_for_one_row_an_image_and_with_it_for_two(folder):
    rows = []

    async def predict_noise(latents, timestep, states, steps_left):
        rows.append((len(latents), len(timestep), len(states), steps_left))
        return torch.zeros_like(latents)

    for guidance_scale in (1.0, 2.0):
        draw(folder, tiny_diffusion.networks(folder, predict_noise), guidance_scale=guidance_scale, num_images=2)
    assert rows == [(2, 2, 2, left) for left in range(6, 0, -1)] + [(4, 4, 4, left) for left in range(6, 0, -1)]


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"height": 65}, ("height is 65", "multiple of 8", "128")),
        ({"width": 136}, ("width is 136", "128")),
        ({"width": -8}, ("width is -8",)),
        ({"num_inference_steps": 0}, ("num_inference_steps is 0", "1 to 50")),
        ({"num_inference_steps": 51}, ("num_inference_steps is 51", "50")),
        ({"guidance_scale": float("nan")}, ("guidance_scale is nan", "30")),
        ({"guidance_scale": float("inf")}, ("guidance_scale is inf", "30")),
        ({"guidance_scale": -1.0}, ("guidance_scale is -1", "0 to 30")),
        ({"prompt": "x" * 10_000}, ("prompt has 10,000 characters", "200")),
        ({"negative_prompt": "x" * 201}, ("negative_prompt has 201", "200")),
        ({"scheduler": "heun"}, ("'heun'", "ddim, euler, euler_a, dpmpp_2m, lms, pndm, unipc")),
        ({"seed": -1}, ("seed is -1", "from 0")),
        ({"num_images": 5}, ("num_images is 5", "1 to 4")),
        ({"num_images": 0}, ("num_images is 0",)),
        ({"mask": half_mask()}, ("mask_bytes came without image_bytes",)),
        ({"image": picture(), "strength": 1.5}, ("strength is 1.5", "0 to 1")),
        ({"image": picture(), "strength": 0.1}, ("strength 0.1 of 6", "no step")),
        ({"image": picture(side=200)}, ("height is 200", "128")),
    ],
)
def test_a_wish_over_a_limit_is_refused_with_value_and_limit(folder, wishes, words):
    with pytest.raises(InvalidInput) as refusal:
        job(folder, **wishes)
    for word in words:
        assert word in str(refusal.value)


def test_a_unet_that_only_inpaints_says_so(tmp_path):
    tiny_diffusion.save(tmp_path, unet_channels=9)
    with pytest.raises(NotServed, match="only inpaints"):
        job(tmp_path)

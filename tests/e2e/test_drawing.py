"""Stable Diffusion on the real server against plain diffusers, and against what the prompts ask for."""

import io
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from evaluate_diffusion import read
from tritone import checkpoints
from tritone.vision.shapes import CHINESE, SHAPES
from tritone_client import GeneratedImages, ImageProgress, InvalidInput

pytestmark = pytest.mark.e2e
SCHEDULERS = ("ddim", "euler", "euler_a", "dpmpp_2m", "lms", "pndm", "unipc")


@pytest.fixture(scope="module")
def pipeline():
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(checkpoints.path("stable_diffusion"), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def diffusers_picture(pipeline):
    """diffusers_picture(prompt, seed, scheduler, **wishes): uint8 (height, width, 3)."""
    from tritone.drawing.stable_diffusion import SCHEDULERS as CLASSES

    def draw(prompt, seed, scheduler, **wishes):
        pipeline.scheduler = CLASSES[scheduler].from_config(pipeline.scheduler.config)
        image = pipeline(prompt, generator=torch.Generator("cpu").manual_seed(seed), output_type="np", **wishes)
        return (image.images[0] * 255).round().astype(np.uint8)

    return draw


def difference(one, other):
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other.astype(int)).max()


def unet_executions(server):
    with urllib.request.urlopen(f"http://{server.http}/v2/models/sd_unet/stats") as answer:
        return json.load(answer)["model_stats"][0]["execution_count"]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_picture_is_the_diffusers_pipelines(client, diffusers_picture, scheduler):
    wishes = {"num_inference_steps": 9, "guidance_scale": 4.5, "negative_prompt": "blurry"}
    drawn = client.generate_image("a red circle", seed=21, scheduler=scheduler, **wishes)
    assert drawn.image.seed == 21
    assert difference(drawn.image.pixels, diffusers_picture("a red circle", 21, scheduler, **wishes)) <= 1
    assert (np.asarray(Image.open(io.BytesIO(drawn.image.png))) == drawn.image.pixels).all()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_it_is_the_same_while_four_others_with_other_wishes_are_drawn(client, diffusers_picture, scheduler):
    wishes = {"num_inference_steps": 8, "guidance_scale": 5.0}
    others = [
        {"num_inference_steps": 14, "scheduler": "ddim"},
        {"num_inference_steps": 5, "scheduler": "euler_a", "height": 96, "width": 72},
        {"num_inference_steps": 11, "scheduler": "lms", "guidance_scale": 1.0},
        {"num_inference_steps": 7, "scheduler": "unipc", "num_images": 3},
    ]
    with ThreadPoolExecutor(4) as pool:
        crowd = [
            pool.submit(client.generate_image, "a blue square", seed=seed, **wish) for seed, wish in enumerate(others)
        ]
        drawn = client.generate_image("一个红色的圆形", seed=5, scheduler=scheduler, **wishes)
        assert [len(each.result().images) for each in crowd] == [1, 1, 1, 3]
    assert difference(drawn.image.pixels, diffusers_picture("一个红色的圆形", 5, scheduler, **wishes)) <= 1


@pytest.mark.parametrize(
    ("prompt", "colour", "shape"),
    [
        ("a red circle", "red", "circle"),
        ("purple heart", "purple", "heart"),
        ("一个绿色的正方形", "green", "square"),
        ("a picture of a yellow triangle", "yellow", "triangle"),
        ("黄色星形", "yellow", "star"),
    ],
)
@pytest.mark.parametrize("style", [None, "油画"])
def test_the_picture_shows_what_was_asked_for_in_any_style(client, prompt, colour, shape, style):
    drawn = client.generate_image(prompt, seed=0, num_images=4, style=style)
    seen = [read(image.pixels) for image in drawn.images]
    assert seen.count((colour, shape)) >= 3, seen


def test_a_seed_is_drawn_told_and_gives_the_same_picture_again(client):
    one, two = (client.generate_image("a red circle", num_inference_steps=4).image for _ in range(2))
    assert one.seed != two.seed
    again = client.generate_image("a red circle", num_inference_steps=4, seed=one.seed).image
    assert difference(one.pixels, again.pixels) == 0
    assert difference(one.pixels, two.pixels) > 1


def test_a_stream_reports_every_step_and_ends_with_the_pictures_of_the_unary_face(client):
    wishes = {"seed": 8, "num_inference_steps": 6, "num_images": 2, "scheduler": "ddim"}
    *progress, last = client.generate_image_stream("a blue star", preview_interval=2, **wishes)
    assert [(part.step, part.num_steps, len(part.previews)) for part in progress] == [
        (1, 6, 0), (2, 6, 2), (3, 6, 0), (4, 6, 2), (5, 6, 0), (6, 6, 0)
    ]  # fmt: skip
    assert all(isinstance(part, ImageProgress) for part in progress)
    assert Image.open(io.BytesIO(progress[1].previews[0])).size == (64, 64)
    assert isinstance(last, GeneratedImages)
    assert [image.png for image in last.images] == [
        image.png for image in client.generate_image("a blue star", **wishes).images
    ]


def test_an_image_is_changed_and_only_the_masks_white_part_is_painted_anew(client):
    from tritone.vision.shapes import Background, Scene, render

    grey = Scene((), Background("plain", (200, 200, 210), (200, 200, 210), 0))
    start = np.asarray(render(grey, 64))
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[:, 32:] = 255
    painted = client.generate_image("a red circle", image=start, mask=mask, strength=1.0, seed=2).image.pixels
    assert np.abs(painted[:, :24].astype(int) - start[:, :24]).mean() < 12
    assert np.abs(painted[:, 40:].astype(int) - start[:, 40:]).mean() > 25
    redrawn = client.generate_image("a red circle", image=start, strength=0.9, seed=2).image.pixels
    assert difference(redrawn, start) > 60


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"height": 65}, ("height is 65", "multiple of 8", "1024")),
        ({"width": 1032}, ("width is 1032", "1024")),
        ({"num_inference_steps": 0}, ("num_inference_steps is 0", "1 to 150")),
        ({"guidance_scale": float("nan")}, ("guidance_scale is nan", "50")),
        ({"prompt": "x" * 10_000}, ("10,000 characters", "2,000")),
        ({"scheduler": "heun"}, ("'heun'", "dpmpp_2m")),
        ({"style": "baroque"}, ("'baroque'", "油画")),
        ({"seed": -1}, ("seed is -1", "from 0")),
        ({"num_images": 5}, ("num_images is 5", "1 to 4")),
        ({"image": b"no picture"}, ("image_bytes is no readable",)),
        ({"image": np.zeros((64, 64, 3), np.uint8), "strength": -0.5}, ("strength is -0.5", "0 to 1")),
    ],
)
def test_a_bad_wish_fails_alone_with_value_and_limit(client, wishes, words):
    with ThreadPoolExecutor(1) as pool:
        neighbour = pool.submit(client.generate_image, "a red circle", seed=1, num_inference_steps=6)
        with pytest.raises(InvalidInput) as refusal:
            client.generate_image(**{"prompt": "a red circle", **wishes})
        assert len(neighbour.result().images) == 1
    for word in words:
        assert word in str(refusal.value)


def test_a_prompt_longer_than_the_window_says_what_was_cut(client):
    long = client.generate_image(f"a red circle {'very ' * 100}round", num_inference_steps=1)
    assert long.prompt_tokens > 77
    assert long.truncated_text.endswith("round")
    assert client.generate_image("a red circle", num_inference_steps=1).truncated_text == ""


def test_leaving_stops_the_unet_within_a_step_and_touches_nobody_else(client, server):
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(client.generate_image, "a red circle", seed=4, num_inference_steps=20)
        stream = client.generate_image_stream("a blue star", num_inference_steps=150, num_images=2)
        for _ in range(3):
            next(stream)
        stream.close()
        whole = other.result().image
    time.sleep(0.5)  # the poll for cancellation and the step under way
    before = unet_executions(server)
    time.sleep(1.0)
    assert unet_executions(server) <= before + 1  # the watchdog's canary is one
    alone = client.generate_image("a red circle", seed=4, num_inference_steps=20).image
    assert difference(alone.pixels, whole.pixels) <= 1


def test_users_steps_are_joined(client, server):
    before = unet_executions(server)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda seed: client.generate_image("a red circle", seed=seed, num_inference_steps=20), range(6)))
    assert unet_executions(server) - before <= 3 * 20  # alone they would be 120


def test_plain_http_and_only_what_is_requested(server):
    body = {
        "inputs": [
            {"name": "prompt", "shape": [1, 1], "datatype": "BYTES", "data": [CHINESE["red"] + CHINESE["circle"]]},
            {"name": "num_inference_steps", "shape": [1, 1], "datatype": "INT32", "data": [2]},
            {"name": "seed", "shape": [1, 1], "datatype": "INT64", "data": [9]},
        ],
        "outputs": [{"name": "seed"}],
    }
    request = urllib.request.Request(
        f"http://{server.http}/v2/models/text_to_image/infer", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request) as answer:
        outputs = json.load(answer)["outputs"]
    assert [(each["name"], each["data"]) for each in outputs] == [("seed", [9])]


def test_what_is_drawn_is_found_by_clip_and_named_by_llava(client):
    captions = [
        f"a {colour} {shape}" for colour in ("blue", "red", "green", "yellow", "purple") for shape in SHAPES[:4]
    ]
    assert len(captions) == 20
    picture = client.generate_image("a blue triangle", seed=0).image.png
    assert client.rank(picture, captions)[0].candidate == "a blue triangle"
    assert "blue" in client.ask("What color is it?", picture).text.lower()

"""The real model.py files of Stable Diffusion under a fake `pb_utils`, with a small random checkpoint."""

import base64

import numpy as np
import pytest
import tiny_diffusion
import triton_python_backend_utils as pb_utils
from server.asking import INVALID, UNAVAILABLE, plug
from server.conftest import Served

from tritone.checkpoints import VARIABLE
from tritone.media.image import encode_png

PARTS = ("sd_text_encoder", "sd_unet", "sd_vae_decoder", "sd_vae_encoder", "image_decoder", "stable_diffusion")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    tiny_diffusion.save(root / "stable_diffusion")
    return root


@pytest.fixture
def house(root, monkeypatch):
    """All models by name, reachable for each other as on the server; parameters may be changed by name."""
    monkeypatch.setenv(VARIABLE, str(root))
    pb_utils.MODELS.clear()

    def build(**parameters):
        models = {name: Served(name, parameters.get(name, {}).items()) for name in (*PARTS, "text_to_image")}
        plug(**models)
        return models

    return build


def wish(model, **inputs):
    defaults = {"prompt": ["a red circle"], "seed": [3], "num_inference_steps": [3], "scheduler": ["ddim"]}
    return model.request(**{**defaults, **inputs})


def test_the_unary_face_gives_the_pictures_of_the_stream(house):
    models = house()
    streamed, unary = models["stable_diffusion"], models["text_to_image"]
    [parts] = streamed.execute(wish(streamed, num_images=[2], preview_interval=[2]))
    assert [part["step"][0] for part in parts[:-1]] == [1, 2, 3]
    assert parts[1]["preview_png"][0].startswith(b"\x89PNG")
    [[whole]] = unary.execute(wish(unary, num_images=[2]))
    assert whole["image"].shape == (2, 32, 32, 3)
    assert (whole["image"] == parts[-1]["image"]).all()
    assert whole["seed"].tolist() == [3, 4]
    assert [png[:4] for png in whole["image_png"]] == [b"\x89PNG"] * 2


def test_a_bad_wish_fails_alone(house):
    model = house()["stable_diffusion"]
    good, bad = model.execute(wish(model), wish(model, height=[65]))
    assert good[-1]["image"].shape == (1, 32, 32, 3)
    [error] = bad
    assert error.error().code() == INVALID
    assert "height is 65" in error.error().message()


def test_a_picture_and_its_mask_may_come_as_text_and_a_broken_mask_is_named_as_one(house):
    models = house()
    model = models["text_to_image"]
    files = [encode_png(np.full((32, 32, 3), grey, np.uint8)) for grey in (90, 255)]
    url = b"data:image/png;base64," + base64.b64encode(files[1])
    written, plain, broken, cut = (
        wish(model, image_bytes=[image], mask_bytes=[mask])
        for image, mask in [
            (base64.b64encode(files[0]), url),
            files,
            (files[0], base64.b64encode(files[1])[:-3]),
            (files[0], files[1][:-30]),
        ]
    )
    [[written], [plain], [broken], [cut]] = model.execute(written, plain, broken, cut)
    assert np.array_equal(written["image"], plain["image"])
    assert broken.error().message().startswith("mask_bytes is broken base64")
    assert cut.error().message().startswith("mask_bytes")
    assert {broken.error().code(), cut.error().code()} == {INVALID}


def test_the_safety_checkers_objection_is_an_error_that_says_so(house):
    model = house()["stable_diffusion"]
    decode = pb_utils.MODELS["sd_vae_decoder"]

    def objecting(request):
        [response] = decode(request)
        tensors = [tensor for tensor in response.output_tensors() if tensor.name() == "image"]
        blocked = pb_utils.Tensor("nsfw_content_detected", np.array([[True]]))
        return [pb_utils.InferenceResponse([*tensors, blocked])]

    pb_utils.MODELS["sd_vae_decoder"] = objecting
    [parts] = model.execute(wish(model))
    assert parts[-1].error().code() == INVALID
    assert "safety checker blocked 1 of 1" in parts[-1].error().message()


def test_the_networks_refuse_tensors_of_another_checkpoint(house):
    models = house()
    shapes = {"latents": (4, 8, 8), "encoder_hidden_states": (77, 5)}
    inputs = {name: [np.zeros(shape, np.float32)] for name, shape in shapes.items()}
    [response] = models["sd_unet"].execute(models["sd_unet"].request(timestep=[1.0], **inputs))
    assert response.error().code() == INVALID
    assert "a width of 5" in response.error().message()
    [response] = models["sd_vae_decoder"].execute(
        models["sd_vae_decoder"].request(latents=[np.zeros((3, 8, 8), np.float32)])
    )
    assert "3 channels" in response.error().message()


def test_slicing_and_tiling_change_no_picture(house):
    plain = house()["text_to_image"]
    [[expected]] = plain.execute(wish(plain))
    frugal = house(
        sd_unet={"attention_slicing": "true"},
        sd_vae_decoder={"slicing": "true", "tiling": "true"},
        sd_vae_encoder={"slicing": "true", "tiling": "true"},
    )["text_to_image"]
    [[drawn]] = frugal.execute(wish(frugal))
    assert np.abs(drawn["image"].astype(int) - expected["image"]).max() <= 1


def test_over_the_limit_is_refused_at_once(house):
    model = house(stable_diffusion={"max_in_flight": "1"})["stable_diffusion"]
    first, second = model.execute(wish(model, num_inference_steps=[20]), wish(model))
    assert first[-1]["image"].shape == (1, 32, 32, 3)
    assert second[0].error().code() == UNAVAILABLE


def test_a_users_styles_are_served(house, tmp_path):
    file = tmp_path / "styles.toml"
    file.write_text('[styles.baroque]\nwords = ["baroque painting"]\n', encoding="utf-8")
    model = house(stable_diffusion={"styles": str(file)})["stable_diffusion"]
    styled, plain, unknown = model.execute(wish(model, style=["baroque"]), wish(model), wish(model, style=["rococo"]))
    assert styled[-1]["prompt_tokens"][0] > plain[-1]["prompt_tokens"][0]
    assert (styled[-1]["image"] != plain[-1]["image"]).any()
    assert "baroque" in unknown[0].error().message()

"""/v1/images, with OpenAI's SDK in front and a mock of the server behind."""

import base64
import io

import numpy as np
import openai
import pytest
from mock_tritone import drawn, png
from PIL import Image

MODEL = "stable_diffusion"


def opened(b64_json):
    return Image.open(io.BytesIO(base64.b64decode(b64_json)))


def inputs(request):
    return {name: value[0].tolist() for name, value in request.inputs.items()}


def test_pictures_come_as_files_with_their_seeds(gateway):
    answer = gateway.sdk.images.generate(model=MODEL, prompt="一个红色的圆形", n=2, size="512x256")
    assert [opened(image.b64_json).getpixel((0, 0)) for image in answer.data] == [(0, 0, 255)] * 2
    assert [image.seed for image in answer.data] == [7, 8]
    assert (answer.size, answer.output_format, answer.usage.input_tokens) == ("16x8", "png", 5)
    asked = inputs(gateway.asked)
    assert (asked["width"], asked["height"], asked["num_images"]) == ([512], [256], [2])
    assert gateway.asked.text("prompt") == "一个红色的圆形"


@pytest.mark.parametrize(("wanted", "kind"), [("jpeg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
def test_pictures_come_in_the_format_that_was_asked_for(gateway, wanted, kind):
    answer = gateway.sdk.images.generate(model="gpt-image-1", prompt="a", output_format=wanted, output_compression=90)
    picture = opened(answer.data[0].b64_json)
    assert picture.format == kind
    assert np.abs(np.array(picture.convert("RGB"))[0, 0].astype(int) - (0, 0, 255)).max() < 8


def test_quality_is_steps_and_stable_diffusions_own_words_go_through(gateway):
    own = {"seed": 3, "negative_prompt": "blur", "guidance_scale": 2.5, "scheduler": "euler"}
    gateway.sdk.images.generate(model=MODEL, prompt="a", quality="low", extra_body=own)
    asked = inputs(gateway.asked)
    assert (asked["num_inference_steps"], asked["seed"], asked["scheduler"]) == ([10], [3], [b"euler"])
    assert (asked["negative_prompt"], asked["guidance_scale"]) == ([b"blur"], [2.5])


def test_the_end_of_a_prompt_that_was_not_read_is_told(serve):
    gateway = serve(lambda request: {**drawn(), "truncated_text": " and a star"})
    answer = gateway.sdk.images.generate(model=MODEL, prompt="a circle and a star")
    assert answer.data[0].revised_prompt == "a circle"


def test_previews_come_spread_over_the_drawing(serve):
    gateway = serve(default_image_steps=8)
    events = list(gateway.sdk.images.generate(model=MODEL, prompt="a", stream=True, partial_images=3))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 3 + ["image_generation.completed"]
    assert [event.partial_image_index for event in events[:3]] == [0, 1, 2]
    assert [opened(event.b64_json).getpixel((0, 0))[0] for event in events[:3]] == [2, 4, 6]  # of 8 steps
    assert (events[3].size, events[3].usage.total_tokens) == ("16x8", 5)
    assert opened(events[3].b64_json).getpixel((0, 0)) == (0, 0, 255)


def test_a_stream_without_previews_is_the_picture(gateway):
    events = list(gateway.sdk.images.generate(model=MODEL, prompt="a", stream=True))
    assert [event.type for event in events] == ["image_generation.completed"]
    assert "preview_interval" not in gateway.asked.inputs


def test_a_picture_is_drawn_anew_as_a_whole(gateway):
    answer = gateway.sdk.images.edit(model=MODEL, image=("a.png", png()), prompt="blue", extra_body={"strength": 0.5})
    assert opened(answer.data[0].b64_json).size == (16, 8)
    assert gateway.asked.inputs["image_bytes"][0, 0] == png()
    assert inputs(gateway.asked)["strength"] == [0.5]
    assert "mask_bytes" not in gateway.asked.inputs


def half_clear(size=(16, 8)):
    picture = Image.new("RGBA", size, (0, 255, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_what_is_transparent_in_the_mask_is_white_for_the_server(gateway):
    gateway.sdk.images.edit(model=MODEL, image=("a.png", png()), mask=("m.png", half_clear()), prompt="blue")
    mask = Image.open(io.BytesIO(gateway.asked.inputs["mask_bytes"][0, 0]))
    assert (mask.getpixel((0, 0)), mask.getpixel((15, 7))) == (255, 0)


def test_a_picture_with_holes_is_its_own_mask(gateway):
    gateway.sdk.images.edit(model=MODEL, image=("a.png", half_clear()), prompt="blue")
    mask = Image.open(io.BytesIO(gateway.asked.inputs["mask_bytes"][0, 0]))
    assert (mask.getpixel((0, 0)), mask.getpixel((15, 7))) == (255, 0)


def test_an_edit_streams_as_an_edit(gateway):
    events = list(
        gateway.sdk.images.edit(model=MODEL, image=("a.png", png()), prompt="blue", stream=True, partial_images=1)
    )
    assert [event.type for event in events][-1] == "image_edit.completed"


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (png(), "no transparency"),
        (half_clear((8, 8)), "mask has 8x8 pixels, the image has 16x8"),
        (b"text", "no picture that can be read"),
    ],
)
def test_a_mask_that_is_none_is_refused(gateway, mask, said):
    with pytest.raises(openai.BadRequestError, match=said) as caught:
        gateway.sdk.images.edit(model=MODEL, image=("a.png", png()), mask=("m.png", mask), prompt="blue")
    assert caught.value.param == "mask"


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"response_format": "url"}, "response_format"),
        ({"background": "transparent"}, "background"),
        ({"size": "big"}, "size"),
        ({"quality": "best"}, "quality"),
        ({"n": 0}, "n"),
        ({"output_format": "gif"}, "output_format"),
        ({"partial_images": 2}, "partial_images"),
        ({"partial_images": 2, "stream": True, "n": 2}, "partial_images"),
        ({"extra_body": {"lora": "x"}}, "lora"),
    ],
)
def test_what_cannot_be_drawn_so_is_refused_by_name(gateway, wish, param):
    with pytest.raises(openai.BadRequestError) as caught:
        gateway.sdk.images.generate(model=MODEL, prompt="a", **wish)
    assert caught.value.param == param


def test_two_pictures_cannot_be_changed_into_one(gateway):
    with pytest.raises(openai.BadRequestError, match="2 images") as caught:
        gateway.sdk.images.edit(model=MODEL, image=[("a.png", png()), ("b.png", png())], prompt="blue")
    assert caught.value.param == "image"


def test_variations_are_gone_and_say_where_to_go(gateway):
    with pytest.raises(openai.NotFoundError, match="/v1/images/edits"):
        gateway.sdk.images.create_variation(image=("a.png", png()))

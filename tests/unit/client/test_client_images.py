"""The verbs that make pictures: what goes over the wire and what comes back."""

import numpy as np
import pytest

from tritone_client import GeneratedImages, ImageProgress, InferenceFailed, InvalidInput, MockTransport

PIXELS = np.arange(2 * 8 * 16 * 3, dtype=np.uint8).reshape(1, 2, 8, 16, 3)
PICTURES = {
    "image": PIXELS,
    "image_png": [b"\x89PNG one", b"\x89PNG two"],
    "seed": [7, 8],
    "prompt_tokens": 5,
    "truncated_text": "",
}


@pytest.fixture
def client(connect):
    def client(*responses):
        return connect(transport=MockTransport(lambda request: responses if len(responses) > 1 else responses[0]))

    return client


def test_pictures_come_with_their_pixels_files_and_seeds(client, tmp_path):
    with client(PICTURES) as tritone:
        generated = tritone.generate_image("a red circle", num_images=2, seed=7, style="油画", guidance_scale=1)
        [request] = tritone._transport.requests
    assert request.model == "text_to_image"
    assert request.text("prompt") == "a red circle"
    assert request.text("style") == "油画"
    assert {name: value.tolist() for name, value in request.inputs.items() if value.dtype != np.object_} == {
        "num_images": [[2]],
        "seed": [[7]],
        "guidance_scale": [[1.0]],
    }
    assert [image.seed for image in generated.images] == [7, 8]
    assert (generated.images[1].pixels == PIXELS[0, 1]).all()
    assert generated.image is generated.images[0]
    generated.image.save(tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes() == b"\x89PNG one"
    with pytest.raises(InvalidInput, match=r"圆\.gif must end in one of \.png, \.jpg, \.jpeg, \.webp"):
        generated.image.save("圆.gif")


def test_a_picture_and_a_mask_are_sent_as_files(client):
    with client(PICTURES) as tritone:
        tritone.generate_image("blue", image=b"a picture", mask=b"a mask", strength=0.5)
        [request] = tritone._transport.requests
    assert request.inputs["image_bytes"].tolist() == [[b"a picture"]]
    assert request.inputs["mask_bytes"].tolist() == [[b"a mask"]]
    assert request.inputs["strength"].tolist() == [[0.5]]


def test_a_stream_tells_each_step_and_then_the_pictures(client):
    steps = [{"step": 1, "num_steps": 2}, {"step": 2, "num_steps": 2, "preview_png": [b"preview"]}]
    with client(*steps, PICTURES) as tritone:
        first, second, last = tritone.generate_image_stream("a red circle", preview_interval=2)
        [request] = tritone._transport.requests
    assert request.inputs["preview_interval"].tolist() == [[2]]
    assert (first, second) == (ImageProgress(1, 2), ImageProgress(2, 2, (b"preview",)))
    assert isinstance(last, GeneratedImages)


def test_a_stream_that_ends_without_pictures_is_a_failure(client):
    steps = [{"step": 1, "num_steps": 2}, {"step": 2, "num_steps": 2}]
    with client(*steps) as tritone, pytest.raises(InferenceFailed, match="broke off"):
        list(tritone.generate_image_stream("a red circle"))


@pytest.mark.parametrize(("wishes", "named"), [({"height": 64.5}, "height"), ({"seed": "x"}, "seed")])
def test_a_wish_of_the_wrong_kind_is_refused_before_it_is_sent(client, wishes, named):
    with client(PICTURES) as tritone, pytest.raises(InvalidInput, match=named):
        tritone.generate_image("a red circle", **wishes)

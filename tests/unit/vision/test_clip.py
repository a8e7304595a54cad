"""CLIP against transformers' own CLIPModel and CLIPProcessor, on the tiny checkpoint and on random ones."""

import io
import json
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPProcessor

from lessons.shape_captions import LANGUAGES, whole_caption
from tritone import checkpoints
from tritone.errors import InvalidInput
from tritone.media.image import decode
from tritone.vision.clip import ImageEncoder, ImageProcessor, TextEncoder, Tokenizer
from tritone.vision.shapes import draw_scene, render

TOLERANCE = 3e-6  # of a unit vector's numbers: other sums of the same products
TEXTS = (
    "a red circle",
    "一个红色的圆形和一个蓝色的正方形",
    "A Photo of a CAT, isn't it?  Yes!",
    "émoji 🙂 and ß",
    "x",
    "a big green star in the top left and a small pink heart at the bottom " * 8,
)


@pytest.fixture(scope="module")
def folder():
    return checkpoints.path("clip")


@pytest.fixture(scope="module")
def processor(folder):
    return CLIPProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return Tokenizer.load(folder, max_characters=1000)


@pytest.fixture(scope="module", params=["tiny", "an end-of-text number as in OpenAI's config.json"])
def checkpoint(request, folder, tmp_path_factory):
    """The tiny checkpoint; and a random one whose config says 2 for the end of the text."""
    if request.param == "tiny":
        return folder
    torch.manual_seed(0)
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2}
    text = {**size, "vocab_size": 770, "eos_token_id": 2, "projection_dim": 48}
    vision = {**size, "image_size": 64, "patch_size": 16, "projection_dim": 48}
    target = tmp_path_factory.mktemp("random")
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=48)).save_pretrained(target)
    return target


def unit(features):
    return torch.nn.functional.normalize(features.pooler_output, dim=-1).numpy()


def pictures(count):
    return [np.asarray(render(draw_scene(Random(seed)), 96)) for seed in range(count)]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_the_checkpoints_processor(processor, tokenizer, text):
    expected = processor(text=[text], padding="max_length", max_length=77, truncation=True)["input_ids"][0]
    tokenized = tokenizer.tokenize(text)
    assert tokenized.input_ids.tolist() == list(expected)
    assert tokenized.token_count == min(77, len(processor(text=[text])["input_ids"][0]))
    assert tokenized.truncated == (text == TEXTS[-1])


def test_exactly_77_tokens_are_not_truncated(tokenizer):
    whole, over = (tokenizer.tokenize(" ".join(["red"] * count)) for count in (75, 76))
    assert (whole.token_count, whole.truncated) == (77, False)
    assert (over.token_count, over.truncated) == (77, True)
    assert np.array_equal(whole.input_ids, over.input_ids)


@pytest.mark.parametrize(("text", "named"), [("", "empty"), (" \n\t", "empty"), ("字" * 1001, "1001")])
def test_a_text_without_words_or_over_the_limit_is_refused(tokenizer, text, named):
    with pytest.raises(InvalidInput, match=named):
        tokenizer.tokenize(text)


def test_text_embeddings_equal_those_of_all_77_tokens_alone_and_in_a_crowd(checkpoint, tokenizer):
    model = CLIPModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    encoder = TextEncoder.load(checkpoint, "cpu", "float32")
    ids = [encoder.prepare(tokenizer.tokenize(text).input_ids) for text in TEXTS]
    with torch.inference_mode():
        expected = unit(model.get_text_features(torch.from_numpy(np.stack(ids)).long()))
    crowd = encoder.encode(ids)
    alone = np.concatenate([encoder.encode([row]) for row in ids])
    assert np.abs(crowd - expected).max() < TOLERANCE
    assert np.abs(alone - expected).max() < TOLERANCE
    assert np.abs(np.linalg.norm(crowd, axis=1) - 1).max() < 1e-6
    assert np.abs(crowd[0] - crowd[1]).max() > 0.01  # and it is not the same vector for all


def test_a_batch_is_computed_only_as_far_as_its_longest_text(folder, tokenizer):
    encoder = TextEncoder.load(folder, "cpu", "float32")
    lengths = []
    encoder._model.text_model.embeddings.register_forward_pre_hook(
        lambda _, __, inputs: lengths.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    texts = ["a red circle", "a red circle and a blue square"]
    encoder.encode([tokenizer.tokenize(text).input_ids for text in texts])
    assert lengths == [9]  # seven words, begin and end


def test_image_embeddings_equal_those_of_the_model_alone_and_in_a_crowd(checkpoint, folder):
    model = CLIPModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    encoder, processor = ImageEncoder.load(checkpoint, "cpu", "float32"), ImageProcessor.load(folder)
    pixels = [encoder.prepare(processor.pixel_values(picture)) for picture in pictures(5)]
    with torch.inference_mode():
        expected = unit(model.get_image_features(torch.from_numpy(np.stack(pixels))))
    crowd = encoder.encode(pixels)
    alone = np.concatenate([encoder.encode([row]) for row in pixels])
    assert np.abs(crowd - expected).max() < TOLERANCE
    assert np.abs(alone - expected).max() < TOLERANCE
    assert np.abs(np.linalg.norm(crowd, axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 40), (64, 64), (333, 100), (100, 333), (640, 480), (65, 63)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_pixels_equal_those_of_the_checkpoints_processor_bit_for_bit(folder, processor, size, mode):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(file, "PNG")
    expected = processor(images=Image.open(file), return_tensors="np")["pixel_values"][0]
    found = ImageProcessor.load(folder).pixel_values(decode(file.getvalue(), 2**20, 10**6))
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def test_a_jpeg_is_decoded_as_the_processor_sees_it(folder, processor):
    file = io.BytesIO()
    Image.fromarray(pictures(1)[0]).save(file, "JPEG", quality=70)
    expected = processor(images=Image.open(file), return_tensors="np")["pixel_values"][0]
    assert np.array_equal(ImageProcessor.load(folder).pixel_values(decode(file.getvalue(), 2**20, 10**6)), expected)


def test_wrong_tensors_are_refused_with_what_was_expected(folder):
    text, image = TextEncoder.load(folder, "cpu", "float32"), ImageEncoder.load(folder, "cpu", "float32")
    eos = text.eos
    good = np.full(77, eos, np.int32)
    for ids, named in (
        (good[:-1], "77"),
        (np.where(good == eos, -1, 0), "-1"),
        (np.zeros(77, np.int32), "end-of-text"),
    ):
        with pytest.raises(InvalidInput, match=named):
            text.prepare(ids.astype(np.int32))
    with pytest.raises(InvalidInput, match="64"):
        image.prepare(np.zeros((3, 32, 32), np.float32))
    with pytest.raises(InvalidInput, match="NaN"):
        image.prepare(np.full((3, 64, 64), np.nan, np.float32))


def test_an_unknown_dtype_is_refused(folder):
    with pytest.raises(ValueError, match="float8"):
        TextEncoder.load(folder, "cpu", "float8")


def test_half_precision_keeps_the_direction(folder):
    pixels = [ImageProcessor.load(folder).pixel_values(picture) for picture in pictures(3)]
    full, half = (ImageEncoder.load(folder, "cpu", dtype).encode(pixels) for dtype in ("float32", "bfloat16"))
    assert ((full * half).sum(1) > 0.99).all()
    assert np.abs(np.linalg.norm(half, axis=1) - 1).max() < 1e-6


def test_the_tiny_checkpoint_finds_pictures_by_caption_in_both_languages(folder, tokenizer):
    """A floor far below the model card's figure: a broken tower or processor finds one in thirty."""
    text, image = TextEncoder.load(folder, "cpu", "float32"), ImageEncoder.load(folder, "cpu", "float32")
    processor = ImageProcessor.load(folder)
    scenes = [draw_scene(Random(1000 + seed), count=2, allow_held_out=False) for seed in range(30)]
    seen = image.encode([processor.pixel_values(np.asarray(render(scene, 200))) for scene in scenes])
    for language in LANGUAGES:
        captions = [whole_caption(Random(0), scene, language).text for scene in scenes]
        read = text.encode([tokenizer.tokenize(caption).input_ids for caption in captions])
        assert ((read @ seen.T).argmax(1) == np.arange(30)).mean() > 0.8


def test_the_processor_config_of_the_checkpoint_is_complete(folder):
    config = json.loads((folder / "processor_config.json").read_text("utf-8"))
    assert config["processor_class"] == "CLIPProcessor"

"""What goes into CLIP equals, to the last bit, what transformers' CLIPTokenizer and CLIPImageProcessor make."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessor, CLIPTokenizer

from tritone import checkpoints
from tritone.media.image import decode
from tritone.vision.clip_inputs import ImageProcessor, Tokenizer

TEXTS = (
    *("a red circle", "A Photo of a CAT, isn't it?  They're   here\tand\nthere!", "x", "1234567890 3.14 €5"),
    *(
        "一个红色的圆形和一个蓝色的正方形",
        "「你好」，世界！　全角空格",
        "ひらがな 한국어 العربية हिन्दी",
        "Ünïcödé e\u0301 ﬁ ß İ",
    ),
    *(
        "🙂👨‍👩‍👧‍👦 \u200b\ufeff\x00\x7f",
        "<|endoftext|> and <|startoftext|>",
        "<|ENDOFTEXT|>",
        "  leading and trailing  ",
    ),
    *("...", "\u2028line", "'s't're've'm'll'd", "a" * 500, "blue " * 300, "蓝" * 300, "http://a.b/c?d=e&f=%20"),
)
SIZES = (
    *((1, 1), (2, 1), (1, 40), (40, 1), (63, 64), (64, 64), (65, 64), (64, 65), (128, 64), (31, 977)),
    *((224, 224), (225, 223), (333, 100), (100, 333), (640, 480), (1023, 767), (17, 1500)),
)
MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16")
SETTINGS = {
    "the tiny checkpoint's": {},
    "OpenAI's": {"size": 224, "crop_size": 224},
    "of 336 pixels": {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}},
    "not keeping proportions": {"size": {"height": 50, "width": 70}, "crop_size": {"height": 40, "width": 70}},
    "with a crop larger than the picture": {"size": 30, "crop_size": {"height": 64, "width": 41}},
    "with other colours": {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3], "rescale_factor": 1 / 128},
    "by another filter": {"resample": 2},
    "that pad": {"do_pad": True, "pad_size": {"height": 70, "width": 70}},
    "without a crop": {"do_center_crop": False},
}


@pytest.fixture(scope="module")
def folder():
    return checkpoints.path("clip")


def older(folder, target):
    """The same tokenizer in the files that checkpoints had before tokenizer.json."""
    model = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary = model["model"]["vocab"] | {token["content"]: token["id"] for token in model["added_tokens"]}
    (target / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    merges = ["#version: 0.2", *(" ".join(merge) for merge in model["model"]["merges"])]
    (target / "merges.txt").write_text("\n".join(merges) + "\n", "utf-8")
    token = {
        "__type": "AddedToken",
        "content": "<|endoftext|>",
        "lstrip": False,
        "normalized": True,
        "rstrip": False,
        "single_word": False,
    }
    config = {"eos_token": token, "pad_token": "<|endoftext|>", "model_max_length": 77}
    (target / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return target


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.json and merges.txt"])
def test_every_text_has_the_tokens_that_transformers_gives_it(folder, tmp_path, kind):
    source = folder if kind == "tokenizer.json" else older(folder, tmp_path)
    ours, theirs = Tokenizer.load(source, max_characters=10_000), CLIPTokenizer.from_pretrained(source)
    for text in TEXTS:
        expected = theirs(text, padding="max_length", max_length=77, truncation=True)["input_ids"]
        assert ours.tokenize(text).input_ids.tolist() == expected, text


def test_the_texts_of_these_tests_are_not_all_the_same_to_the_tokenizer(folder):
    ours = Tokenizer.load(folder, max_characters=10_000)
    assert len({tuple(ours.tokenize(text).input_ids) for text in TEXTS}) == len(TEXTS)


@pytest.mark.parametrize("kind", SETTINGS)
def test_pictures_of_every_size_have_the_values_that_transformers_gives_them(folder, tmp_path, kind):
    settings = json.loads((folder / "processor_config.json").read_text("utf-8"))["image_processor"] | SETTINGS[kind]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    ours, theirs = ImageProcessor.load(tmp_path), CLIPImageProcessor.from_pretrained(tmp_path)
    other = ImageProcessor.load(tmp_path, "torchvision")
    random = np.random.default_rng(0)
    for width, height in SIZES:
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        expected = theirs(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
        found = ours.pixel_values(pixels)
        assert found.dtype == np.float32
        assert np.array_equal(found, expected), (width, height)
        assert np.array_equal(other.pixel_values(pixels), expected), (width, height)


@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_every_mode_have_the_values_that_transformers_gives_their_pixels(folder, mode):
    noise = np.random.default_rng(1).integers(0, 256, (90, 131, 3), np.uint8)
    picture = Image.fromarray(noise)
    picture = Image.fromarray(noise[..., 0].astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
    file = io.BytesIO()
    picture.save(file, "TIFF")
    pixels = decode(file.getvalue(), 2**20, 10**6)
    theirs = CLIPImageProcessor.from_pretrained(folder)
    expected = theirs(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
    assert np.array_equal(ImageProcessor.load(folder).pixel_values(pixels), expected)


def test_smooth_pictures_and_hard_edges_have_the_values_that_transformers_gives_them(folder):
    rows, columns = np.mgrid[:700, :900]
    ramp = np.stack([rows * 255 // 699, columns * 255 // 899, (rows + columns) % 256], axis=2).astype(np.uint8)
    edges = np.where((rows // 37 + columns // 41) % 2, 255, 0).astype(np.uint8)[..., None].repeat(3, axis=2)
    ours, theirs = ImageProcessor.load(folder), CLIPImageProcessor.from_pretrained(folder)
    for pixels in (ramp, edges):
        expected = theirs(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
        assert np.array_equal(ours.pixel_values(pixels), expected)


def test_a_checkpoint_without_an_image_processor_is_refused(folder, tmp_path):
    shutil.copy(folder / "config.json", tmp_path)
    with pytest.raises(OSError, match="image processor"):
        ImageProcessor.load(tmp_path)


def test_an_unknown_backend_is_refused(folder):
    with pytest.raises(ValueError, match="backend is 'pil', must be numpy or torchvision"):
        ImageProcessor.load(folder, "pil")

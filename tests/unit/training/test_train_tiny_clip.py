"""What the tiny CLIP is taught: captions that are true, wrong ones that are not, and a tokenizer CLIP can load."""

import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from transformers import CLIPProcessor

from evaluate_clip import GROUP, recall, scenes_in_groups
from lessons.shape_captions import LANGUAGES, Caption, Part, partial_caption, whole_caption, wrong_caption
from lessons.shape_scenes import training_scene
from train_tiny_clip import captions_of, is_true, train_tokenizer, twin, words
from tritone.vision.shapes import CHINESE, COLOURS, HELD_OUT, SHAPES, draw_scene

SCENES = [draw_scene(Random(seed), allow_held_out=False) for seed in range(150)]


def truth(captions, scenes):
    said = np.stack([words(list(caption.parts)) for caption in captions])
    real = np.stack([words(list(scene.things)) for scene in scenes])
    return is_true(said, np.array([caption.whole for caption in captions]), real)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_caption_says_in_words_what_it_is_kept_to_say(language):
    for seed, scene in enumerate(SCENES):
        caption = whole_caption(Random(seed), scene, language)
        for thing in scene.things:
            for word in (thing.colour, thing.shape):
                assert (CHINESE[word] if language == "zh" else word) in caption.text
        part = partial_caption(Random(seed), scene, language)
        said = {word for p in part.parts for word in (p.colour, p.shape) if word}
        named = {
            word
            for word in (*COLOURS, *SHAPES)
            if (CHINESE[word] in part.text if language == "zh" else re.search(rf"\b{word}\b", part.text))
        }
        assert said == named


def test_captions_are_true_of_their_picture_and_wrong_ones_hardly_ever():
    for language in LANGUAGES:
        whole = [whole_caption(Random(seed), scene, language) for seed, scene in enumerate(SCENES)]
        part = [partial_caption(Random(seed), scene, language) for seed, scene in enumerate(SCENES)]
        assert truth(whole, SCENES).diagonal().all()
        assert truth(part, SCENES).diagonal().all()
        wrong = [wrong_caption(Random(seed), caption, language) for seed, caption in enumerate(whole)]
        # Two triangles whose colours were swapped are what they were; training knows by `is_true`.
        assert truth(wrong, SCENES).diagonal().mean() < 0.1


def test_what_is_true_of_other_pictures_too_is_known():
    """Against the definition, thing by thing."""
    captions = [partial_caption(Random(seed), scene, "en") for seed, scene in enumerate(SCENES)]
    slow = [
        [all(any(part.is_of(thing) for thing in scene.things) for part in caption.parts) for scene in SCENES]
        for caption in captions
    ]
    assert np.array_equal(truth(captions, SCENES), slow)
    assert np.sum(slow) > len(SCENES)


def test_a_whole_caption_is_not_true_of_a_picture_that_shows_more():
    one = draw_scene(Random(0), pairs=[("red", "circle")])
    two = draw_scene(Random(0), pairs=[("red", "circle"), ("blue", "square")])
    caption = Caption("a red circle", (Part("red", "circle"),), whole=True)
    assert truth([caption], [one, two]).tolist() == [[True, False]]
    assert truth([replace(caption, whole=False)], [one, two]).tolist() == [[True, True]]


def test_no_training_picture_or_caption_shows_a_held_out_pair():
    for seed in range(0, 300, 2):
        scene = training_scene(seed)
        other = twin(Random(seed), scene)
        for shown in (scene, other):
            assert not {(thing.colour, thing.shape) for thing in shown.things} & HELD_OUT
            for caption in captions_of(Random(seed), shown):
                assert not {(part.colour, part.shape) for part in caption.parts} & HELD_OUT


def test_every_caption_says_something_of_the_picture():
    for seed in range(200):
        for caption in captions_of(Random(seed), training_scene(seed)):
            assert all(part.colour or part.shape for part in caption.parts)


def test_the_tokenizer_is_saved_and_loaded_as_a_clip_processors(tmp_path):
    from transformers import CLIPImageProcessor

    captions = [whole_caption(Random(seed), scene, LANGUAGES[seed % 2]).text for seed, scene in enumerate(SCENES)]
    tokenizer = train_tokenizer(captions)
    CLIPProcessor(image_processor=CLIPImageProcessor(), tokenizer=tokenizer).save_pretrained(tmp_path)
    loaded = CLIPProcessor.from_pretrained(tmp_path).tokenizer
    assert loaded.model_max_length == 77
    for text in ("a red circle", "一个红色的圆形", "café 🙂 unknown", "x" * 30):
        ids = loaded(text)["input_ids"]
        assert ids == tokenizer(text)["input_ids"]
        assert (ids[0], ids[-1]) == (loaded.bos_token_id, loaded.eos_token_id)
        assert loaded.eos_token_id not in ids[1:-1]
    assert len(loaded("一个红色的圆形")["input_ids"]) == 2 + len("一个红色的圆形")
    assert loaded("A  Red\nCIRCLE")["input_ids"] == loaded("a red circle")["input_ids"]


def test_the_pictures_of_a_group_have_captions_that_differ():
    for held_out in (False, True):
        scenes = scenes_in_groups(2 * GROUP, 3, held_out)
        for start in (0, GROUP):
            bags = {tuple(sorted((t.colour, t.shape) for t in scene.things)) for scene in scenes[start : start + GROUP]}
            assert len(bags) == GROUP


def test_recall_counts_hits_within_groups():
    pictures = np.eye(2 * GROUP, dtype=np.float32)
    texts = pictures.copy()
    texts[0] = 2 * pictures[1]  # wants picture 1; picture 1 then prefers this text over its own
    to_image, to_text = recall(pictures, texts)
    assert to_image == pytest.approx(1 - 1 / (2 * GROUP))
    assert to_text == pytest.approx(1 - 1 / (2 * GROUP), abs=0.011)

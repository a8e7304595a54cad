"""What the tiny Stable Diffusion is taught, and the reader that judges it."""

from random import Random

import numpy as np
import pytest
import torch

from evaluate_diffusion import held_out_prompts, read, with_style_words
from lessons.shape_prompts import LANGUAGES, NEW_WORDINGS, WORDINGS, describe, embellish, without_prompt
from lessons.shape_scenes import portrait
from train_tiny_diffusion import caption, train_tokenizer
from train_tiny_vae import build_vae, picture, pixel_values
from tritone.vision.shapes import CHINESE, HELD_OUT, draw_scene, render


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer()


def test_training_never_shows_a_held_out_pair():
    pairs = {(thing.colour, thing.shape) for seed in range(3000) for thing in portrait(seed).things}
    assert not pairs & HELD_OUT
    assert len([pair for pair in pairs if None not in pair]) == 9 * 6 - len(HELD_OUT)


def test_no_prompt_of_the_evaluation_is_one_of_training():
    for trial in held_out_prompts():
        if trial.part == "held-out pairs":
            assert (trial.colour, trial.shape) in HELD_OUT
        else:
            scene = draw_scene(Random(0), pairs=[(trial.colour, trial.shape)])
            usual = {w.format(**_names(scene, trial.language)) for w in WORDINGS[trial.language]}
            assert trial.prompt not in usual
    assert not {w for ws in WORDINGS.values() for w in ws} & {w for ws in NEW_WORDINGS.values() for w in ws}


def _names(scene, language):
    from lessons.shape_prompts import name_things

    return name_things(scene.things, language)


def test_both_languages_are_evaluated_evenly_and_style_words_leave_the_wish_in():
    trials = held_out_prompts()
    assert [sum(trial.language == language for trial in trials) for language in LANGUAGES] == [100, 100]
    for plain, styled in zip(trials, with_style_words(trials), strict=True):
        assert plain.prompt in styled.prompt
        assert len(styled.prompt) > len(plain.prompt)


def test_captions_name_what_the_picture_shows():
    random = Random(1)
    for seed in range(300):
        scene = portrait(seed)
        language = random.choice(LANGUAGES)
        words = describe(random, scene.things, language)
        for thing in scene.things:
            for name in filter(None, (thing.colour, thing.shape)):
                assert (name if language == "en" else CHINESE[name]) in words


def test_one_caption_in_ten_is_dropped():
    random, scene = Random(2), portrait(3)
    kept = [caption(random, scene)[1] != (-100, -100) for _ in range(3000)]
    assert 0.88 < np.mean(kept) < 0.92 or len(scene.things) > 1
    assert "" in {without_prompt(random) for _ in range(50)}


def test_every_chinese_character_is_one_token_and_english_names_are_one_token(tokenizer):
    assert len(tokenizer("一个红色的圆形").input_ids) == 2 + 7
    assert len(tokenizer("a purple triangle").input_ids) == 2 + 3
    assert tokenizer.decode(tokenizer("a red circle, 红色").input_ids, skip_special_tokens=True).startswith("a red")


def test_the_tokenizer_is_the_same_whenever_it_is_trained(tokenizer):
    assert train_tokenizer().backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_any_text_has_tokens_and_training_captions_fit_the_window(tokenizer):
    assert tokenizer.unk_token_id not in tokenizer("ünïcode 😀 龘 ￥")["input_ids"][1:-1]
    random = Random(3)
    lengths = [
        len(tokenizer(embellish(random, describe(random, portrait(seed).things, "zh"))).input_ids)
        for seed in range(300)
    ]
    assert max(lengths) <= tokenizer.model_max_length == 77


def test_the_untrained_autoencoder_hands_on_colours():
    seeds = [seed for seed in range(60) if len(portrait(seed).things) == 1 and portrait(seed).things[0].colour]
    pixels = pixel_values(torch.from_numpy(np.stack([picture(seed) for seed in seeds])))
    model = build_vae().eval()
    with torch.no_grad():
        decoded = model.decode(model.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
    pictures = ((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    named = [read(each)[0] == portrait(seed).things[0].colour for each, seed in zip(pictures, seeds, strict=True)]
    assert np.mean(named) > 0.9


def test_the_reader_is_right_about_the_worlds_own_pictures():
    random, wrong, count = Random(4), [], 0
    while count < 150:
        scene = draw_scene(random, count=1)
        [thing] = scene.things
        if scene.background.kind in ("plain", "shaded") and thing.radius > 0.155:
            count += 1
            if read(np.asarray(render(scene, 64))) != (thing.colour, thing.shape):
                wrong.append(thing)
    assert len(wrong) <= 1


def test_the_reader_sees_nothing_where_there_is_nothing():
    assert read(np.full((64, 64, 3), 200, np.uint8)) == (None, None)

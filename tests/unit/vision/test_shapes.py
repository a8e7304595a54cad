"""The drawn world says the truth about itself: a reader of pixels checks it."""

import math
from random import Random

import numpy as np
import pytest

from lessons.rewording import reword
from lessons.scene_questions import ask_count, ask_presence
from lessons.shape_questions import QUESTIONS, ask
from lessons.thing_questions import ask_colour
from tritone.vision.shapes import CHINESE, COLOURS, HELD_OUT, POSITIONS, SHAPES, caption, draw_scene, render, segment


def scenes(count, **options):
    return [draw_scene(Random(seed), **options) for seed in range(count)]


def test_a_seed_draws_the_same_picture():
    first, second = (np.asarray(render(draw_scene(Random(5)))) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, np.asarray(render(draw_scene(Random(6)))))


@pytest.mark.parametrize("size", [64, 256])
def test_the_pixels_of_a_thing_have_its_colour(size):
    for scene in scenes(40):
        pixels, covers = np.asarray(render(scene, size)).astype(float), segment(scene, size)
        for index, thing in enumerate(scene.things, start=1):
            seen = np.median(pixels[covers == index], axis=0)
            named = min(COLOURS, key=lambda name: math.dist(seen, COLOURS[name]))
            assert named == thing.colour


def test_a_thing_lies_where_its_position_says_and_stands_out():
    for scene in scenes(60):
        covers = segment(scene, 96)
        for index, thing in enumerate(scene.things, start=1):
            y, x = (axis.mean() / 96 for axis in np.nonzero(covers == index))
            assert POSITIONS[3 * int(y * 3) + int(x * 3)] == thing.position
        assert len({thing.cell for thing in scene.things}) == len(scene.things)


def test_big_things_are_larger_than_small_ones():
    for scene in scenes(60):
        radii = {size: [thing.radius for thing in scene.things if thing.size == size] for size in ("small", "big")}
        assert max(radii["small"], default=0) < min(radii["big"], default=1)


def test_held_out_pairs_are_not_drawn_where_they_are_not_allowed():
    drawn = {(t.colour, t.shape) for scene in scenes(400, allow_held_out=False) for t in scene.things}
    assert not drawn & HELD_OUT
    assert drawn == {(c, s) for c in COLOURS for s in SHAPES} - HELD_OUT


def test_every_colour_and_shape_is_held_out_in_few_pairs():
    for position, names in enumerate((tuple(COLOURS), SHAPES)):
        assert all(sum(pair[position] == name for pair in HELD_OUT) <= 2 for name in names)


def test_captions_name_the_things_in_both_languages():
    scene = draw_scene(Random(0), pairs=[("orange", "star"), ("blue", "heart")])
    english, chinese = caption(scene), caption(scene, "zh")
    assert "an orange star" in english
    assert "a blue heart" in english
    assert {"一个橙色的星形", "一个蓝色的心形"} == set(chinese.split("和"))


def test_every_word_has_a_chinese_one():
    assert {*COLOURS, *SHAPES, *POSITIONS} <= set(CHINESE)
    assert len(set(CHINESE.values())) == len(CHINESE)


def test_colour_questions_are_answered_with_the_colour_of_the_thing_asked_for():
    random = Random(1)
    for scene in scenes(60):
        if exchange := ask_colour(random, scene, "en"):
            [colour] = [colour for colour in COLOURS if f" {colour}." in exchange.answer]
            named = [shape for shape in SHAPES if shape in exchange.answer]
            things = [t for t in scene.things if not named or t.shape == named[0]]
            assert [t.colour for t in things] == [colour]


def test_counts_are_counted():
    random = Random(2)
    numbers = {"no": 0, "is one": 1, "two": 2, "three": 3}
    for scene in scenes(80):
        if exchange := ask_count(random, scene, "en"):
            said = next(number for word, number in numbers.items() if word in exchange.answer)
            colour = next((c for c in COLOURS if c in exchange.answer), None)
            shape = next((s for s in SHAPES if s in exchange.answer), None)
            assert said == sum(
                (not colour or t.colour == colour) and (not shape or t.shape == shape) for t in scene.things
            )


def test_what_is_there_is_said_to_be_there():
    random = Random(3)
    for scene in scenes(80):
        exchange = ask_presence(random, scene, "zh")
        colour = next((c for c in COLOURS if CHINESE[c] in exchange.answer), None)
        shape = next((s for s in SHAPES if CHINESE[s] in exchange.answer), None)
        true = any((not colour or t.colour == colour) and (not shape or t.shape == shape) for t in scene.things)
        assert exchange.answer.startswith("有" if true else "没有")


@pytest.mark.parametrize("question", dict.fromkeys(QUESTIONS), ids=lambda question: question.__name__)
def test_every_kind_of_question_is_asked_in_both_languages(question):
    random = Random(4)
    for language in ("en", "zh"):
        exchanges = [question(random, scene, language) for scene in scenes(60)]
        asked = [exchange for exchange in exchanges if exchange]
        assert asked
        chinese = [any("\u4e00" <= letter <= "\u9fff" for letter in e.question + e.answer) for e in asked]
        assert all(chinese) if language == "zh" else not any(chinese)


def test_rewording_keeps_the_words_that_matter():
    random = Random(5)
    for scene in scenes(60):
        exchange = ask(random, scene, "en")
        reworded = reword(random, exchange).lower().replace("colour", "color")
        assert all(word in reworded for word in (*COLOURS, *SHAPES) if word in exchange.question.lower())

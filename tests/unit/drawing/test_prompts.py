"""The prompt optimiser: styles in two languages, nothing twice, a user's own styles."""

import pydantic
import pytest

from tritone.drawing.prompts import join, optimise, read_styles
from tritone.errors import InvalidInput

STYLES = read_styles()


@pytest.mark.parametrize(
    ("english", "chinese", "word"),
    [
        ("photorealistic", "写实", "photorealistic"),
        ("oil painting", "油画", "oil painting"),
        ("cartoon", "卡通", "cartoon"),
        ("watercolour", "水彩", "watercolor"),
        ("sketch", "素描", "sketch"),
        ("anime", "动漫", "anime"),
        ("pixel art", "像素画", "pixel art"),
        ("ink wash", "水墨", "ink wash"),
    ],
)
def test_a_style_is_found_by_its_names_in_both_languages(english, chinese, word):
    assert STYLES.find(english) is STYLES.find(chinese) is STYLES.find(f" {english.upper()} ")
    assert word in optimise("a cat", "", chinese, STYLES).prompt


def test_no_two_styles_share_a_name():
    names = [name.casefold() for known, style in STYLES.styles.items() for name in (known, *style.names)]
    assert len(names) == len(set(names))


def test_what_the_user_wrote_stays_and_comes_first():
    optimised = optimise("一个红色的圆形", "blue", "油画", STYLES)
    assert optimised.prompt.startswith("一个红色的圆形, oil painting")
    assert optimised.negative_prompt.startswith("blue, photograph")


@pytest.mark.parametrize("style", STYLES.styles)
def test_a_word_of_the_prompt_is_never_repeated(style):
    everything = ", ".join([*STYLES.find(style).words, *STYLES.quality]).upper()
    assert optimise(everything, "", style, STYLES).prompt == everything
    twice = optimise(optimise("a cat", "", style, STYLES).prompt, "", style, STYLES).prompt
    assert twice == optimise("a cat", "", style, STYLES).prompt
    phrases = twice.split(", ")
    assert len(phrases) == len(set(phrases))


def test_a_word_inside_another_word_is_not_that_word():
    assert join("a cartoonist", ["cartoon"]) == "a cartoonist, cartoon"
    assert join("a cartoon, bold", ["cartoon"]) == "a cartoon, bold"


def test_what_the_prompt_asks_for_is_not_excluded():
    assert "photograph" not in optimise("a photograph of a painting", "", "oil painting", STYLES).negative_prompt


def test_an_unknown_style_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInput, match=r"'baroque'.*oil painting/油画.*sketch/素描"):
        STYLES.find("baroque")


def test_a_users_file_adds_styles_and_takes_the_place_of_ours(tmp_path):
    file = tmp_path / "styles.toml"
    file.write_text(
        '[styles.baroque]\nnames = ["巴洛克"]\nwords = ["baroque painting"]\n[styles.sketch]\nwords = ["doodle"]\n',
        encoding="utf-8",
    )
    styles = read_styles(file)
    assert styles.find("巴洛克").words == ("baroque painting",)
    assert styles.find("sketch").words == ("doodle",)
    assert styles.find("油画") == STYLES.find("油画")
    assert styles.quality == STYLES.quality


def test_a_users_file_with_a_mistake_is_refused_with_its_place(tmp_path):
    file = tmp_path / "styles.toml"
    file.write_text('[styles.baroque]\nwrods = ["baroque"]\n', encoding="utf-8")
    with pytest.raises(pydantic.ValidationError, match=r"styles\.baroque\.wrods"):
        read_styles(file)

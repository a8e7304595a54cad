"""Listen: a recording becomes words, which play it, and are corrected."""

import re

import pytest
from material import silence, upload, wav, words
from playwright.sync_api import expect

SAID = "What color is the circle in this picture?"


@pytest.fixture(scope="module")
def recording(say):
    return wav(say(SAID))


@pytest.fixture
def page(browser, visit, recording):
    page = visit(browser, "listen")
    page.locator(".empty input[type=file]").set_input_files(upload("question.wav", recording, "audio/wav"))
    expect(page.get_by_text("Press a word to hear it.")).to_be_visible()
    return page


def now(page):
    return page.locator("audio").evaluate("audio => audio.currentTime")


def start_of(page, word):
    """When a word begins, as the saved captions of words alone would say; from its place in the page's own list."""
    page.locator("audio").evaluate("audio => { audio.pause(); audio.currentTime = 0 }")
    page.get_by_role("button", name=word, exact=True).click()
    page.locator("audio").evaluate("audio => audio.pause()")
    return now(page)


@pytest.mark.walk
def test_the_words_are_those_that_were_said_and_play_where_they_are(page):
    assert words(page.locator(".transcript").text_content()) == words(SAID)
    duration = page.locator("audio").evaluate("audio => audio.duration")
    times = [start_of(page, word) for word in ("color", "circle", "picture?")]
    assert times == sorted(times)
    assert 0 < times[0] < duration / 2 < times[2] < duration
    expect(page.locator(".word.now")).to_have_text("picture?")


def test_arrows_go_from_word_to_word(page):
    page.locator(".word").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".word:focus")).to_have_text("is")
    page.keyboard.press("Enter")
    page.locator("audio").evaluate("audio => audio.pause()")
    assert now(page) > 0.1
    page.keyboard.press("End")
    expect(page.locator(".word:focus")).to_have_text("picture?")


def test_a_corrected_text_is_found_in_the_recording_again(page):
    page.get_by_role("button", name="Correct the text").click()
    page.get_by_label("Correct the text").fill("What colour is the circle, in this picture?")
    page.get_by_role("button", name="Find the words again").click()
    expect(page.get_by_text("The words are where they are said now.")).to_be_visible()
    assert page.locator(".word").all_text_contents()[:2] == ["What", "colour"]
    assert start_of(page, "circle,") < start_of(page, "picture?")


def test_a_text_of_something_else_is_told_so(page):
    page.get_by_role("button", name="Correct the text").click()
    page.get_by_label("Correct the text").fill("Seven brown dogs jumped over nineteen lazy foxes yesterday evening")
    page.get_by_role("button", name="Find the words again").click()
    expect(page.get_by_role("status").filter(has_text="something else")).to_be_visible()


@pytest.mark.parametrize(("button", "name", "pattern"), [
    ("Save SRT", "question.srt", r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\nWhat color is the circle"),
    ("Save VTT", "question.vtt", r"WEBVTT\n\n00:00:0\d\.\d{3} --> 00:00:0\d\.\d{3}\nWhat color"),
    ("Save text", "question.txt", r"What color is the circle in this picture\?\n"),
])  # fmt: skip
def test_captions_are_saved(page, button, name, pattern):
    with page.expect_download() as downloading:
        page.get_by_role("button", name=button).click()
    assert downloading.value.suggested_filename == name
    assert re.match(pattern, downloading.value.path().read_text("utf-8"))


def test_a_recording_without_words_is_told_so(browser, visit):
    page = visit(browser, "listen", "zh")
    quiet = upload("quiet.wav", wav(silence(2)), "audio/wav")
    page.locator(".empty input[type=file]").set_input_files(quiet)
    expect(page.get_by_text("这段录音里没有人说话。请换一段。")).to_be_visible()

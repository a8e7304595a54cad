"""Ask: a picture, a question, the answer; read aloud, followed up, taken back."""

import pytest
from material import png, upload, words
from playwright.sync_api import expect

TWO = png(("red", "circle"), ("blue", "star"))
CASES = {
    "en": ("What color is the circle?", "red", "What shape is blue?", "star"),
    "zh": ("圆形是什么颜色？", "红", "蓝色的是什么形状？", "星"),
}


def ask(page, question, picture=None):
    if picture:
        page.locator(".place-ask input[type=file]").set_input_files(upload("two.png", picture))
        expect(page.locator(".held img")).to_be_visible()
    page.locator(".place-ask textarea").fill(question)
    page.keyboard.press("Enter")


@pytest.mark.walk
@pytest.mark.parametrize("language", CASES)
def test_a_picture_is_asked_about_and_then_again(browser, visit, language):
    page = visit(browser, "ask", language)
    question, colour, follow_up, shape = CASES[language]
    ask(page, question, TWO)
    answers = page.locator(".answer .words")
    expect(answers.first).to_contain_text(colour)
    expect(page.locator(".answer").first).to_have_attribute("aria-busy", "false")
    ask(page, follow_up)
    expect(answers.nth(1)).to_contain_text(shape)


@pytest.mark.walk
def test_the_answer_is_said_to_a_screen_reader_once_it_is_a_sentence(browser, visit):
    page = visit(browser, "ask")
    ask(page, "What color is the circle?", TWO)
    expect(page.locator("[aria-live=polite] p")).to_have_text("The circle is red.")


def test_an_answer_is_read_aloud_in_its_own_words(browser, visit, heard):
    page = visit(browser, "ask")
    ask(page, "What color is the circle?", TWO)
    page.get_by_role("button", name="Read aloud").click()
    expect(page.get_by_role("button", name="Stop reading")).to_be_visible()
    expect(page.get_by_role("button", name="Read aloud")).to_be_visible()
    assert heard(page) == words("The circle is red.")


def test_an_answer_is_copied(browser, visit):
    page = visit(browser, "ask", permissions=["clipboard-read", "clipboard-write"])
    ask(page, "What color is the circle?", TWO)
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("[aria-live=polite]")).to_contain_text("Copied.")
    assert page.evaluate("() => navigator.clipboard.readText()") == "The circle is red."


def test_an_example_is_asked_with_two_presses(browser, visit):
    page = visit(browser, "ask", "zh")
    page.get_by_role("button", name="图里有几个图形？").click()
    expect(page.locator(".place-ask textarea")).to_have_value("图里有几个图形？")
    page.get_by_role("button", name="发送").click()
    expect(page.locator(".answer .words")).to_contain_text("三")


def test_a_file_that_is_no_picture_costs_nothing_that_was_written(browser, visit):
    page = visit(browser, "ask")
    page.locator(".place-ask textarea").fill("What is this?")
    page.locator(".place-ask input[type=file]").set_input_files(upload("two.png", b"no picture"))
    expect(page.get_by_role("alert")).to_contain_text("Change it and try again.")
    expect(page.locator(".place-ask textarea")).to_have_value("What is this?")

"""Search: pictures of this browser, found by words in two languages and by pictures."""

import pytest
from material import png, upload
from playwright.sync_api import expect

PICTURES = {f"{colour}-{shape}": png((colour, shape)) for colour, shape in [
    ("blue", "star"), ("red", "circle"), ("green", "square"),
]}  # fmt: skip


@pytest.fixture
def page(browser, visit):
    page = visit(browser, "search")
    files = [upload(f"{name}.png", content) for name, content in PICTURES.items()]
    page.locator(".empty input[type=file]").first.set_input_files(files)
    expect(page.locator(".place-search .tile")).to_have_count(3)
    expect(page.get_by_role("status").filter(has_text="3 pictures")).to_be_visible()
    return page


def found(page, name):
    """Whether it comes first, with a score better than the next one's."""
    expect(page.locator(".place-search .tile .name").first).to_have_text(f"{name}.png")
    expect(page.locator(".score:visible")).to_have_count(3)
    scores = [float(score) for score in page.locator(".score:visible").all_text_contents()]
    assert scores[0] > scores[1] + 0.1
    assert scores == sorted(scores, reverse=True)


@pytest.mark.walk
def test_pictures_are_found_by_words_in_both_languages(page):
    for words, name in (
        ("a red circle", "red-circle"),
        ("蓝色的星形", "blue-star"),
        ("一个绿色的正方形", "green-square"),
    ):
        page.get_by_role("searchbox").fill(words)
        found(page, name)


def test_a_picture_finds_its_like(page):
    query = upload("query.png", png(("red", "circle"), seed=9))
    page.locator(".search-bar input[type=file]").set_input_files(query)
    found(page, "red-circle")
    page.get_by_role("button", name="Remove the picture").click()
    expect(page.locator(".score:visible")).to_have_count(0)


def test_they_stay_in_this_browser_and_are_looked_at_once(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "embeddings" in request.url else None)
    page.reload()
    expect(page.locator(".place-search .tile")).to_have_count(3)
    page.get_by_role("searchbox").fill("a red circle")
    found(page, "red-circle")
    assert len(asked) == 1  # for the words alone


def test_what_was_drawn_is_found_again(page):
    page.get_by_role("link", name="Draw").click()
    page.get_by_role("textbox", name="What shall it show?").fill("a yellow square")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.locator(".place-draw button.frame")).to_have_count(1)
    page.get_by_role("link", name="Search").click()
    page.get_by_role("searchbox").fill("黄色的正方形")
    expect(page.locator(".score:visible")).to_have_count(4)
    expect(page.locator(".place-search .tile .name").first).to_have_text("a yellow square")


def test_a_found_picture_is_asked_about(page):
    page.get_by_role("searchbox").fill("a red circle")
    found(page, "red-circle")
    page.locator(".place-search button.frame").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Ask about it").click()
    page.locator(".place-ask textarea").fill("What color is the circle?")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .words")).to_have_text("The circle is red.")

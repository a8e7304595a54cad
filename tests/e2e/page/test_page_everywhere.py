"""What every place has: both languages, both themes, a narrow window, the keyboard, a screen reader."""

import base64
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from material import png, upload
from playwright.sync_api import expect

PLACES = ("talk", "ask", "draw", "search", "listen")
NAMES = {"en": ("Talk", "Ask", "Draw", "Search", "Listen"), "zh": ("语音", "问图", "绘图", "搜图", "听写")}
SERIOUS = {"serious", "critical"}
SMALLEST = 44  # px, of what is pressed
# Words that are the same in every language.
PROPER = {"Tritone", "LLaVA", "SRT", "VTT", "English", "png"}


def go(page, place):
    page.evaluate("place => { location.hash = place }", place)
    expect(page.locator(f"html[data-place={place}]")).to_be_attached()


def faults(page):
    found = Axe().run(page).response["violations"]
    return [(fault["id"], fault["nodes"][0]["html"][:200]) for fault in found if fault["impact"] in SERIOUS]


@pytest.mark.walk
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_axe_finds_nothing_serious(browser, visit, language, scheme):
    page = visit(browser, "ask", language, scheme)
    page.locator(".starter").first.click()
    expect(page.locator(".place-ask textarea")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".answer[aria-busy=false] .words")).not_to_be_empty()
    for place in PLACES:
        go(page, place)
        expect(page.locator("h1:visible").or_(page.locator(".answer:visible")).first).to_be_visible()
        assert faults(page) == [], place


@pytest.mark.walk
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_cut_off_and_what_is_pressed_is_large_enough(browser, visit, width):
    page = visit(browser, "ask", "en", width=width, height=740)
    for language in ("en", "zh"):
        for place in PLACES:
            go(page, place)
            wide, inside = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
            assert wide <= inside, place
            small = page.evaluate(
                """(smallest) => [...document.querySelectorAll('main button, main select, main summary, header a')]
                  .map((each) => [each.getBoundingClientRect(), each.outerHTML.slice(0, 90)])
                  .filter(([box]) => box.width && Math.min(box.width, box.height) < smallest - 0.5)
                  .map(([, html]) => html)""",
                SMALLEST,
            )
            assert small == [], place
        page.get_by_role("button", name="中文" if language == "en" else "English").click()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_sentence_is_in_one_language(browser, visit, language):
    page = visit(browser, "talk", language)
    assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-CN"}[language]
    for place, name in zip(PLACES, NAMES[language], strict=True):
        go(page, place)
        expect(page).to_have_title(f"{name} · Tritone")
        for details in page.locator("details:visible").all():
            details.evaluate("each => { each.open = true }")
        said = page.evaluate(
            """() => [document.querySelector('header'), document.querySelector('main')].map(each => each.innerText)
              + [...document.querySelectorAll('[aria-label]')].map(each => ' ' + each.ariaLabel)
              + [...document.querySelectorAll('[placeholder]')].map(each => ' ' + each.placeholder)"""
        )
        if language == "zh":
            assert set(re.findall(r"[A-Za-z]{3,}", said)) <= PROPER, place
        else:
            assert not re.search(r"[\u4e00-\u9fff]", said.replace("中文", "")), place


def test_the_language_and_the_theme_are_changed_and_kept(browser, visit):
    page = visit(browser, "draw", "en", "light")
    ground = "() => getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.locator(".place-draw textarea").first.fill("a red circle")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("h1")).to_have_text("画点什么")
    expect(page.locator(".place-draw textarea").first).to_have_value("a red circle")
    page.get_by_role("button", name="跟随系统配色").click()
    page.get_by_role("button", name="浅色").click()
    assert page.evaluate(ground) != light
    page.reload()
    expect(page.locator("h1")).to_have_text("画点什么")
    expect(page.get_by_role("button", name="深色")).to_be_visible()
    assert page.evaluate(ground) != light


def test_an_address_leads_to_its_place_and_the_last_one_is_remembered(browser, visit):
    page = visit(browser, "search")
    expect(page.locator("h1:visible")).to_have_text("Find a picture")
    page.goto(page.url.split("#")[0])
    page.reload()
    expect(page.locator("h1:visible")).to_have_text("Find a picture")


@pytest.mark.walk
def test_a_question_is_asked_and_answered_by_keyboard_alone(browser, visit):
    page = visit(browser, "talk")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to the content")).to_be_focused()
    while page.evaluate("() => document.activeElement.textContent") != "Ask":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#place")).to_be_focused()
    page.keyboard.press("Tab")
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")  # the first example
    expect(page.locator(".place-ask textarea")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".answer .words")).to_have_text("The circle is red.")
    expect(page.locator(".place-ask textarea")).to_be_focused()


def test_nothing_moves_for_those_who_asked_for_that(browser, visit):
    page = visit(browser, "talk", reduced_motion="reduce")
    page.locator(".place-talk").evaluate("each => { each.querySelector('.control').dataset.state = 'thinking' }")
    lasting = page.evaluate(
        "() => document.getAnimations().filter(each => each.effect.getComputedTiming().endTime > 50).length"
    )
    assert lasting == 0


def test_a_picture_is_dropped_and_pasted(browser, visit):
    page = visit(browser, "ask")
    give = """([kind, base64]) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))
      const data = new DataTransfer()
      data.items.add(new File([bytes], 'a.png', { type: 'image/png' }))
      const place = document.querySelector('.place-ask')
      const wish = { bubbles: true, cancelable: true }
      if (kind === 'drop') place.dispatchEvent(new DragEvent('drop', { ...wish, dataTransfer: data }))
      else document.dispatchEvent(new ClipboardEvent('paste', { ...wish, clipboardData: data }))
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(give, [kind, base64.b64encode(png(("red", "circle"))).decode()])
        expect(page.locator(".held img")).to_be_visible()
        page.get_by_role("button", name="Remove the picture").click()
        expect(page.locator(".held img")).to_have_count(0)


def test_the_camera_takes_a_picture(browser, visit):
    page = visit(browser, "ask")
    page.get_by_role("button", name="Take a picture").click()
    page.get_by_role("button", name="Take it").click()
    expect(page.locator(".held img")).to_be_visible()


def test_a_second_tab_has_the_pictures_and_its_own_conversation(browser, visit):
    page = visit(browser, "search")
    page.locator(".empty input[type=file]").first.set_input_files(upload("a.png", png(("red", "circle"))))
    expect(page.get_by_text("1 picture", exact=True)).to_be_visible()
    other = visit.open(page.context, "search")
    expect(other.locator(".place-search .tile")).to_have_count(1)
    go(other, "ask")
    other.locator(".starter").first.click()
    go(page, "ask")
    page.locator(".starter").nth(1).click()
    for each in (page, other):
        expect(each.locator(".place-ask textarea")).not_to_have_value("")
        each.get_by_role("button", name="Send").click()
    expect(other.locator(".answer .words")).to_have_text("The circle is red.")
    expect(page.locator(".answer .words")).to_contain_text("three")

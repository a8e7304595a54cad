"""Draw: from words to a picture that can be had again, changed, kept and asked about."""

import base64
import io

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

SEED = 7
KEEP_FORMS = """() => {
  const ask = window.fetch
  window.fetch = (address, wish) => {
    window.mask = wish?.body instanceof FormData ? wish.body.get('mask') : window.mask
    return ask(address, wish)
  }
}"""


@pytest.fixture
def page(browser, visit):
    return visit(browser, "draw")


def draw(page, prompt, seed=SEED, done=1):
    page.get_by_role("textbox", name="What shall it show?").fill(prompt)
    page.get_by_label("Seed").fill(str(seed))
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.locator("button.frame")).to_have_count(done)


def saved(page):
    """The newest picture, as its button saves it."""
    page.locator("button.frame").first.click()
    with page.expect_download() as downloading:
        page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.keyboard.press("Escape")
    return Image.open(downloading.value.path())


def pixels(picture):
    return np.array(picture.convert("RGB"), float)


def drawn_by_the_api(url, **wish):
    answer = httpx.post(f"{url}/v1/images/generations", json={"model": "stable_diffusion", **wish}, timeout=60).json()
    return Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"])))


@pytest.mark.walk
@pytest.mark.parametrize("prompt", ["a blue star", "一个紫色的心形"])
def test_a_picture_is_that_of_the_api_and_says_how_it_was_made(page, gateway_url, prompt):
    draw(page, prompt)
    picture = saved(page)
    wish = {"prompt": prompt, "seed": SEED, "num_inference_steps": 20, "guidance_scale": 7.5}
    assert np.array_equal(pixels(picture), pixels(drawn_by_the_api(gateway_url, **wish)))
    width, height = picture.size
    told = f"{prompt}\nSteps: 20, CFG scale: 7.5, Seed: {SEED}, Size: {width}x{height}"
    assert picture.text["parameters"] == told


def test_again_like_this_draws_the_same_and_all_survives_a_reload(page):
    page.get_by_label("Style").select_option("watercolour")
    draw(page, "a red circle")
    first = saved(page)
    page.reload()
    expect(page.get_by_label("Style")).to_have_value("watercolour")
    page.locator("button.frame").click()
    page.get_by_role("dialog").get_by_role("button", name="Again like this").click()
    expect(page.get_by_role("textbox", name="What shall it show?")).to_have_value("a red circle")
    expect(page.get_by_label("Seed")).to_have_value(str(SEED))
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.locator(".job")).to_have_count(0)
    assert np.array_equal(pixels(saved(page)), pixels(first))
    assert "Style: watercolour" in first.text["parameters"]


def test_several_have_seeds_of_their_own(page):
    page.get_by_label("How many").select_option("3")
    draw(page, "a green square", done=3)
    seeds = set()
    for index in range(3):
        page.locator("button.frame").nth(index).click()
        seeds.add(page.locator("dialog dd").first.text_content())
        page.keyboard.press("Escape")
    assert seeds == {"7", "8", "9"}


def test_it_shows_the_picture_while_it_comes_and_stops_at_once(page):
    page.get_by_label("Size").select_option("256x256")
    page.get_by_role("textbox", name="What shall it show?").fill("a red circle")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.locator(".job img")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".job")).to_have_count(0)
    expect(page.locator("button.frame")).to_have_count(0)


def test_half_of_a_picture_is_changed_and_the_other_stays(page):
    draw(page, "a red circle")
    before = pixels(saved(page))
    page.locator("button.frame").click()
    page.get_by_role("dialog").get_by_role("button", name="Change this one").click()
    page.get_by_label("Where").select_option("left")
    page.get_by_role("textbox", name="What shall it show?").fill("a blue star")
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("button.frame")).to_have_count(2)
    change = np.abs(pixels(saved(page)) - before).mean(axis=2)
    middle = change.shape[1] // 2
    assert change[:, middle + 8 :].mean() < 12 < change[:, :middle].mean()


def test_a_brush_marks_what_may_change(page):
    draw(page, "a red circle")
    page.locator("button.frame").click()
    page.get_by_role("dialog").get_by_role("button", name="Change this one").click()
    box = page.locator("canvas.paint").bounding_box()
    page.evaluate(KEEP_FORMS)
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4 + 5, box["y"] + box["height"] / 4)
    page.mouse.up()
    expect(page.get_by_label("Where")).to_have_value("brush")
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("button.frame")).to_have_count(2)
    mask = Image.open(io.BytesIO(bytes(page.evaluate("async () => [...new Uint8Array(await mask.arrayBuffer())]"))))
    hole = np.array(mask)[..., 3] == 0
    rows, columns = np.nonzero(hole)
    side = hole.shape[0]
    assert (rows.mean() / side, columns.mean() / side) == pytest.approx((0.25, 0.25), abs=0.04)
    assert 0.005 < hole.mean() < 0.1


def test_a_drawing_is_asked_about(page):
    draw(page, "a red circle", seed=1)
    page.locator("button.frame").click()
    page.get_by_role("dialog").get_by_role("button", name="Ask about it").click()
    expect(page.locator(".held img")).to_be_visible()
    page.locator(".place-ask textarea").fill("What color is the circle?")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .words")).to_contain_text("red")

"""What the page says when something goes wrong, and that nothing is lost by it."""

import contextlib
import io
import json
import re
import struct
import subprocess
import sys
import zlib

import pytest
from material import upload
from mock_tritone import CATALOG, answers, reply, tone
from PIL import Image
from playwright.sync_api import expect
from running_gateway import Slow, running

from tritone_client import MockTransport, Overloaded, ServerUnavailable
from tritone_gateway.door.keys import KeyFile


@contextlib.contextmanager
def before(slow):
    """A gateway before a slow server, which finishes what is left when the test has ended."""
    with running(answers, slow) as gateway:
        try:
            yield gateway
        finally:
            slow.mended = True
            slow.go_on.set()


@contextlib.contextmanager
def own_gateway(server, port=0):
    """A gateway that may be killed. Yields its process and address."""
    command = [sys.executable, "-m", "tritone_gateway", "--port", str(port), "--server", server.grpc]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = ""
            while not said.startswith("ready: "):
                said = process.stdout.readline()
                assert said
            yield process, re.search(r"http://\S+(?=/v1)", said)[0]
        finally:
            process.kill()


@pytest.mark.walk
def test_a_server_that_stops_in_mid_drawing_is_waited_for_and_nothing_is_lost(browser, visit, server):
    with own_gateway(server) as (process, url):
        page = visit(browser, "draw", url=url)
        page.get_by_label("Size").select_option("256x256")
        page.get_by_role("textbox", name="What shall it show?").fill("a red circle")
        page.get_by_role("button", name="Draw", exact=True).click()
        expect(page.locator(".job img")).to_be_visible()
        process.kill()
        process.wait()
        expect(page.get_by_role("alert")).to_contain_text("The answer broke off. What came so far stays")
        expect(page.get_by_role("status").filter(has_text="This page waits for it; nothing is lost.")).to_be_visible()
        expect(page.locator(".job img")).to_be_visible()
        expect(page.get_by_role("textbox", name="What shall it show?")).to_have_value("a red circle")
    with own_gateway(server, url.rsplit(":", 1)[1]):
        expect(page.get_by_role("status").filter(has_text="The server is back.")).to_be_visible()
        expect(page.get_by_role("alert")).to_contain_text("The server is back: try again.")
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        page.get_by_label("Size").select_option("auto")
        page.get_by_role("button", name="Draw", exact=True).click()
        expect(page.locator("button.frame")).to_have_count(1)


class Breaking(Slow):
    """A slow server that is gone in mid-answer, unless it was mended."""

    mended = False

    async def _wait(self):
        await super()._wait()
        if not self.mended:
            raise ServerUnavailable("the server is gone")


@pytest.mark.walk
def test_an_answer_that_breaks_off_stays_as_far_as_it_came(browser, visit):
    slow = Breaking(answers)
    with before(slow) as gateway:
        page = visit(browser, "ask", "zh", url=gateway.url)
        page.locator(".place-ask textarea").fill("圆形是什么颜色？")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .words")).to_have_text("The circle")
        page.route("**/ready", lambda route: route.abort())
        slow.go_on.set()
        expect(page.get_by_role("alert")).to_contain_text("回答中断了。已有的内容会保留")
        expect(page.locator(".answer .words")).to_have_text("The circle")
        page.unroute("**/ready")
        expect(page.get_by_role("alert")).to_contain_text("服务器已经回来，请再试一次。")
        slow.mended = True
        page.get_by_role("button", name="再试一次").click()
        expect(page.locator(".answer .words")).to_have_text("The circle is red.")


def test_an_answer_is_stopped_and_what_came_stays(browser, visit):
    slow = Slow(answers)
    with before(slow) as gateway:
        page = visit(browser, "ask", url=gateway.url)
        page.locator(".place-ask textarea").fill("What color is it?")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .words")).to_have_text("The circle")
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.get_by_text("Stopped.")).to_be_visible()
        expect(page.locator(".answer .words")).to_have_text("The circle")
        assert slow.left.wait(10)  # the server does no work for it any more


def test_a_busy_server_is_asked_again(browser, visit):
    refusals = iter([Overloaded("full", retry_after_s=1)])

    def busy(request):
        if request.model == "llava" and (refusal := next(refusals, None)):
            raise refusal
        return answers(request)

    with running(busy) as gateway:
        page = visit(browser, "ask", url=gateway.url)
        page.locator(".place-ask textarea").fill("What color is it?")
        page.keyboard.press("Enter")
        expect(page.get_by_text("The server is busy. Asking again in 1 s.")).to_be_visible()
        expect(page.locator(".answer .words")).to_have_text("The circle is red.")


@pytest.mark.walk
def test_a_key_is_asked_for_and_kept_for_the_tab_alone(browser, visit, tmp_path):
    secret = KeyFile(tmp_path / "keys.json").add("ann", None)
    with running(answers, keys=tmp_path / "keys.json") as gateway:
        page = visit(browser, "ask", url=gateway.url)
        dialog = page.get_by_role("dialog", name="Your key")
        dialog.get_by_label("Key").fill(secret)
        dialog.get_by_role("button", name="Use it").click()
        page.locator(".place-ask textarea").fill("What color is it?")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .words")).to_have_text("The circle is red.")
        assert secret not in page.evaluate("() => JSON.stringify(localStorage) + document.cookie")
        page.reload()
        page.locator(".place-ask textarea").fill("What color is it?")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .words")).to_have_text("The circle is red.")


def test_an_adapter_is_seen_beside_the_model_it_changes(browser, visit):
    def told(request):
        adapter = request.text("adapter") if "adapter" in request.inputs else ""
        if request.model == "llava" and adapter:
            return [{**piece, "text_output": f"{adapter} says it"} for piece in answers(request)[-1:]]
        return answers(request)

    assert "charts" in CATALOG["llava"]["adapters"]
    with running(told, MockTransport(told)) as gateway:
        page = visit(browser, "ask", url=gateway.url)
        page.get_by_label("Model").select_option("llava:charts")
        page.get_by_label("Beside plain LLaVA").check()
        page.locator(".place-ask textarea").fill("What color is it?")
        page.keyboard.press("Enter")
        expect(page.locator(".answer")).to_have_count(2)
        expect(page.locator(".answer").nth(0)).to_contain_text("The circle is red.")
        expect(page.locator(".answer").nth(1).get_by_role("heading")).to_have_text("LLaVA with charts")
        expect(page.locator(".answer").nth(1)).to_contain_text("charts says it")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_the_server_refuses_is_a_sentence_and_its_own_words_stand_below(browser, visit, language):
    page = visit(browser, "draw", language)
    page.locator(".place-draw textarea").first.fill("a " * 1500)
    page.locator(".draw-form [type=submit], .draw-form .primary").click()
    alert = page.get_by_role("alert")
    sentence = {"en": "Change it and try again.", "zh": "请修改后再试。"}[language]
    expect(alert).to_contain_text(sentence)
    alert.locator("summary").click()
    expect(alert.locator("[lang=en]")).to_contain_text("the limit is 2,000")


@pytest.mark.parametrize("prompt", ["constructor", "save"])
def test_words_that_mean_something_to_the_page_are_drawn_as_any_others(browser, visit, prompt):
    with running(answers) as gateway:
        page = visit(browser, "draw", "zh", url=gateway.url)
        page.locator("form textarea").first.fill(prompt)
        page.locator("form button.primary").click()
        expect(page.locator(f'button.frame img[alt="{prompt}"]')).to_have_count(1)
        expect(page.locator("[aria-live] p").last).to_contain_text(prompt)
        assert gateway.asked.text("prompt") == prompt


def test_a_picture_that_no_event_can_hold_is_made_smaller_and_the_talk_lives_on(browser, visit):
    large = io.BytesIO()
    Image.effect_noise((64, 64), 99).save(large, "PNG")
    body = b"teXt" + bytes(15 * 2**20)
    padding = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    padded = large.getvalue()[:33] + padding + large.getvalue()[33:]
    with running(answers) as gateway:
        page = visit(browser, "talk", url=gateway.url)
        page.locator(".place-talk input[type=file]").set_input_files(upload("large.png", padded))
        page.locator(".place-talk textarea").fill("What is it?")
        page.keyboard.press("Enter")
        expect(page.locator(".place-talk .answer .words")).to_contain_text("The circle is red.")
        assert gateway.asked.inputs["image_bytes"].reshape(-1)[0][:2] == b"\xff\xd8"  # JPEG


@pytest.mark.parametrize("breaks", [False, True])
def test_a_talk_that_ends_in_an_answer_remembers_what_was_heard_of_it(browser, visit, breaks):
    """In the next session as in this one, whether it was ended or broke off."""
    said = "圆是红的。它很大。我还有很多话要说。"

    def handler(request):
        if request.model != "voice_assistant_stream":
            return answers(request)
        times = {"word": list(said), "word_start": list(range(len(said))), "word_end": list(range(1, len(said) + 1))}
        return [reply(0, ""), reply(1, said, "stop") | times | {"audio": tone(len(said))}]

    with running(handler) as gateway:
        page = visit(browser, "talk", url=gateway.url)
        page.locator(".place-talk textarea").fill("你看见什么？")
        page.keyboard.press("Enter")
        expect(page.locator(".words .now")).to_have_text("是")
        page.evaluate("sockets[0].close()") if breaks else page.get_by_role("button", name="End the talk").click()
        page.locator(".place-talk textarea").fill("还有呢？")
        page.keyboard.press("Enter")
        expect(page.locator(".answer")).to_have_count(2)
        [_, told] = json.loads(gateway.asked.text("messages"))
        assert told["content"][0]["text"] in {"圆是", "圆是红"}


def test_a_picture_that_is_removed_while_it_is_looked_at_stays_away(browser, visit):
    slow = Slow(answers)
    with running(answers, slow) as gateway:
        page = visit(browser, "search", url=gateway.url)
        page.on("dialog", lambda dialog: dialog.accept())
        red = io.BytesIO()
        Image.new("RGB", (64, 64), "red").save(red, "PNG")
        page.locator(".empty input[type=file]").first.set_input_files(upload("red.png", red.getvalue()))
        expect(page.locator(".tile")).to_have_count(1)
        assert slow.busy.wait(10)
        page.locator(".under button").last.click()
        expect(page.locator(".tile")).to_have_count(0)
        with page.expect_response("**/v1/embeddings"):
            slow.go_on.set()
        expect(page.locator("progress")).to_be_hidden()
        page.reload()
        expect(page.locator(".empty")).to_be_visible()
        expect(page.locator(".tile")).to_have_count(0)

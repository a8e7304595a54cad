"""Talk: a WAV file is the microphone, and what the loudspeaker played goes to Whisper."""

import base64
import json
import re

import numpy as np
import pytest
from material import png, silence, upload, wav, words
from playwright.sync_api import expect

BEFORE_S, AFTER_S = 2.5, 30
TWO = png(("red", "circle"), ("blue", "star"), seed=4)


# A microphone that hears what the test says, when it says it.
MICROPHONE = """() => {
  const context = new AudioContext()
  const air = context.createMediaStreamDestination()
  navigator.mediaDevices.getUserMedia = async () => air.stream
  window.speak = async (base64) => {
    const file = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))
    const source = context.createBufferSource()
    source.buffer = await context.decodeAudioData(file.buffer)
    source.connect(air)
    source.start()
  }
}"""


@pytest.fixture
def microphone(chromium, tmp_path):
    """`microphone(samples)`: a browser whose microphone hears them once it is opened, and then silence."""

    def hears(sound):
        file = tmp_path / "microphone.wav"
        file.write_bytes(wav(np.concatenate([silence(BEFORE_S), sound, silence(AFTER_S)])))
        return chromium(f"--use-file-for-fake-audio-capture={file}%noloop")

    return hears


def show(page, picture=TWO):
    page.locator(".place-talk input[type=file]").set_input_files(upload("two.png", picture))
    expect(page.locator(".place-talk .thread img")).to_be_visible()


def speak(page, samples):
    page.evaluate("(sound) => window.speak(sound)", base64.b64encode(wav(samples)).decode())


def state(page):
    return page.locator(".state-name")


def tell(page, event):
    """Send an event over the page's own socket; returns the first answer of the type that is expected."""
    script = """([event, type]) => new Promise((resolve) => {
      const socket = window.sockets.at(-1)
      socket.addEventListener('message', ({ data }) => JSON.parse(data).type === type && resolve(data))
      socket.send(JSON.stringify(event))
    })"""
    return json.loads(page.evaluate(script, [event, "conversation.item.retrieved"]))


@pytest.mark.walk
def test_a_spoken_question_about_a_picture_is_answered_aloud(microphone, visit, say, heard):
    page = visit(microphone(say("What color is the circle in this picture?")), "talk")
    show(page)
    page.get_by_role("button", name="Start talking").click()
    expect(state(page)).to_have_text("Listening")
    expect(page.locator(".question p")).to_have_text("What color is the circle in this picture?")
    expect(state(page)).to_have_text("Speaking")
    expect(page.locator(".spoken .now")).to_be_visible()
    expect(page.locator(".spoken")).to_have_text("The circle is red.")
    expect(state(page)).to_have_text("Listening")
    expect(page.locator(".spoken .ahead")).to_have_count(0)
    assert heard(page) == words("The circle is red.")
    assert re.fullmatch(r"\d+\.\d s", page.locator(".took").text_content())
    page.get_by_role("button", name="End the talk").last.click()
    expect(state(page)).to_have_text("Start talking")


@pytest.mark.walk
def test_who_speaks_stops_it_and_the_talk_remembers_what_was_heard_alone(browser, visit, say, heard):
    sent = []
    page = visit(browser, "talk")
    page.evaluate(MICROPHONE)
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    show(page)
    page.get_by_role("button", name="Start talking").click()
    expect(state(page)).to_have_text("Listening")
    speak(page, say("Describe the picture."))
    expect(page.locator(".spoken .now")).to_be_visible()
    speak(page, say("Stop. What color is the star?"))
    expect(page.locator(".spoken.cut")).to_be_visible()
    truncate = next(event for event in map(json.loads, sent) if event["type"] == "conversation.item.truncate")
    expect(page.locator(".spoken").nth(1)).to_contain_text("blue")
    expect(state(page)).to_have_text("Listening")
    cut = page.locator(".spoken.cut")
    lost = cut.locator(".ahead").all_text_contents()
    kept = cut.locator("span").all_text_contents()[: -len(lost)]
    assert kept
    assert lost
    retrieved = tell(page, {"type": "conversation.item.retrieve", "item_id": truncate["item_id"]})
    remembered = words(retrieved["item"]["content"][0]["transcript"])
    assert abs(len(remembered) - len(kept)) <= 1
    assert remembered == words(cut.text_content())[: len(remembered)]
    played = heard(page)
    assert words(lost[-1])[0] not in played[: len(kept) + 2]
    assert played[-1] == words(page.locator(".spoken").nth(1).text_content())[-1]


def test_what_is_written_belongs_to_the_same_talk(browser, visit, heard):
    page = visit(browser, "talk", "zh")
    show(page)
    page.locator(".place-talk textarea").fill("What color is the circle?")
    page.keyboard.press("Enter")
    expect(page.locator(".spoken")).to_have_text("The circle is red.")
    expect(state(page)).to_have_text("轮到你了")
    assert heard(page) == words("The circle is red.")
    page.locator(".place-talk textarea").fill("What shape is blue?")
    page.keyboard.press("Enter")
    expect(page.locator(".spoken").nth(1)).to_contain_text("star")


def test_the_control_is_held_while_one_speaks_by_the_space_bar_alone(microphone, visit, say):
    page = visit(microphone(say("What color is the circle in this picture?")), "talk")
    page.get_by_label("Hands-free").uncheck()
    show(page)
    page.get_by_role("button", name="Start talking").press("Space")
    expect(state(page)).to_have_text("Listening")
    page.get_by_role("button", name="Hold to talk").focus()
    page.keyboard.down("Space")
    page.wait_for_timeout(1000 * (BEFORE_S + 3))
    page.keyboard.up("Space")
    expect(page.locator(".spoken")).to_have_text("The circle is red.")
    expect(page.locator(".question p")).to_have_text("What color is the circle in this picture?")


def test_a_talk_that_is_interrupted_by_a_press_is_silent_at_once(browser, visit):
    page = visit(browser, "talk")
    show(page)
    page.locator(".place-talk textarea").fill("Describe the picture.")
    page.keyboard.press("Enter")
    expect(page.locator(".spoken .now")).to_be_visible()
    page.get_by_role("button", name="Interrupt").click()
    loud = page.evaluate(
        "async () => { const n = played.length; await new Promise(r => setTimeout(r, 700));"
        " return played.slice(n + 4096).filter(s => Math.abs(s) > 0.001).length }"
    )
    assert loud == 0
    expect(page.locator(".spoken.cut")).to_be_visible()


def test_without_the_microphone_it_says_how_to_allow_it(browser, visit):
    page = visit(browser, "talk", "zh")
    refuse = (
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') } }"
    )
    page.evaluate(refuse)
    page.get_by_role("button", name="开始说话").click()
    expect(page.get_by_role("alert")).to_contain_text("请在地址栏旁允许使用麦克风，然后再试。")
    expect(state(page)).to_have_text("开始说话")

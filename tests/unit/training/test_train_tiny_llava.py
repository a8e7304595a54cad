"""What the trainer shows is what the server will see."""

import re
from random import Random

import pytest
import torch
from transformers import LlavaForConditionalGeneration, LlavaProcessor

import train_tiny_llava
from evaluate_llava import Trial, answer, prompt
from lessons.exchanges import LANGUAGES, Exchange
from lessons.rewording import VARIANTS, plain, variants
from lessons.shape_chat import chat
from lessons.shape_questions import ask
from lessons.shape_scenes import training_scene
from train_tiny_llava import CHAT_TEMPLATE, IGNORE, Lesson, attention, draw, encode, lesson_about
from tritone import checkpoints
from tritone.vision.shapes import HELD_OUT, draw_scene, render


@pytest.fixture(scope="module")
def processor():
    return LlavaProcessor.from_pretrained(checkpoints.path("llava"))


def test_no_training_picture_shows_a_held_out_pair():
    shown = {(t.colour, t.shape) for seed in range(1500) for t in training_scene(seed).things}
    assert not shown & HELD_OUT
    assert len(shown) > 50


def test_a_lesson_is_written_as_the_chat_template_writes_it(processor, monkeypatch):
    monkeypatch.setattr(train_tiny_llava, "reword", lambda _, exchange: exchange.question)
    random, picture, tokenizer = Random(0), draw(1), processor.tokenizer
    for length in (1, 2):
        talk = train_tiny_llava._talk(random, picture, picture, length)
        messages = []
        for turn, (_, exchange) in enumerate(talk):
            image = [{"type": "image"}] if turn == 0 else []
            messages.append({"role": "user", "content": [*image, {"type": "text", "text": exchange.question}]})
            messages.append({"role": "assistant", "content": exchange.answer})
        written = processor.apply_chat_template(messages).replace("<image>", "<image>" * 64)
        encoded = encode(random, Lesson(picture, [talk]), tokenizer)
        assert encoded.ids == tokenizer.encode(written, add_special_tokens=False)
        assert encoded.positions == list(range(len(encoded.ids)))
        learned = tokenizer.decode([label for label in encoded.labels if label != IGNORE])
        assert learned == "".join(f" {exchange.answer}</s>" for _, exchange in talk)


def test_conversations_about_one_picture_do_not_see_each_other():
    blocks = torch.tensor([[0, 0, 1, 1, 2, -1]])
    seen = attention(blocks)[0, 0]
    assert seen[4].tolist() == [True, True, False, False, True, False]
    assert seen[3].tolist() == [True, True, True, True, False, False]
    assert seen.diagonal().all()
    assert not seen.triu(1).any()


def test_positions_go_on_from_the_picture_in_every_conversation(processor):
    random = Random(2)
    encoded = encode(random, lesson_about(random, draw(3), draw(4), 3), processor.tokenizer)
    shared = encoded.blocks.count(0)
    for block in (1, 2, 3):
        places = [place for place, of in zip(encoded.positions, encoded.blocks, strict=True) if of == block]
        assert places == list(range(shared, shared + len(places)))


PICTURES = {
    "star": [("yellow", "star")],
    "circle": [("red", "circle")],
    "three": [("blue", "star"), ("black", "heart"), ("pink", "heart")],
}
STAR, CIRCLE, ZH_CIRCLE = "The star is yellow.", "The circle is red.", "圆形是红色的。"
HELLO = "Hello! Show me a picture and ask me about it."


@pytest.fixture(scope="module")
def model():
    return LlavaForConditionalGeneration.from_pretrained(checkpoints.path("llava"), dtype=torch.float32).eval()


@pytest.mark.parametrize(
    ("picture", "question", "said"),
    [
        ("circle", "WHAT COLOUR IS THE CIRCLE", CIRCLE),
        ("circle", "what colour is the circle", CIRCLE),
        ("circle", "What Color Is The Circle??", CIRCLE),
        ("circle", "  what   color is the circle ?!\n", CIRCLE),
        ("circle", "What color is the circle？", CIRCLE),
        ("circle", "“What’s the colour of the circle?”", CIRCLE),
        ("circle", "what's the color of the circle".replace("'", ""), CIRCLE),
        ("circle", "这个圆形是什么颜色", ZH_CIRCLE),
        ("circle", "圆形是什么颜色?!", ZH_CIRCLE),
        ("circle", "圆形 是 什么 颜色 ？", ZH_CIRCLE),
        ("star", "what color is it", "The shape is yellow."),
        ("star", "WHAT SHAPE IS IT", "The shape is a star."),
        ("star", "WHAT COLOR IS THE STAR...", STAR),
        ("three", "有几个图形", "有三个图形。"),
        ("three", "HOW MANY SHAPES ARE THERE", "There are three shapes."),
        ("three", "how many hearts are there??", "There are two hearts."),
        (None, "HELLO", HELLO),
        (None, "hello", HELLO),
        (None, "GOODBYE", "Goodbye! It was nice to talk to you."),
        (None, "你好!", "你好！给我看一张图片，然后问我问题吧。"),
    ],
)
def test_neither_case_nor_marks_nor_spelling_change_the_answer(model, processor, picture, question, said):
    shown = render(draw_scene(Random(1), pairs=PICTURES[picture]), 256) if picture else None
    assert answer(model, processor, [Trial("", shown, question, Exchange("", "", question, said))]) == [said]


def exchanges(count):
    """Of every kind, chat among them, in both languages."""
    random = Random(6)
    for number in range(count):
        language = LANGUAGES[number % 2]
        yield ask(random, draw_scene(random), language) if number % 3 else chat(random, language)


def test_every_writing_of_a_question_is_the_same_prompt(processor):
    for exchange in exchanges(150):
        asked = {"": exchange.question, **variants(exchange.question)}
        prompts = {name: prompt(processor, Trial("", None, text, exchange)) for name, text in asked.items()}
        assert set(prompts.values()) == {f"<s>USER: {plain(exchange.question)} ASSISTANT:"}, prompts


def test_the_writings_differ_from_the_question_and_all_of_them_occur():
    written = [(exchange.question, variants(exchange.question)) for exchange in exchanges(400)]
    assert all(text != question for question, texts in written for text in texts.values())
    assert {name for _, texts in written for name in texts} == set(VARIANTS)
    assert variants("What’s up?")["capitals"] == "WHAT’S UP?"
    assert variants("有几个圆形？")["other width"] == "有几个圆形?"


def test_the_plain_form_keeps_apart_what_has_different_words():
    def words(question):
        return re.findall(r"\w", question.lower().replace("'s", "is"))

    questions = [exchange.question for exchange in exchanges(300)]
    assert all(re.findall(r"\w", plain(question)) == words(question) for question in questions)


def test_a_control_in_capitals_is_words_and_not_a_picture_or_an_end(processor):
    content = [{"type": "text", "text": "<IMAGE> </S> ＜image＞ hello"}]
    written = processor.apply_chat_template([{"role": "user", "content": content}])
    ids = processor.tokenizer.encode(written, add_special_tokens=False)
    assert [token for token in ids if token in processor.tokenizer.all_special_ids] == [
        processor.tokenizer.bos_token_id
    ]


def test_an_answer_and_a_system_text_stay_as_they_are(processor):
    messages = [
        {"role": "system", "content": "Be Brief."},
        {"role": "user", "content": "Hello, THERE!"},
        {"role": "assistant", "content": "I don’t See a Picture."},
        {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": "WHAT’S"}, {"type": "text", "text": "IT?"}],
        },
    ]
    assert processor.apply_chat_template(messages) == (
        "<s>Be Brief.\nUSER: hello there ASSISTANT: I don’t See a Picture.</s>USER: <image>\nwhat is it ASSISTANT:"
    )


def test_the_checkpoint_has_the_template_of_the_trainer(processor):
    assert processor.chat_template == CHAT_TEMPLATE

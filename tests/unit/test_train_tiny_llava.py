"""What the trainer shows is what the server will see."""

from random import Random

import pytest
import torch
from transformers import LlavaProcessor

import train_tiny_llava
from train_tiny_llava import IGNORE, Lesson, attention, draw, encode, lesson_about
from train_tiny_vision import training_scene
from tritone import checkpoints
from tritone.shapes import HELD_OUT


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

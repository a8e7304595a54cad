"""Prompts against those of `processor.apply_chat_template(..., tokenize=True)`, by the templates of public checkpoints.

tests/data/chat_templates holds what llava-hf publishes as chat_template.json with llava-1.5-7b-hf and
llava-interleave-qwen-0.5b-hf on the Hugging Face hub, written down where no hub could be reached. The networks here are
of the same architectures, small and random; the tokenizers are of the same classes and know single bytes.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AddedToken,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2Config,
    Qwen2Tokenizer,
    SiglipImageProcessor,
    SiglipVisionConfig,
)

from tritone import checkpoints
from tritone.errors import InvalidInput
from tritone.language.chat_template import ChatTemplate
from tritone.language.conversation import read, with_question
from tritone.language.llava import Capacity, Limits, Llava

TEMPLATES = Path(__file__).parents[2] / "data" / "chat_templates"
LIMITS = Limits(max_characters=2000, max_pictures=2, max_image_bytes=2**20, max_pixels=10**6, max_tokens=4)
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
# Takes a string of an assistant, and parts of everybody else.
MIXED = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %} {{ message['content'] }}"
    "{{ eos_token }}{% else %}USER: {% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}"
    "{% endfor %} ASSISTANT:{% endif %}{% endfor %}"
)
STRICT = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('No system role') }}"
    "{% endif %}{{ message['content'] }}{% endfor %}"
)
WORDS = {"system": "Be kind.", "user": "What is this?", "assistant": "A star."}
QUESTION = "Where is it?"


def llava_1_5():
    vocabulary = ["<unk>", "<s>", "</s>", "▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = LlamaTokenizer(vocab={token: id_ for id_, token in enumerate(vocabulary)}, add_bos_token=True)
    tokenizer.add_tokens([AddedToken("<image>", special=True)])
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer,
        patch_size=8,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=(TEMPLATES / "llava-1.5-7b-hf.jinja").read_text("utf-8").strip(),
    )
    vision = CLIPVisionConfig(image_size=32, patch_size=8, projection_dim=16, **SMALL)
    return processor, vision, LlamaConfig, {"vision_feature_layer": -2, "vision_feature_select_strategy": "default"}


def interleave_qwen():
    vocabulary = sorted(ByteLevel.alphabet())
    tokenizer = Qwen2Tokenizer(vocab={token: id_ for id_, token in enumerate(vocabulary)}, eos_token="<|im_end|>")
    tokenizer.add_tokens([AddedToken(token, special=True) for token in ("<|im_start|>", "<image>")])
    processor = LlavaProcessor(
        SiglipImageProcessor(size={"height": 32, "width": 32}),
        tokenizer,
        patch_size=8,
        num_additional_image_tokens=0,
        vision_feature_select_strategy="full",
        chat_template=(TEMPLATES / "llava-interleave-qwen-0.5b-hf.jinja").read_text("utf-8").strip(),
    )
    vision = SiglipVisionConfig(image_size=32, patch_size=8, vision_use_head=False, **SMALL)
    return processor, vision, Qwen2Config, {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}


@pytest.fixture(scope="module", params=[llava_1_5, interleave_qwen], ids=lambda make: make.__name__)
def llava(request, tmp_path_factory):
    processor, vision, text, strategy = request.param()
    folder = tmp_path_factory.mktemp(request.param.__name__)
    tokenizer = processor.tokenizer
    kept = {"vocab_size": len(tokenizer), "max_position_embeddings": 1024, "num_key_value_heads": 2}
    config = LlavaConfig(
        vision_config=vision,
        text_config=text(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, **SMALL, **kept),
        image_token_index=processor.image_token_id,
        **strategy,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    llava = Llava.load(folder, "cpu", LIMITS, capacity=Capacity(slots=2))
    yield llava
    llava.close()


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


def png(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def part(words):
    return {"type": "text", "text": words}


def history(typed):
    """A system prompt, a question about a picture and its answer."""
    content = {role: [part(words)] if typed else words for role, words in WORDS.items()}
    content["user"] = [{"type": "image"}, part(WORDS["user"])]
    return [{"role": role, "content": content[role]} for role in WORDS]


def theirs(processor, turns, pictures):
    """What transformers makes of the turns, all in parts."""
    shown = iter(pictures)
    messages = [
        {
            "role": turn["role"],
            "content": [{**one, "image": next(shown)} if one["type"] == "image" else one for one in turn["content"]],
        }
        for turn in turns
    ]
    return processor.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )


@pytest.mark.parametrize("typed", [True, False], ids=["parts", "strings"])
def test_a_prompt_is_that_of_the_processor_token_for_token(llava, picture, typed):
    chat = llava.prepare(QUESTION, [png(picture)] * 2, json.dumps(history(typed)))
    question = {"role": "user", "content": [{"type": "image"}, part(QUESTION)]}
    expected = theirs(llava.processor, [*history(True), question], [picture, picture])
    assert chat.prompt.input_ids.tolist() == expected["input_ids"][0].tolist()
    assert torch.equal(chat.prompt.pixel_values, expected["pixel_values"])
    assert chat.prompt.picture_tokens == 2 * 16


@pytest.mark.parametrize("typed", [True, False], ids=["parts", "strings"])
def test_nothing_that_was_said_is_lost(llava, picture, typed):
    chat = llava.prepare(QUESTION, [png(picture)], json.dumps(history(typed)))
    written = llava.processor.tokenizer.decode(chat.prompt.input_ids).replace("<image>" * 16, "<image>")
    places = [written.index(words) for words in (*WORDS.values(), QUESTION)]
    assert places == sorted(places)
    assert written.count("<image>") == 1


def test_a_prompt_begins_with_one_begin_of_text_where_the_tokenizer_has_one(llava):
    ids = llava.prepare(QUESTION).prompt.input_ids.tolist()
    bos = llava.processor.tokenizer.bos_token_id
    assert ids[:1] == [bos] if bos is not None else ids == theirs_of_text(llava)
    assert ids.count(bos) == (bos is not None)


def theirs_of_text(llava):
    return theirs(llava.processor, [{"role": "user", "content": [part(QUESTION)]}], [])["input_ids"][0].tolist()


def test_a_caller_cannot_write_what_stands_for_a_picture_or_ends_a_turn(llava):
    for control in ("<image>", llava.processor.tokenizer.eos_token):
        with pytest.raises(InvalidInput, match="must not hold"):
            llava.prepare(f"{QUESTION} {control}")


@pytest.fixture(scope="module")
def tiny():
    return LlavaProcessor.from_pretrained(checkpoints.path("llava"))


def turns(typed):
    return with_question(read(json.dumps(history(typed)), 2_000), QUESTION, 2)


@pytest.mark.parametrize("typed", [True, False], ids=["parts", "strings"])
def test_the_tiny_checkpoints_template_writes_both_as_it_always_did(tiny, typed):
    template = ChatTemplate(tiny)
    written = template.write(turns(typed))
    assert written == tiny.apply_chat_template([turn.model_dump() for turn in turns(typed)], add_generation_prompt=True)
    assert written == (
        "<s>Be kind.\nUSER: <image>\nwhat is this ASSISTANT: A star.</s>USER: <image>\nwhere is it ASSISTANT:"
    )
    assert template.begins(written)


@pytest.mark.parametrize("typed", [True, False], ids=["parts", "strings"])
def test_a_role_whose_strings_alone_are_written_gets_strings(tiny, typed):
    processor = LlavaProcessor.from_pretrained(checkpoints.path("llava"), chat_template=MIXED)
    written = ChatTemplate(processor).write(turns(typed)[1:])
    assert written == "<s>USER: What is this? ASSISTANT: A star.</s>USER: Where is it? ASSISTANT:"


def test_what_a_template_refuses_is_the_callers_fault_and_said():
    processor = LlavaProcessor.from_pretrained(checkpoints.path("llava"), chat_template=STRICT)
    with pytest.raises(InvalidInput, match="messages do not fit the checkpoint's chat template: No system role"):
        ChatTemplate(processor).write(turns(False))

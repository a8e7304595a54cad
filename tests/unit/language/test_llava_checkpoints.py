"""Checkpoints of other shapes, quantised ones and LoRA adapters: small and random, against transformers and PEFT."""

import asyncio
import io
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from fakes.fake_graph import FakeCapture
from fakes.small_llavas import interleave_qwen, llava_1_5
from peft import LoraConfig, PeftModel, get_peft_model, peft_model
from PIL import Image
from transformers import LlavaForConditionalGeneration

from tritone.cuda_graphs import capture_on
from tritone.errors import InvalidInput, NotServed
from tritone.language import decoder
from tritone.language import llava as llava_module
from tritone.language.llava import Capacity, Limits, Llava, Loading

LIMITS = Limits(max_characters=2000, max_pictures=4, max_image_bytes=2**20, max_pixels=10**6, max_tokens=64)
CAPACITY = Capacity(slots=6, max_length=512, prefill_chunk=100)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    for make in (llava_1_5, interleave_qwen):
        make(root / make.__name__)
    return root


@pytest.fixture
def load():
    """Llava.load, closed after the test."""
    loaded = []

    def load(*args, **options):
        loaded.append(Llava.load(args[0], "cpu", LIMITS, capacity=CAPACITY, **options))
        return loaded[-1]

    yield load
    for llava in loaded:
        llava.close()


def picture(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def prompts(llava, adapters=("",)):
    """Nine prompts: no, one and two pictures, short and over a stretch of 100 tokens."""
    words = ["What is it?", "Tell me more about what you see here, please. " * 8, "多少？"]
    return [
        llava.prepare(
            words[n % 3], [picture(n + i) for i in range(n // 3)], max_tokens=24, adapter=adapters[n % len(adapters)]
        ).prompt
        for n in range(9)
    ]


def generate(model, prompt):
    ids = prompt.input_ids[None]
    pixels = {} if prompt.pixel_values is None else {"pixel_values": prompt.pixel_values.to(model.dtype)}
    tokens = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=prompt.max_tokens, do_sample=False, **pixels
    )
    return tokens[0, ids.shape[1] :].tolist()


def answers(llava, prompts_):
    async def one(prompt):
        ids = []
        with llava.engine.submit(prompt) as answer:
            async for tokens in answer:
                ids += tokens.ids
        return ids

    async def run():
        return await asyncio.gather(*map(one, prompts_))

    return asyncio.run(run())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("shape", ["llava_1_5", "interleave_qwen"])
def test_other_shapes_answer_as_generate_does(folders, load, shape, attention):
    llava = load(folders / shape, loading=Loading(attn_implementation=attention))
    model = LlavaForConditionalGeneration.from_pretrained(
        folders / shape, dtype=torch.float32, attn_implementation=attention
    ).eval()
    asked = prompts(llava)
    expected = [generate(model, prompt) for prompt in asked]
    assert answers(llava, asked) == expected
    assert len({tuple(tokens) for tokens in expected}) == 9  # the random network does tell the prompts apart


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
@pytest.mark.parametrize("shape", ["llava_1_5", "interleave_qwen"])
def test_quantised_weights_take_less_and_answer_as_generate_does(folders, load, shape, quantization):
    """`generate` of the same model with the same weights."""
    llava = load(folders / shape, loading=Loading(quantization=quantization))
    model = llava.engine.decoder.model
    kinds = {type(module).__name__ for module in model.model.language_model.modules()}
    assert {"int8": "Linear8bitLt", "nf4": "Linear4bit"}[quantization] in kinds
    assert not any("bit" in type(module).__name__ for module in model.model.vision_tower.modules())
    whole = LlavaForConditionalGeneration.from_pretrained(folders / shape, dtype=torch.float32)
    assert model.get_memory_footprint() < 0.8 * whole.get_memory_footprint()
    asked = prompts(llava)
    got = [answers(llava, [prompt])[0] for prompt in asked]
    assert got == [generate(model, prompt) for prompt in asked]


# ---- graphs


@pytest.fixture
def captures(monkeypatch):
    """What `Llava.load` captures with, as if there were a GPU; one for each that was loaded."""
    made = []
    monkeypatch.setattr(llava_module, "capture_on", lambda *_: made.append(FakeCapture()) or made[-1])
    return made


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("shape", ["llava_1_5", "interleave_qwen"])
def test_graphs_answer_as_generate_does(folders, load, captures, shape, quantization):
    llava = load(folders / shape, loading=Loading(quantization=quantization))
    assert "CUDA graphs: 8" in llava.describe()  # of 1, 2, 4 and 6 rows, 256 and 512 columns
    before = llava.engine.statistics.steps
    asked = prompts(llava)
    got = [answers(llava, [prompt])[0] for prompt in asked]
    assert got == [generate(llava.engine.decoder.model, prompt) for prompt in asked]
    # Beside one to try it, and what was said while loading.
    assert sum(graph.replays - 1 for graph in captures[0].graphs) == llava.engine.statistics.steps - before + 1


def test_int8_has_no_graphs_because_it_looks_for_outliers_on_the_host(folders, load, captures):
    llava = load(folders / "llava_1_5", loading=Loading(quantization="int8"))
    assert "CUDA graphs: none (its quantised layers wait for the card)" in llava.describe()
    assert captures[0].graphs == []


def test_rows_with_adapters_and_graphs_of_those_without_answer_the_same(folders, adapters, load, captures):
    llava = load(folders / "llava_1_5", adapters=adapters)
    before = sum(graph.replays for graph in captures[0].graphs)
    mixed, bare = prompts(llava, ("flowers", "")), prompts(llava)
    found = answers(llava, mixed)
    steps = llava.engine.statistics.steps
    assert answers(llava, bare)[1::2] == found[1::2]
    assert sum(graph.replays for graph in captures[0].graphs) >= before + llava.engine.statistics.steps - steps > before
    assert answers(llava, mixed[:1]) == found[:1] != answers(llava, bare[:1])


def test_graphs_are_for_gpus_and_can_be_turned_off(folders, load):
    assert "CUDA graphs: none (they are off, or there is no GPU)" in load(folders / "llava_1_5").describe()
    assert capture_on("cuda:0", wanted=False) is None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_answers_as_generate_does(folders, load, dtype):
    llava = load(folders / "llava_1_5", loading=Loading(dtype=dtype))
    model = LlavaForConditionalGeneration.from_pretrained(folders / "llava_1_5", dtype=getattr(torch, dtype)).eval()
    assert llava.engine.decoder.cache.nbytes == 2 * 2 * 6 * 4 * 512 * 16 * 2  # layers, k and v, slots … bytes
    [prompt] = prompts(llava)[3:4]
    assert answers(llava, [prompt])[0][0] == generate(model, prompt)[0]


@pytest.mark.parametrize(
    ("loading", "sentence"),
    [
        (Loading(quantization="int3"), "int3"),
        (Loading(dtype="float8"), "float8"),
        (Loading(attn_implementation="flash_attention_9"), "flash_attention_9"),
    ],
)
def test_an_unknown_way_of_loading_is_named(folders, load, loading, sentence):
    with pytest.raises((ValueError, NotServed), match=sentence):
        load(folders / "llava_1_5", loading=loading)


def test_a_length_over_the_context_is_refused(folders):
    with pytest.raises(NotServed, match="max_length is 2000, the checkpoint's context is 1024"):
        Llava.load(folders / "llava_1_5", "cpu", LIMITS, capacity=Capacity(max_length=2000))


def changed(folder, tmp_path, **files):
    """A copy of a checkpoint, with other values in its JSON files."""
    copy = tmp_path / "changed"
    shutil.copytree(folder, copy)
    for name, change in files.items():
        file = copy / f"{name}.json"
        file.write_text(json.dumps(change(json.loads(file.read_text()))))
    return copy


@pytest.mark.parametrize("kind", ["llava_next", "llava_onevision", "llava_llama", None])
def test_a_relative_of_llava_is_refused_by_its_kind(folders, tmp_path, load, kind):
    folder = changed(folders / "llava_1_5", tmp_path, config=lambda config: {**config, "model_type": kind})
    with pytest.raises(NotServed, match=f"model_type is '{kind}', must be 'llava'"):
        load(folder)


def without_eos(config):
    return {key: without_eos(value) if isinstance(value, dict) else value for key, value in config.items()} | (
        {"eos_token_id": None} if "eos_token_id" in config else {}
    )


def test_the_tokenizers_end_of_text_ends_an_answer_too(folders, tmp_path, load):
    folder = changed(folders / "llava_1_5", tmp_path, config=without_eos, generation_config=without_eos)
    assert load(folder).engine._eos == {2}
    assert load(folders / "llava_1_5").engine._eos == {2, 5}


def test_a_checkpoint_whose_answers_would_never_end_is_refused(folders, tmp_path, load):
    folder = changed(
        folders / "llava_1_5",
        tmp_path,
        config=without_eos,
        generation_config=without_eos,
        tokenizer_config=lambda config: {**config, "eos_token": None},
    )
    with pytest.raises(NotServed, match=r"names no token that ends an answer: neither generation_config.json nor"):
        load(folder)


def test_no_more_pictures_are_promised_than_the_length_holds(folders):
    """16 tokens each: over the last, no word and no answer would have room."""
    llava = Llava.load(folders / "llava_1_5", "cpu", LIMITS, capacity=Capacity(slots=1, max_length=64))
    try:
        with pytest.raises(InvalidInput, match="holds 4 pictures, the limit is 3 of 16 tokens each"):
            llava.prepare("x", [picture(0)] * 4, max_tokens=1)
        assert llava.prepare("x", [picture(0)] * 3, max_tokens=1).prompt.picture_tokens == 48
        assert "pictures: at most 3 of 16 tokens" in llava.describe()
    finally:
        llava.close()


def test_of_a_cpu_the_number_of_slots_must_be_said(folders):
    with pytest.raises(NotServed, match="slots is 0, as many as fit, which can be told of a GPU only"):
        Llava.load(folders / "llava_1_5", "cpu", LIMITS, capacity=Capacity(slots=0))


def test_as_many_slots_as_fit_are_made_and_the_log_says_why(folders, load, monkeypatch):
    monkeypatch.setattr(decoder, "memory", lambda device: (3 * 2**30, 4 * 2**30))
    monkeypatch.setattr(sys.modules[__name__], "CAPACITY", Capacity(slots=0, max_length=1024, memory_reserve=0.99))
    llava = load(folders / "llava_1_5")
    [budget] = llava.engine.decoder.budgets
    assert budget.slots == llava.engine.decoder.cache.slots > 1
    assert f"{budget.slots} slots of 1024 tokens, as many as fit: cpu has 4.0 GiB" in llava.describe()


# ---- adapters


@pytest.fixture(scope="module")
def adapters(folders, tmp_path_factory):
    """Three random LoRA folders; `eyes` also changes how pictures are seen."""
    root = tmp_path_factory.mktemp("adapters")
    targets = {
        "flowers": ["q_proj", "v_proj", "down_proj"],
        "x-rays": ["k_proj", "o_proj"],
        "eyes": r".*vision_tower.*(q_proj|fc1)|.*multi_modal_projector\.linear_2|.*language_model.*up_proj",
    }
    for number, (name, target) in enumerate(targets.items()):
        torch.manual_seed(number)
        base = LlavaForConditionalGeneration.from_pretrained(folders / "llava_1_5", dtype=torch.float32)
        # Not init_lora_weights: PEFT starts adapters at zero, and an adapter that does nothing tests nothing.
        model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=target, init_lora_weights=False))
        model.save_pretrained(root / name)
    return root


def test_each_row_of_a_batch_has_its_own_adapter(folders, adapters, load):
    llava = load(folders / "llava_1_5", adapters=adapters)
    assert llava.adapters.names == ("eyes", "flowers", "x-rays")
    names = ("flowers", "", "x-rays", "eyes")
    asked = prompts(llava, names)
    expected = []
    for number, prompt in enumerate(asked):
        model = LlavaForConditionalGeneration.from_pretrained(folders / "llava_1_5", dtype=torch.float32).eval()
        if name := names[number % 4]:
            model = PeftModel.from_pretrained(model, adapters / name).eval()
        expected.append(generate(model, prompt))
    assert answers(llava, asked) == expected
    plain = answers(llava, prompts(llava))
    assert [ours == base for ours, base in zip(expected, plain, strict=True)] == [
        name == "" for name in names * 2 + names[:1]
    ]


def test_adapters_work_on_quantised_weights(folders, adapters, load):
    llava = load(folders / "llava_1_5", loading=Loading(quantization="nf4"), adapters=adapters)
    asked = prompts(llava, ("flowers", ""))
    assert answers(llava, asked[:2]) == [answers(llava, [prompt])[0] for prompt in asked[:2]]
    assert answers(llava, asked[:1]) != answers(llava, prompts(llava)[:1])


def test_adapters_are_read_onto_the_models_own_device(folders, adapters, load, monkeypatch):
    """PEFT's own choice is the first GPU, which may be another model's."""
    monkeypatch.setattr(peft_model, "infer_device", lambda: "cuda:0")
    read, devices = peft_model.load_peft_weights, []

    def watched(*args, device, **options):
        devices.append(device)
        return read(*args, device="cpu", **options)

    monkeypatch.setattr(peft_model, "load_peft_weights", watched)
    load(folders / "llava_1_5", adapters=adapters)
    assert devices == ["cpu"] * 3


@pytest.mark.parametrize("name", ["nobody", "../llava", "/etc", "flowers/../flowers", "__base__"])
def test_an_unknown_adapter_is_refused_and_the_known_ones_are_listed(folders, adapters, load, name):
    llava = load(folders / "llava_1_5", adapters=adapters)
    with pytest.raises(InvalidInput, match=r"the adapters of this server are: eyes, flowers, x-rays"):
        llava.prepare("What is it?", adapter=name)


def test_a_folder_that_is_no_adapter_stops_the_start_by_name(folders, adapters, tmp_path):
    def refused(sentence):
        with pytest.raises(ValueError, match=sentence):
            Llava.load(folders / "llava_1_5", "cpu", LIMITS, adapters=tmp_path)

    broken = tmp_path / "broken"
    shutil.copytree(adapters / "flowers", broken)
    (broken / "adapter_model.safetensors").rename(broken / "adapter_model.bin")
    refused(r"adapter 'broken' .* no adapter_model.safetensors")
    shutil.rmtree(broken)
    dora = tmp_path / "dora"
    shutil.copytree(adapters / "flowers", dora)
    config = json.loads((dora / "adapter_config.json").read_text())
    (dora / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    refused("adapter 'dora' .* only plain LoRA")

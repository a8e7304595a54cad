"""How many slots fit: LLaVA-1.5-7B on the usual cards."""

from types import SimpleNamespace

import pytest
import torch

from tritone.errors import NotServed
from tritone.language import budget
from tritone.language.budget import GIB, Budget, slots_that_fit
from tritone.language.kv_cache import SlotCache

LLAMA_7B = SimpleNamespace(num_key_value_heads=32, num_attention_heads=32, hidden_size=4096)
LAYERS = 32
FP16, NF4 = 13.16, 4.1  # GiB of weights
CARDS = {"L4": 23034, "L40S": 46068, "H100": 81559}  # MiB, as nvidia-smi prints them
CONTEXT = 512  # MiB that CUDA itself takes


def of(card, weights, reserve, length=4096, others=0.0):
    total = CARDS[card] * 2**20
    slot = LAYERS * SlotCache.slot_nbytes(LLAMA_7B, length, torch.float16)
    free = total - CONTEXT * 2**20 - int((weights + others) * GIB)
    return Budget("cuda:0", total, free, int(weights * GIB), reserve, slot, length)


def test_a_token_of_llava_7b_takes_half_a_mebibyte():
    assert of("H100", FP16, 0.5, length=1).slot == 512 * 2**10


@pytest.mark.parametrize(
    ("card", "weights", "reserve", "length", "slots"),
    [
        ("L4", NF4, 0.2, 2048, 13),
        ("L4", NF4, 0.5, 4096, 3),
        ("L4", FP16, 0.1, 4096, 3),
        ("L40S", FP16, 0.5, 4096, 4),
        ("L40S", FP16, 0.1, 4096, 13),
        ("H100", FP16, 0.5, 4096, 13),
        ("H100", FP16, 0.1, 4096, 29),
    ],
)
def test_as_many_slots_as_the_reserve_leaves_room_for(card, weights, reserve, length, slots):
    found = of(card, weights, reserve, length)
    assert slots_that_fit([found]) == slots
    assert found.weights + slots * found.slot <= found.total * (1 - reserve)
    assert found.weights + (slots + 1) * found.slot > found.total * (1 - reserve)


def test_other_models_within_the_reserve_change_nothing_and_beyond_it_they_take_slots():
    alone, beside, crowded = (of("H100", FP16, 0.5, others=others) for others in (0, 30, 60))
    assert alone.slots == beside.slots == 13
    assert crowded.slots == 2
    assert crowded.free - crowded.slots * crowded.slot >= GIB  # for the passes


def test_where_not_one_fits_the_sum_is_shown():
    with pytest.raises(NotServed) as refusal:
        slots_that_fit([of("L4", FP16, 0.5)])
    assert str(refusal.value) == (
        "slots is 0, as many as fit, and not one does: cuda:0 has 22.5 GiB: weights 13.2 GiB, 11.2 GiB kept "
        "(memory_reserve 0.5), 8.8 GiB free now; a slot of 4,096 tokens takes 2.0 GiB. Lower max_length or "
        "memory_reserve, choose a quantization, or take a larger card"
    )


def test_of_several_cards_the_tightest_decides():
    assert slots_that_fit([of("H100", FP16, 0.1), of("L4", NF4, 0.5)]) == 3


def test_of_a_cpu_nobody_can_tell():
    with pytest.raises(NotServed, match=r"of a GPU only, not of 'cpu': say how many"):
        budget.memory(torch.device("cpu"))


def test_memory_is_that_of_the_instances_own_gpu_and_of_a_slice_the_slices(monkeypatch):
    shown = {torch.device("cuda:0"): (9 * GIB, 10 * GIB), torch.device("cuda:1"): (70 * GIB, 80 * GIB)}
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", shown.__getitem__)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: pytest.fail("of the card"))
    assert {device: budget.memory(device) for device in shown} == shown

"""What models take of a GPU, worked out from files alone: the true sizes of what `full` names, without its weights."""

import json
import struct

import pytest
import torch

from tritone.language.kv_cache import SlotCache
from tritone.server import gpu_memory, repository
from tritone.server.gpu_memory import GIB
from tritone.server.repository import CannotStart
from tritone.speech.listening.whisper_steps import ROWS

LLAVA_7B = {
    "model_type": "llava",
    "vision_config": {},
    "text_config": {
        "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_size": 4096, "intermediate_size": 11008,
    },
}  # fmt: skip
LARGE_V3 = {
    "model_type": "whisper", "decoder_layers": 32, "d_model": 1280, "max_source_positions": 1500,
    "max_target_positions": 448,
}  # fmt: skip


def weights(file, count):
    """A safetensors file of so many float16 numbers, none of which takes room on the disk."""
    header = json.dumps({"w": {"dtype": "F16", "shape": [count], "data_offsets": [0, 2 * count]}}).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        out.truncate(8 + len(header) + 2 * count)


@pytest.fixture
def full(tmp_path, monkeypatch):
    """The checkpoints of LLaVA-1.5-7B, whisper-large-v3 and Stable Diffusion 1.5, as far as their sizes go."""
    monkeypatch.setenv("TRITONE_CHECKPOINTS", str(tmp_path))
    for name, config, count in (("llava", LLAVA_7B, 7_063_427_072), ("whisper", LARGE_V3, 1_543_490_560)):
        weights(tmp_path / name / "model.safetensors", count)
        (tmp_path / name / "config.json").write_text(json.dumps(config), "utf-8")
    diffusion = tmp_path / "stable_diffusion"
    for part, count, channels in (
        ("unet", 859_520_964, [320, 640, 1280, 1280]),
        ("vae", 83_653_863, [128, 256, 512, 512]),
    ):
        weights(diffusion / part / "diffusion_pytorch_model.safetensors", count)
        config = {"block_out_channels": channels, "latent_channels": 4}
        (diffusion / part / "config.json").write_text(json.dumps(config), "utf-8")
    return tmp_path


def models(tmp_path, *wanted):
    """Models of the real configurations' shape, with the parameters that count."""
    for name, checkpoint, batch, parameters in wanted:
        folder = tmp_path / "repository" / name
        (folder / "1").mkdir(parents=True)
        lines = "".join(
            f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
            for key, value in {"checkpoint": checkpoint, "dtype": "auto", **parameters}.items()
        )
        head = f'name: "{name}"\nbackend: "python"\nmax_batch_size: {batch}\n'
        config = head + f"instance_group [ {{ kind: KIND_GPU }} ]\n{lines}"
        (folder / "config.pbtxt").write_text(config, "utf-8")
        (folder / "1" / "model.py").touch()
    return repository.select(repository.read([tmp_path / "repository"], None), [])


def llava(slots=8, **more):
    return ("llava", "llava", 1, {"slots": slots, "max_length": 4096, "prefill_chunk": 512, **more})


def diffusion(**more):
    return (
        ("stable_diffusion", "stable_diffusion", 1, {"max_values": 2**20, "max_pictures": 8, "max_side": 1024}),
        ("sd_unet", "stable_diffusion", 32, {}),
        ("sd_vae_decoder", "stable_diffusion", 8, more),
    )


def test_llavas_cache_is_what_the_engine_takes_for_its_slots(full, tmp_path):
    [need] = gpu_memory.needs(models(tmp_path, llava()))
    config = type("Config", (), {**LLAVA_7B["text_config"], "num_key_value_heads": 32, "head_dim": 128})
    cache = SlotCache(config, 8, 4096, torch.float16, [torch.device("meta")] * 32)
    assert need.cache == cache.nbytes == 16 * GIB
    assert need.weights / GIB == pytest.approx(13.16, abs=0.01)


def test_a_voice_is_served_in_float32_whatever_its_file_holds(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITONE_CHECKPOINTS", str(tmp_path))
    weights(tmp_path / "tts" / "model.safetensors", 500_000_000)
    [need] = gpu_memory.needs(models(tmp_path, ("tts", "tts", 1, {"dtype": ""})))
    assert need.weights == 4 * 500_000_000


def test_whispers_windows_are_counted_twice_while_finished_ones_are_taken_out(full, tmp_path):
    [need] = gpu_memory.needs(models(tmp_path, ("whisper", "whisper", 16, {})))
    assert need.weights / GIB == pytest.approx(2.87, abs=0.01)
    assert need.requests / GIB == pytest.approx(2 * 3.66 + 1.09, abs=0.02)


def test_pictures_take_what_was_measured_on_a_card(full, tmp_path):
    """docs/gpu.md: eight pictures of 1024² decoded at once peak at 17.9 GiB, one at 4.2."""
    needs = {need.model: need for need in gpu_memory.needs(models(tmp_path, *diffusion()))}
    assert needs["sd_vae_decoder"].requests / GIB == pytest.approx(16, abs=2)
    assert needs["sd_unet"].weights / GIB == pytest.approx(1.6, abs=0.01)


def test_sliced_decoding_takes_one_picture(full, tmp_path):
    needs = {need.model: need for need in gpu_memory.needs(models(tmp_path, *diffusion(slicing="true")))}
    assert needs["sd_vae_decoder"].requests / GIB == pytest.approx(2, abs=0.3)


def test_what_would_not_load_is_refused_with_the_sum_and_a_way_out(full, tmp_path):
    with pytest.raises(
        CannotStart, match=r"GPU 0 has 24\.0 GiB free, and these models take 29\.8 GiB \(llava 29\.8\): .*quantization"
    ):
        gpu_memory.check(models(tmp_path, llava()), {0: 24 * GIB})


@pytest.mark.parametrize(
    ("wish", "gib"),
    [({"slots": 8}, 32), ({"slots": 0, "memory_reserve": 0.1}, 24), ({"slots": 4, "quantization": "nf4"}, 24)],
)
def test_what_fits_is_let_through(full, tmp_path, wish, gib):
    assert gpu_memory.check(models(tmp_path, llava(**wish)), {0: gib * GIB}) == ""


def test_whispers_graphs_hold_the_windows_that_the_largest_of_them_has(full, tmp_path):
    """The server imports no room of a model, so that it says the figure again."""
    assert max(ROWS) == gpu_memory.HELD
    [plain] = gpu_memory.needs(models(tmp_path / "plain", ("whisper", "whisper", 16, {})))
    [graphed] = gpu_memory.needs(models(tmp_path / "graphed", ("whisper", "whisper", 16, {"cuda_graphs": "true"})))
    assert graphed.requests == plain.requests
    assert graphed.idle - plain.idle == gpu_memory.GRAPHS + gpu_memory.HELD * 2 * 2 * 32 * 1280 * (1500 + 448)


def test_graphs_are_added_to_what_cuda_takes(full, tmp_path):
    [plain] = gpu_memory.needs(models(tmp_path / "plain", llava(cuda_graphs="false")))
    [graphed] = gpu_memory.needs(models(tmp_path / "graphed", llava(cuda_graphs="true")))
    assert graphed.idle - plain.idle == gpu_memory.GRAPHS == GIB // 2


def test_a_cache_that_takes_what_there_is_leaves_the_others_their_share(full, tmp_path):
    wanted = models(tmp_path, llava(slots=0, memory_reserve=0.5), *diffusion())
    llava_need = next(need for need in gpu_memory.needs(wanted) if need.model == "llava").on(80 * GIB)
    assert (llava_need.weights + llava_need.cache) / GIB == pytest.approx(40, abs=0.01)
    assert gpu_memory.check(wanted, {0: 80 * GIB}) == ""
    with pytest.raises(CannotStart, match=r"llava 76\.6"):
        gpu_memory.check(models(tmp_path / "greedy", llava(slots=0, memory_reserve=0.05), *diffusion()), {0: 80 * GIB})


def test_what_a_cache_takes_of_a_large_card_is_not_asked_of_a_small_one(full, tmp_path):
    wanted = models(tmp_path, llava(slots=0, memory_reserve=0.1))
    assert gpu_memory.check(wanted, {0: 80 * GIB, 1: 24 * GIB}) == ""


def test_the_smallest_of_several_gpus_decides(full, tmp_path):
    with pytest.raises(CannotStart, match=r"GPU 1 has 16\.0 GiB"):
        gpu_memory.check(models(tmp_path, llava()), {0: 80 * GIB, 1: 16 * GIB})


def test_what_only_the_largest_requests_would_not_find_is_a_warning(full, tmp_path):
    wanted = models(tmp_path, *diffusion())
    assert "with their largest requests all at once" in gpu_memory.check(wanted, {0: 16 * GIB})
    assert gpu_memory.check(wanted, {0: 48 * GIB}) == ""


def test_of_an_index_the_named_files_count_and_no_copy_in_other_numbers(tmp_path):
    weights(tmp_path / "model-1.safetensors", 3)
    weights(tmp_path / "model-2.safetensors", 4)
    weights(tmp_path / "model.fp16.safetensors", 7)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    assert gpu_memory.parameters(tmp_path) == 7


def test_models_on_the_cpu_take_nothing_of_a_gpu(full, tmp_path):
    wanted = models(tmp_path, llava())
    for model in wanted:
        model.config.instance_group[0].kind = 2  # KIND_CPU
    assert gpu_memory.needs(wanted) == []
    assert gpu_memory.check(wanted, {0: 1}) == ""


def on(wanted: list[repository.Model], *gpus: int, count: int = 1) -> list[repository.Model]:
    for group in (model.config.instance_group[0] for model in wanted):
        group.gpus[:] = gpus
        group.count = count
    return wanted


def test_a_gpu_is_held_against_what_runs_there(full, tmp_path):
    kept = on(models(tmp_path, ("whisper", "whisper", 1, {})), 1)
    assert gpu_memory.check(kept, {0: GIB, 1: 24 * GIB}) == ""
    with pytest.raises(CannotStart, match=r"GPU 1 has 1\.0 GiB"):
        gpu_memory.check(kept, {0: 24 * GIB, 1: GIB})


def test_each_process_of_a_model_counts(full, tmp_path):
    twice = on(models(tmp_path, ("whisper", "whisper", 1, {})), count=2)
    with pytest.raises(CannotStart, match=r"take 6\.9 GiB \(whisper 3\.5, whisper 3\.5\)"):
        gpu_memory.check(twice, {0: 5 * GIB})


def test_a_gpu_that_is_tight_does_not_hide_one_that_is_too_small(full, tmp_path):
    wanted = models(tmp_path, ("whisper", "whisper", 16, {}))
    assert "GPU 0 has 6.0 GiB free; with their largest" in gpu_memory.check(wanted, {0: 6 * GIB, 1: 80 * GIB})
    with pytest.raises(CannotStart, match=r"GPU 1 has 1\.0 GiB"):
        gpu_memory.check(wanted, {0: 6 * GIB, 1: GIB})

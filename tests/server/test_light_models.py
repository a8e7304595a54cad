"""Models without a network load none of the heavy libraries: each of those is seconds and hundreds of megabytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from server.conftest import REPOSITORY

TESTS = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "torchaudio", "transformers", "diffusers", "TTS", "librosa", "scipy", "sklearn")
LIGHT = {
    *("audio_decoder", "image_decoder", "clip_tokenizer", "clip_image_processor", "llava_answer", "speak_answer"),
    *("catalog", "speak_stream", "transcribe", "transcribe_stream", "voice_assistant_stream", "text_to_image"),
}
# The last one has no network of its own: its loop is diffusers' schedulers, which compute in torch.
WITH_TORCH = {
    *("clip_image_encoder", "clip_text_encoder", "forced_aligner", "llava", "whisper", "tts"),
    *("sd_text_encoder", "sd_unet", "sd_vae_decoder", "sd_vae_encoder", "stable_diffusion"),
}
START = """
import sys
from pathlib import Path
import numpy as np
from server.conftest import Served
PICTURE, RECORDING = (Path("docs", name).read_bytes() for name in ("demo_generated.png", "demo_answer.wav"))
SOUND = np.ones(16_000, np.float32)
served = Served(sys.argv[1], ())
WORK
print(*sorted(set(sys.argv[2:]) & sys.modules.keys()))
"""
# What a model does by itself, without asking another one: it may import more when it first works.
ANSWERS = "assert not served.execute(served.request({}))[0].has_error()"
LISTENS = "listener = served.model.listener; listener.log_mel(SOUND); listener._voice_activity(SOUND)"
WORK = {
    "clip_tokenizer": ANSWERS.format("text=['a red circle']"),
    "clip_image_processor": ANSWERS.format("image_bytes=[PICTURE]"),
    "image_decoder": ANSWERS.format("image_bytes=[PICTURE]"),
    "catalog": ANSWERS.format("model=['']"),
    "audio_decoder": ANSWERS.format("audio_bytes=[RECORDING]"),
    **dict.fromkeys(["transcribe", "transcribe_stream"], LISTENS),
}


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_a_model_without_a_network_starts_and_works_without_torch(name):
    paths = os.pathsep.join([str(TESTS), str(TESTS / "fakes"), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", START.replace("WORK", WORK.get(name, "")), name, *HEAVY],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_every_model_is_known_to_be_light_or_heavy():
    models = {file.parents[1].name for file in REPOSITORY.glob("*/1/model.py")}
    assert models == LIGHT | WITH_TORCH
    assert set() == LIGHT & WITH_TORCH

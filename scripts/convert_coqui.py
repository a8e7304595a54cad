"""Convert a Coqui checkpoint (`config.json` and a pickled `*.pth`) to what the server loads: safetensors, no pickle.

A VITS voice becomes a voice folder of `tritone.tts`: weight norms folded, what only training needs left out. Of other
models the tensors are written as they are, for a later loader. Pickles are read with `weights_only=True`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import typer
from safetensors.torch import save_file
from TTS.tts.configs.vits_config import VitsConfig
from TTS.tts.models.vits import Vits

from tritone.tts import Voice, fold_for_inference

Tensors = dict[str, torch.Tensor]


def convert(source: Path, target: Path) -> None:
    """Write to `target` the safetensors form of the folder `source`."""
    config: dict[str, Any] = json.loads((source / "config.json").read_text(encoding="utf-8"))
    weights: Tensors = torch.load(next(source.glob("*.pth")), map_location="cpu", weights_only=True)["model"]
    target.mkdir(parents=True, exist_ok=True)
    if config["model"] == "vits":
        weights = _convert_voice(config, weights, target)
    else:
        for extra in (source / "config.json", *source.glob("*.npy")):
            shutil.copyfile(extra, target / extra.name)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, target / "model.safetensors")


def _convert_voice(content: dict[str, Any], weights: Tensors, target: Path) -> Tensors:
    config = VitsConfig()
    # Coqui's own phonemizer wants espeak installed on the system; tritone.phonemes takes its place.
    config.from_dict(content | {"use_phonemes": False, "text_cleaner": None})
    config.model_args.init_discriminator = False
    network = Vits(config)
    network.load_state_dict({name: tensor for name, tensor in weights.items() if not name.startswith("disc.")})
    config.save_json(str(target / "config.json"))
    voice = Voice(name=config.run_name or "coqui", languages=[config.phoneme_language.split("-")[0]])
    (target / "voice.json").write_text(voice.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return dict(fold_for_inference(network).state_dict())


if __name__ == "__main__":
    typer.run(convert)

"""Convert a Coqui checkpoint (`config.json` and a pickled `*.pth`) to what the server loads: safetensors, no pickle.

VITS, Tacotron 2 and XTTS become voice folders of `vits`, `tacotron` and `xtts` in tritone.speech.speaking. Of VITS the
weight norms are folded and what only training needs is left out; a vocoder in the folder `vocoder` goes with Tacotron;
of XTTS the first speaker is the voice. Pickles are read with `weights_only=True`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import typer
from safetensors.torch import save_file
from TTS.config.shared_configs import BaseDatasetConfig
from TTS.tts.configs.vits_config import VitsConfig
from TTS.tts.configs.xtts_config import XttsArgs, XttsAudioConfig, XttsConfig
from TTS.tts.models.vits import Vits

from tritone.speech.speaking.vits import fold_for_inference
from tritone.speech.speaking.voice import Voice

Tensors = dict[str, torch.Tensor]
# XTTS' weights lie beside its configuration, pickled too, whose classes were in another module then; Coqui's own list.
XTTS = [XttsConfig, BaseDatasetConfig, XttsArgs, XttsAudioConfig]
XTTS += [(kind, f"TTS.tts.models.xtts.{kind.__name__}") for kind in (XttsArgs, XttsAudioConfig)]
# Beside the network in XTTS' folder; and among its weights what only training needs, or what it has under other names.
OTHERS = ("speakers_xtts.pth", "dvae.pth", "mel_stats.pth")
UNUSED = ("gpt.gpt_inference.", "dvae.", "torch_mel_spectrogram_")


def convert(source: Path, target: Path) -> None:
    """Write to `target` the safetensors form of the folder `source`."""
    config: dict[str, Any] = json.loads((source / "config.json").read_text(encoding="utf-8"))
    target.mkdir(parents=True, exist_ok=True)
    if config["model"] == "vits":
        _save(_convert_voice(config, _read(source), target), target)
        return
    _save(_read(source), target)
    for extra in (source / "config.json", *source.glob("*.npy"), *source.glob("vocab.json")):
        shutil.copyfile(extra, target / extra.name)
    (target / "voice.json").write_text(_voice(config).model_dump_json(indent=2) + "\n", encoding="utf-8")
    if (source / "vocoder").is_dir():
        _convert_vocoder(source / "vocoder", target / "vocoder")
    if (speakers := source / "speakers_xtts.pth").exists():
        first = next(iter(torch.load(speakers, map_location="cpu", weights_only=True).values()))
        save_file({name: tensor.contiguous() for name, tensor in first.items()}, target / "speakers.safetensors")


def _read(folder: Path) -> Tensors:
    file = next(path for path in sorted(folder.glob("*.pth")) if path.name not in OTHERS)
    with torch.serialization.safe_globals(XTTS):
        weights: Tensors = torch.load(file, map_location="cpu", weights_only=True)["model"]
    named = {name.removeprefix("xtts."): tensor for name, tensor in weights.items()}  # a prefix of Coqui's trainer
    return {name: tensor for name, tensor in named.items() if not name.startswith(UNUSED)}


def _save(weights: Tensors, target: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, target / "model.safetensors")


def _voice(config: dict[str, Any]) -> Voice:
    """Name and languages as a Coqui configuration states them, in one of three places."""
    datasets = [dataset.get("language") for dataset in config.get("datasets", [])]
    stated = config.get("languages") or [config.get("phoneme_language"), *datasets]
    languages = list(dict.fromkeys(language.split("-")[0] for language in stated if language))
    return Voice(name=config.get("run_name") or "coqui", languages=languages)


def _convert_vocoder(source: Path, target: Path) -> None:
    """Of a GAN only the generator: its weights alone, or among those of the discriminator as `model_g.*`."""
    target.mkdir(exist_ok=True)
    for extra in (source / "config.json", *source.glob("*.npy")):
        shutil.copyfile(extra, target / extra.name)
    weights = _read(source)
    generator = {n.removeprefix("model_g."): tensor for n, tensor in weights.items() if n.startswith("model_g.")}
    _save(generator or weights, target)


def _convert_voice(content: dict[str, Any], weights: Tensors, target: Path) -> Tensors:
    config = VitsConfig()
    # Coqui's own phonemizer wants espeak installed on the system; tritone.speech.speaking.phonemes takes its place.
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

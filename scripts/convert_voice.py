"""Convert a Piper voice (a VITS exported to ONNX) to a Coqui `Vits` directory.

Every weight maps one to one. The export folded weight norms into plain weights (some of them anonymous: those are
found through the bias of the convolution that uses them) and the first duration flow's scale into its exponential.
What only training needs (posterior encoder, discriminator, posterior flows) is in neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import typer
from onnx import numpy_helper
from safetensors.torch import save_file
from TTS.tts.configs.shared_configs import CharactersConfig
from TTS.tts.configs.vits_config import VitsConfig
from TTS.tts.models.vits import VitsArgs

from tritone.speech.speaking.vits import build_network
from tritone.speech.speaking.voice import Voice

# Piper's medium quality (rhasspy/piper src/python/piper_train/vits/config.py): a HiFi-GAN with second-type blocks.
DECODER = {
    "resblock_type_decoder": "2",
    "resblock_kernel_sizes_decoder": [3, 5, 7],
    "resblock_dilation_sizes_decoder": [[1, 2], [2, 6], [3, 12]],
    "upsample_rates_decoder": [8, 8, 4],
    "upsample_kernel_sizes_decoder": [16, 16, 8],
    "upsample_initial_channel_decoder": 256,
}
HOP_LENGTH = 256  # samples a frame: the product of the upsampling rates

EMBEDDING = "text_encoder.emb.weight"
# Names in the export → names in Coqui. Even flows only: Piper counts the flips between them.
RENAMED = (
    (r"^sid$", EMBEDDING),
    (r"^enc_p\.", "text_encoder."),
    (r"^dp\.flows\.0\.m$", "duration_predictor.flows.0.translation"),
    (r"^dp\.", "duration_predictor."),
    (r"^dec\.", "waveform_decoder."),
)
FOLDED_SCALE = "/dp/flows.0/Exp_output_0"  # exp(−log_scale) of the first duration flow

Tensors = dict[str, torch.Tensor]


def convert(source: Path, target: Path) -> None:
    """Write to `target` the Coqui form of the only `*.onnx` and `*.onnx.json` in the folder `source`."""
    model_file = next(source.glob("*.onnx"))
    piper = json.loads(model_file.with_suffix(".onnx.json").read_text(encoding="utf-8"))
    config = _config(piper)
    network = build_network(config)
    weights = _weights(onnx.load(model_file))
    rows = [piper["phoneme_id_map"][symbol][0] for symbol in network.tokenizer.characters.vocab]
    weights[EMBEDDING] = weights[EMBEDDING][rows]
    network.load_state_dict(weights)
    target.mkdir(parents=True, exist_ok=True)
    config.save_json(str(target / "config.json"))
    save_file(weights, target / "model.safetensors")
    voice = Voice(name=model_file.stem, languages=[piper["espeak"]["voice"].split("-")[0]])
    (target / "voice.json").write_text(voice.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _config(piper: dict[str, Any]) -> VitsConfig:
    args = VitsArgs(
        inference_noise_scale=piper["inference"]["noise_scale"],
        inference_noise_scale_dp=piper["inference"]["noise_w"],
        length_scale=piper["inference"]["length_scale"],
        init_discriminator=False,
        **DECODER,
    )
    config = VitsConfig(
        model_args=args,
        characters=_characters(piper),
        add_blank=True,
        enable_eos_bos_chars=True,
        phoneme_language=piper["espeak"]["voice"],
    )
    config.audio.sample_rate = piper["audio"]["sample_rate"]
    config.audio.hop_length = HOP_LENGTH
    return config


def _characters(piper: dict[str, Any]) -> CharactersConfig:
    """Piper's phonemes in Coqui's order: pad, end, begin, blank, then the others. Piper pads with its blank."""
    return CharactersConfig(
        characters_class="TTS.tts.utils.text.characters.IPAPhonemes",
        characters="".join(symbol for symbol in piper["phoneme_id_map"] if symbol not in "_^$"),
        punctuations="",
        pad="_",
        eos="$",
        bos="^",
        blank="_",
        is_unique=False,
        is_sorted=False,
    )


def _weights(model: onnx.ModelProto) -> Tensors:
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = {_rename(name): _tensor(array) for name, array in initializers.items() if _is_weight(name)}
    weights |= {_rename(name): _tensor(initializers[anonymous]) for name, anonymous in _anonymous(model)}
    weights["duration_predictor.flows.0.log_scale"] = -_tensor(initializers[FOLDED_SCALE]).log()
    return weights


def _is_weight(name: str) -> bool:
    return name == "sid" or name.startswith(("enc_p.", "dp.", "flow.", "dec."))


def _anonymous(model: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    """Name (from its bias) and initializer of each convolution weight that lost its name."""
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[1].startswith("onnx::"):
            yield node.input[2].replace(".bias", ".weight"), node.input[1]


def _rename(name: str) -> str:
    name = re.sub(r"^dp\.flows\.([357])\.", lambda found: f"dp.flows.{(int(found[1]) + 1) // 2}.", name)
    name = re.sub(r"^flow\.flows\.([0246])\.", lambda found: f"flow.flows.{int(found[1]) // 2}.", name)
    for pattern, new in RENAMED:
        name = re.sub(pattern, new, name)
    return name


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.copy())


if __name__ == "__main__":
    typer.run(convert)

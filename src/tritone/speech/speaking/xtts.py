"""A Coqui XTTS checkpoint: one network with many speakers and languages.

Its folder holds `config.json`, `vocab.json`, `model.safetensors`, `voice.json` (its languages) and
`speakers.safetensors`: of the one speaker that this voice is, `gpt_cond_latent` and `speaker_embedding`. XTTS draws
its sound token by token, so clauses run one by one; it does not know when a word is said.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from TTS.tts.configs.xtts_config import XttsConfig
from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
from TTS.tts.models.xtts import Xtts as Network

from tritone.errors import NotServed
from tritone.speech.reading.normalization import is_han
from tritone.speech.speaking.voice import Sound, Voice


class Xtts:
    """XTTS as an engine of `tritone.speech.speaking.tts`."""

    def __init__(self, network: Network, voice: Voice, speaker: dict[str, torch.Tensor], device: str) -> None:
        self.voice = voice
        self.sampling_rate = int(network.config.audio.output_sample_rate)
        self._network = network.to(device)
        self._network.eval()  # gives nothing back, unlike torch's
        self._device = torch.device(device)
        self._speaker = {name: tensor.to(device) for name, tensor in speaker.items()}
        self._lock = threading.Lock()  # the seed is global to torch

    @classmethod
    def load(cls, directory: Path, device: str) -> Xtts:
        """Load a voice from its folder onto a torch device ("cpu", "cuda:0")."""
        config = XttsConfig()
        config.from_dict(json.loads((directory / "config.json").read_text(encoding="utf-8")))
        network = Network(config)
        network.tokenizer = VoiceBpeTokenizer(vocab_file=str(directory / "vocab.json"))
        network.init_models()
        missing = network.load_state_dict(load_file(directory / "model.safetensors"), strict=False).missing_keys
        if lost := [name for name in missing if not name.startswith("gpt.gpt_inference")]:
            raise NotServed(f"{directory.name}/model.safetensors lacks {len(lost)} weights, such as {lost[0]}")
        network.gpt.init_gpt_for_inference(kv_cache=config.model_args.kv_cache)
        voice = Voice.model_validate_json((directory / "voice.json").read_text(encoding="utf-8"))
        return cls(network, voice, load_file(directory / "speakers.safetensors"), device)

    def prepare(self, words: Sequence[str]) -> str | None:
        """See Engine."""
        text = " ".join(words)
        return text if any(map(str.isalnum, text)) else None

    def synthesize(self, clauses: Sequence[tuple[str, float]]) -> list[Sound]:
        """See Engine."""
        return [self._speak(text, speed) for text, speed in clauses]

    @torch.inference_mode()
    def _speak(self, text: str, speed: float) -> Sound:
        language = "zh" if any(map(is_han, text)) and "zh" in self.voice.languages else self.voice.languages[0]
        devices = [self._device] if self._device.type == "cuda" else []
        with self._lock, torch.random.fork_rng(devices):
            seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
            torch.manual_seed(seed)
            output = self._network.inference(text, language, **self._speaker, speed=speed)
        return Sound(np.asarray(output["wav"], np.float32))

"""Text → speech with a Coqui VITS voice.

A voice is a folder: `config.json` (Coqui's own, with the phoneme table as `characters`), `model.safetensors` (the
network as inference needs it, weight norms folded) and `voice.json` (name, languages). The same text in the same
voice gives the same sound, alone or in a crowd: its noise is drawn from a seed that is computed from the text.
"""

from __future__ import annotations

import hashlib
import json
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pysbd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrize
from TTS.tts.configs.vits_config import VitsConfig
from TTS.tts.models.vits import Vits

from tritone.errors import InvalidInput, NotServed
from tritone.phonemes import Phonemizer

MIN_SPEED, MAX_SPEED = 0.5, 2.0  # beyond, VITS slurs or swallows phonemes

# First words of Unicode letter names, after compatibility normalisation ("ﬁ" → "fi", "µ" → "μ"). espeak reads Greek
# letters by name in any language.
_SCRIPTS = {"zh": {"LATIN", "GREEK", "CJK"}}
_DEFAULT_SCRIPTS = {"LATIN", "GREEK"}


@dataclass(frozen=True)
class Script:
    """A text as one voice will speak it."""

    sentences: tuple[str, ...]  # phonemes
    speed: float


@dataclass(frozen=True)
class Speech:
    """Speech of one utterance."""

    audio: NDArray[np.float32]  # (n_samples,), within ±1
    sampling_rate: int  # Hz


class Voice(BaseModel):
    """`voice.json`: who speaks, and what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    languages: list[str]  # primary subtags: "en", "zh"


class Speaker:
    """One voice, loaded. Utterances run one after another: padding a batch would change the last samples of the
    shorter ones, as VITS' waveform decoder does not mask its convolutions."""

    def __init__(self, network: Vits, voice: Voice, device: str, max_characters: int) -> None:
        self._max_characters = max_characters
        self.voice = voice
        self.sampling_rate = int(network.config.audio.sample_rate)
        self._network = network.to(device).eval()
        self._device = torch.device(device)
        self._phonemize = Phonemizer(network.config.phoneme_language)  # the accent: "en-us"
        self._split = pysbd.Segmenter(language=voice.languages[0], clean=False)
        self._lock = threading.Lock()  # speed and seed are global to the network and to torch

    @classmethod
    def load(cls, directory: Path, device: str, max_characters: int) -> Speaker:
        """Load a voice from its folder onto a torch device ("cpu", "cuda:0") and speak once, to warm up.

        Args:
            max_characters: the longest text it will take.
        """
        config = _read_config(directory)
        network = build_network(config)
        network.load_state_dict(load_file(directory / "model.safetensors"))
        voice = Voice.model_validate_json((directory / "voice.json").read_text(encoding="utf-8"))
        speaker = cls(network, voice, device, max_characters)
        speaker.synthesize(speaker._phonemize("1"))  # a number is a word in every language
        return speaker

    def speak(self, scripts: Sequence[Script]) -> list[Speech]:
        """Speak each script."""
        return [self._speak(script) for script in scripts]

    def prepare(self, text: str, voice: str = "", language: str = "", speed: float = 1.0) -> Script:
        """A text as `speak` takes it.

        Args:
            voice: "" is the voice that is loaded.
            language: a tag such as "en" or "en-US"; "" is whatever the voice speaks.
            speed: 2.0 is twice as fast.

        Raises InvalidInput if the text is too long or has nothing to speak, or if the speed, voice, language or
        script is not this voice's.
        """
        if len(text) > self._max_characters:
            raise InvalidInput(f"text has {len(text):,} characters, the limit is {self._max_characters:,}")
        if not MIN_SPEED <= speed <= MAX_SPEED:  # NaN fails too
            raise InvalidInput(f"speed is {speed:g}, it must be from {MIN_SPEED:g} to {MAX_SPEED:g}")
        if voice not in ("", self.voice.name):
            raise InvalidInput(f"voice {voice!r} is unknown; {self._offer()}")
        if language and _primary(language) not in self.voice.languages:
            raise InvalidInput(f"language {language!r} is not spoken; {self._offer()}")
        self._check_script(text)
        sentences = [self._phonemize(sentence) for sentence in self._split.segment(text)]
        sentences = [phonemes for phonemes in sentences if any(symbol.isalpha() for symbol in phonemes)]
        if not sentences:
            raise InvalidInput(f"text has nothing to speak: {text[:40]!r}")
        return Script(tuple(sentences), float(speed))

    def _check_script(self, text: str) -> None:
        readable = set().union(*(_SCRIPTS.get(language, _DEFAULT_SCRIPTS) for language in self.voice.languages))
        for letter in filter(str.isalpha, unicodedata.normalize("NFKC", text)):
            if unicodedata.name(letter, "UNNAMED").split()[0] not in readable:
                raise InvalidInput(f"text holds {letter!r}, which the voice cannot read; {self._offer()}")

    def _offer(self) -> str:
        return f"voices: {self.voice.name} (languages: {', '.join(self.voice.languages)})"

    def _speak(self, script: Script) -> Speech:
        parts = [self.synthesize(phonemes, script.speed) for phonemes in script.sentences]
        return Speech(np.concatenate(parts), self.sampling_rate)

    def encode(self, phonemes: str) -> list[int]:
        """Symbol numbers of a phoneme string. Phonemes that the voice lacks are left out (Coqui would log the text)."""
        tokenizer = self._network.tokenizer
        known = set(tokenizer.characters.vocab)
        ids: list[int] = tokenizer.text_to_ids("".join(symbol for symbol in phonemes if symbol in known))
        return ids

    @torch.inference_mode()
    def synthesize(self, phonemes: str, speed: float = 1.0) -> NDArray[np.float32]:
        """Waveform float32 (n_samples,) of one phonemised sentence, its noise seeded by the phonemes."""
        ids = torch.tensor([self.encode(phonemes)], device=self._device)  # (1, n_symbols)
        devices = [self._device] if self._device.type == "cuda" else []
        with self._lock, torch.random.fork_rng(devices):
            torch.manual_seed(_seed(phonemes))
            self._network.length_scale = self._network.args.length_scale / speed
            waveform = self._network.inference(ids)["model_outputs"]  # (1, 1, n_samples)
        return np.asarray(waveform[0, 0].float().cpu().numpy())


def build_network(config: VitsConfig) -> Vits:
    """An untrained `Vits` that takes the weights of `model.safetensors`."""
    return fold_for_inference(Vits(config))


def fold_for_inference(network: Vits) -> Vits:
    """Fold the weight norms of a network and drop the modules that only training needs, in place."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
    del network.posterior_encoder
    predictor = network.duration_predictor
    if network.args.use_sdp:
        del predictor.post_pre, predictor.post_convs, predictor.post_proj, predictor.post_flows
        predictor.flows[1] = nn.Identity()  # Coqui skips it: "remove a useless vflow"
    return network


def _read_config(directory: Path) -> VitsConfig:
    content: dict[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    if content.get("model") != "vits":
        raise NotServed(f"{directory} holds a Coqui {content.get('model')!r} voice; only 'vits' voices are served")
    config = VitsConfig()
    config.from_dict(content)
    config.model_args.init_discriminator = False
    return config


def _primary(language: str) -> str:
    """Primary subtag of a language tag: "en-US" → "en"."""
    return language.strip().replace("_", "-").split("-")[0].lower()


def _seed(phonemes: str) -> int:
    return int.from_bytes(hashlib.blake2b(phonemes.encode(), digest_size=8).digest(), "big") >> 1

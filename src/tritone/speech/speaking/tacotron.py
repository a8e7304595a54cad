"""A Coqui Tacotron 2 voice, such as `tts_models/zh-CN/baker/tacotron2-DDC-GST`, and the vocoder that makes it sound.

Its folder holds `config.json`, `model.safetensors`, `voice.json`, `scale_stats.npy` where the spectrograms are scaled
by statistics, and `vocoder/` with the `config.json` and `model.safetensors` of a Coqui GAN vocoder; without one, sound
is made by Griffin-Lim. Tacotron speaks one clause at a time: it stops where it likes, so clauses cannot share a batch
without changing each other.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pypinyin
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from TTS.tts.configs.tacotron2_config import Tacotron2Config
from TTS.tts.models.tacotron2 import Tacotron2
from TTS.tts.utils.text.chinese_mandarin.pinyinToPhonemes import PINYIN_DICT
from TTS.utils.audio import AudioProcessor
from TTS.vocoder.configs import FullbandMelganConfig, HifiganConfig, MelganConfig, MultibandMelganConfig
from TTS.vocoder.models import setup_generator
from TTS.vocoder.utils.generic_utils import interpolate_vocoder_input

from tritone.errors import NotServed
from tritone.speech.speaking.phonemes import Phonemizer
from tritone.speech.speaking.voice import Sound, Voice

VOCODERS = {
    "melgan_generator": MelganConfig,
    "fullband_melgan_generator": FullbandMelganConfig,
    "multiband_melgan_generator": MultibandMelganConfig,
    "hifigan_generator": HifiganConfig,
}
NEUTRAL_STYLE = {"style_mel": None, "d_vectors": None, "speaker_ids": None}  # no style token is louder than another
# Tacotron may never find its end: no symbol of speech lasts longer than this.
LONGEST_SYMBOL_S = 0.5


@dataclass(frozen=True)
class Symbols:
    """One clause as the network reads it."""

    text: str
    owners: tuple[int, ...]  # of each symbol: the index of its word, or −1
    n_words: int


class Vocoder:
    """A GAN that turns mel spectrograms into sound."""

    def __init__(self, config: Any, generator: Any, device: str) -> None:
        self._processor = AudioProcessor(config.audio)
        self._generator = generator.to(device).eval()
        self.sampling_rate = int(config.audio["sample_rate"])

    @classmethod
    def load(cls, directory: Path, device: str) -> Vocoder:
        """Load `config.json` and `model.safetensors` of a folder."""
        content = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        if (kind := content.get("generator_model")) not in VOCODERS:
            raise NotServed(f"vocoder {kind!r} is not served; served are {', '.join(VOCODERS)}")
        config = VOCODERS[kind]()
        config.from_dict(content)
        _find_statistics(config.audio, directory)
        generator = setup_generator(config)
        generator.load_state_dict(load_file(directory / "model.safetensors"))
        generator.remove_weight_norm()
        return cls(config, generator, device)

    def __call__(self, mel: NDArray[np.float32], sampling_rate: int) -> NDArray[np.float32]:
        """Sound of a mel spectrogram (n_mels, n_frames) that is not normalised; its rate may be another."""
        scaled = self._processor.normalize(mel)
        if sampling_rate != self.sampling_rate:
            features = interpolate_vocoder_input([1, self.sampling_rate / sampling_rate], scaled)
        else:
            features = torch.from_numpy(scaled)[None]
        device = next(self._generator.parameters()).device
        return np.asarray(self._generator.inference(features.float().to(device)).flatten().float().cpu().numpy())


class Tacotron:
    """Tacotron 2 and its vocoder as an engine of `tritone.speech.speaking.tts`."""

    def __init__(self, network: Tacotron2, voice: Voice, vocoder: Vocoder | None, device: str) -> None:
        self.voice = voice
        self._network = network.to(device).eval()
        self._device = torch.device(device)
        self._vocoder = vocoder
        self._rate = int(network.config.audio.sample_rate)
        self.sampling_rate = vocoder.sampling_rate if vocoder else self._rate
        language = network.config.phoneme_language
        self._phonemize = Phonemizer(language) if language and not language.startswith("zh") else None
        self._lock = threading.Lock()  # the decoder keeps its state, and the seed is global to torch

    @classmethod
    def load(cls, directory: Path, device: str) -> Tacotron:
        """Load a voice from its folder onto a torch device ("cpu", "cuda:0")."""
        config = Tacotron2Config()
        config.from_dict(json.loads((directory / "config.json").read_text(encoding="utf-8")))
        # Coqui's own phonemizers want espeak or pkuseg installed; this module reads text by itself.
        config.from_dict({"use_phonemes": False, "text_cleaner": None})
        _find_statistics(config.audio, directory)
        network = Tacotron2(config)
        network.load_state_dict(load_file(directory / "model.safetensors"))
        voice = Voice.model_validate_json((directory / "voice.json").read_text(encoding="utf-8"))
        vocoder = directory / "vocoder"
        return cls(network, voice, Vocoder.load(vocoder, device) if vocoder.is_dir() else None, device)

    def prepare(self, words: Sequence[str]) -> Symbols | None:
        """See Engine."""
        if self._phonemize:
            text, owners = self._phonemize.words(words)
        else:
            text, owners = pinyin_phonemes(words)
        known = set(self._network.tokenizer.characters.vocab)
        kept = [(symbol, owner) for symbol, owner in zip(text, owners, strict=True) if symbol in known]
        if not any(symbol.isalpha() for symbol, _ in kept):
            return None
        return Symbols("".join(symbol for symbol, _ in kept), tuple(owner for _, owner in kept), len(words))

    def synthesize(self, clauses: Sequence[tuple[Symbols, float]]) -> list[Sound]:
        """See Engine."""
        return [self._speak(symbols, speed) for symbols, speed in clauses]

    @torch.inference_mode()
    def _speak(self, symbols: Symbols, speed: float) -> Sound:
        network = self._network
        ids = network.tokenizer.text_to_ids(symbols.text)
        frame_s = int(network.config.audio.hop_length) / self._rate
        devices = [self._device] if self._device.type == "cuda" else []
        with self._lock, torch.random.fork_rng(devices):
            torch.manual_seed(_seed(symbols.text))  # the prenet drops values even when it speaks
            network.decoder.max_decoder_steps = int(len(ids) * LONGEST_SYMBOL_S / frame_s / network.decoder.r) + 1
            outputs = network.inference(torch.tensor([ids], device=self._device), NEUTRAL_STYLE)
        mel = network.ap.denormalize(outputs["model_outputs"][0].float().cpu().numpy().T)  # (n_mels, n_frames)
        path = outputs["alignments"][0].argmax(dim=1).tolist()  # the symbol of each decoder step
        times = self._times(symbols, len(ids), path, network.decoder.r * frame_s / speed)
        return Sound(self._sound(_at_speed(mel, speed)), times)

    def _sound(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._vocoder:
            return self._vocoder(mel, self._rate)
        processor = self._network.ap
        return np.asarray(processor.inv_melspectrogram(processor.normalize(mel)), np.float32)

    def _times(
        self, symbols: Symbols, n_ids: int, path: Sequence[int], step_s: float
    ) -> tuple[tuple[float, float], ...]:
        """Each word from the first to the last decoder step that attends to it, in order."""
        begin = 1 if n_ids > len(symbols.owners) else 0  # a start symbol
        times, behind = [], 0.0
        for word in range(symbols.n_words):
            own = [
                step
                for step, place in enumerate(path)
                if 0 <= place - begin < len(symbols.owners) and symbols.owners[place - begin] == word
            ]
            start = max(own[0] * step_s, behind) if own else behind
            behind = max((own[-1] + 1) * step_s, start) if own else behind
            times.append((start, behind))
        return tuple(times)


def pinyin_phonemes(words: Sequence[str]) -> tuple[str, list[int]]:
    """Phonemes of Chinese words as Coqui's Chinese voices read them, and whose each is (−1: nobody's).

    A syllable is its phonemes and its tone, words are set apart by spaces; other symbols stay as they are.
    """
    text, owners = "", []
    for index, word in enumerate(words):
        syllables = pypinyin.lazy_pinyin(word, style=pypinyin.Style.TONE3, neutral_tone_with_five=True)
        read = "".join(_syllable(syllable) for syllable in syllables)
        text += (" " if text else "") + read
        owners += ([-1] if index else []) + [index] * len(read)
    return text, owners


def _syllable(pinyin: str) -> str:
    """ "zhe4" → Coqui's phonemes and the tone; other text as it is."""
    if pinyin[-1:] in "12345" and pinyin[:-1] in PINYIN_DICT:
        return str(PINYIN_DICT[pinyin[:-1]][0]) + pinyin[-1]
    return pinyin


def _at_speed(mel: NDArray[np.float32], speed: float) -> NDArray[np.float32]:
    """A mel spectrogram (n_mels, n_frames) with its frames closer together or further apart: the pitch stays."""
    if speed == 1:
        return mel
    frames = torch.from_numpy(np.ascontiguousarray(mel))[None]
    length = max(round(mel.shape[1] / speed), 1)
    return np.asarray(torch.nn.functional.interpolate(frames, size=length, mode="linear")[0].numpy())


def _find_statistics(audio: Any, directory: Path) -> None:
    """Point to the statistics in the folder: the configuration has the path of the machine that trained it."""
    statistics = directory / "scale_stats.npy"
    if statistics.exists():
        audio["stats_path"] = str(statistics)
    elif audio["stats_path"]:
        raise NotServed(f"{directory.name} wants scale_stats.npy, which is not there")


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1

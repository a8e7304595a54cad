"""A Coqui VITS voice.

Its folder holds `config.json` (Coqui's own, with the phoneme table as `characters`), `model.safetensors` (the network
as inference needs it, weight norms folded) and `voice.json`. The same words in the same voice give the same sound,
alone or in a crowd: the noise is drawn from a seed that is computed from the phonemes. VITS decides itself how long
each phoneme lasts, so word times are exact.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrize
from TTS.tts.configs.vits_config import VitsConfig
from TTS.tts.models.vits import Vits as Network
from TTS.tts.utils.helpers import generate_path

from tritone.speech.speaking.phonemes import Phonemizer
from tritone.speech.speaking.voice import Sound, Voice

SILENT = -1  # the owner of a symbol that belongs to no word


@dataclass(frozen=True)
class Phonemes:
    """One clause as the network reads it."""

    text: str
    owners: tuple[int, ...]  # of each phoneme: the index of its word, or SILENT
    n_words: int


@dataclass(frozen=True)
class _Frames:
    """The latent of one clause, before it is decoded."""

    z: torch.Tensor  # (channels, n_frames)
    durations: list[int]  # frames of each symbol


class Vits:
    """A VITS network as an engine of `tritone.speech.speaking.tts`."""

    def __init__(self, network: Network, voice: Voice, device: str) -> None:
        self.voice = voice
        self.sampling_rate = int(network.config.audio.sample_rate)
        self._network = network.to(device).eval()
        self._device = torch.device(device)
        self._phonemize = Phonemizer(network.config.phoneme_language)  # the accent: "en-us"
        self._mask = _DecoderMask(network.waveform_decoder)
        self._lock = threading.Lock()  # speed, seed and mask are global to the network and to torch
        # Several clauses are decoded in one batch where that is faster: on a GPU.
        self.batched = self._device.type == "cuda"

    @classmethod
    def load(cls, directory: Path, device: str) -> Vits:
        """Load a voice from its folder onto a torch device ("cpu", "cuda:0")."""
        config = VitsConfig()
        config.from_dict(json.loads((directory / "config.json").read_text(encoding="utf-8")))
        config.model_args.init_discriminator = False
        network = build_network(config)
        network.load_state_dict(load_file(directory / "model.safetensors"))
        voice = Voice.model_validate_json((directory / "voice.json").read_text(encoding="utf-8"))
        return cls(network, voice, device)

    def prepare(self, words: Sequence[str]) -> Phonemes | None:
        """See Engine."""
        text, owners = self._phonemize.words(words)
        return Phonemes(text, tuple(owners), len(words)) if any(symbol.isalpha() for symbol in text) else None

    @torch.inference_mode()
    def synthesize(self, clauses: Sequence[tuple[Phonemes, float]]) -> list[Sound]:
        """See Engine."""
        with self._lock:
            frames = [self._think(phonemes, speed) for phonemes, speed in clauses]
            groups = [frames] if self.batched else [[one] for one in frames]
            audio = [waveform for group in groups if group for waveform in self._decode(group)]
        return [
            Sound(waveform.float().cpu().numpy(), self._times(phonemes, each.durations))
            for (phonemes, _), each, waveform in zip(clauses, frames, audio, strict=True)
        ]

    def encode(self, phonemes: str) -> tuple[list[int], list[int]]:
        """Symbol numbers of a phoneme string, and which of its characters each stands for (SILENT: a blank).

        Phonemes that the voice lacks are left out (Coqui would log the text).
        """
        tokenizer = self._network.tokenizer
        places = [place for place, symbol in enumerate(phonemes) if symbol in tokenizer.characters.vocab]
        ids: list[int] = tokenizer.text_to_ids("".join(phonemes[place] for place in places))
        step = 2 if tokenizer.add_blank else 1
        first = int(tokenizer.add_blank) + int(tokenizer.use_eos_bos)
        sources = [SILENT] * len(ids)
        for number, place in enumerate(places):
            sources[first + step * number] = place
        return ids, sources

    def _think(self, phonemes: Phonemes, speed: float) -> _Frames:
        """Everything before the decoder: durations and latent of one clause, its noise seeded by the phonemes."""
        network = self._network
        ids = torch.tensor([self.encode(phonemes.text)[0]], device=self._device)  # (1, n_symbols)
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(_seed(phonemes.text))
            length = torch.full((1,), ids.shape[1], device=self._device)
            x, mean, log_scale, mask = network.text_encoder(ids, length, None)
            noise = {"reverse": True, "noise_scale": network.inference_noise_scale_dp} if network.args.use_sdp else {}
            widths = torch.exp(network.duration_predictor(x, mask, **noise)) * mask * network.args.length_scale / speed
            durations = torch.ceil(widths)  # (1, 1, n_symbols)
            frames = [int(width) for width in durations[0, 0].tolist()]  # the one number that the host waits for
            y_mask = mask.new_ones(1, 1, max(sum(frames), 1))  # (1, 1, n_frames)
            path = generate_path(durations[:, 0], (mask * y_mask.transpose(1, 2)).transpose(1, 2))
            mean, log_scale = mean @ path, log_scale @ path  # (1, channels, n_frames)
            z = mean + torch.randn_like(mean) * torch.exp(log_scale) * network.inference_noise_scale
        z = network.flow(z, y_mask, g=None, reverse=True)
        return _Frames(z[0], frames)

    def _decode(self, frames: Sequence[_Frames]) -> list[torch.Tensor]:
        """Waveforms (n_samples,) of several latents at once."""
        lengths = [each.z.shape[1] for each in frames]
        z = nn.utils.rnn.pad_sequence([each.z.T for each in frames], batch_first=True).transpose(1, 2)
        with self._mask.of(lengths, self._device):
            waveforms = self._network.waveform_decoder(z, g=None)[:, 0]  # (batch, n_samples)
        hop = waveforms.shape[1] // max(lengths)
        return [waveform[: length * hop] for waveform, length in zip(waveforms, lengths, strict=True)]

    def _times(self, phonemes: Phonemes, durations: list[int]) -> tuple[tuple[float, float], ...]:
        """Each word from the start of its first phoneme to the end of its last and the blank behind it."""
        _, sources = self.encode(phonemes.text)
        seconds = int(self._network.config.audio.hop_length) / self.sampling_rate
        edges = np.concatenate([[0], np.cumsum(durations)]) * seconds
        owners = [SILENT if source == SILENT else phonemes.owners[source] for source in sources]
        blank = int(self._network.tokenizer.add_blank)
        times, behind = [], 0.0
        for word in range(phonemes.n_words):
            own = [place for place, owner in enumerate(owners) if owner == word]
            begin, behind = (edges[own[0]], edges[own[-1] + 1 + blank]) if own else (behind, behind)
            times.append((float(begin), float(behind)))
        return tuple(times)


class _DecoderMask:
    """Lets HiFi-GAN decode clauses of different lengths in one batch, each as if it were alone.

    Its convolutions do not mask: what a layer makes of the padding would leak into a clause's last samples. Here every
    convolution sees zeros behind the end of each clause, as it does where the clause ends by itself.
    """

    def __init__(self, decoder: nn.Module) -> None:
        self._lengths: torch.Tensor | None = None
        self._longest = 1
        for module in decoder.modules():
            if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
                module.register_forward_pre_hook(self._hide)

    def of(self, lengths: Sequence[int], device: torch.device) -> _DecoderMask:
        """A context in which the batch has these lengths, in frames."""
        if len(set(lengths)) > 1:
            self._lengths, self._longest = torch.tensor(lengths, device=device), max(lengths)
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._lengths = None

    def _hide(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if self._lengths is None:
            return None
        (x,) = inputs  # (batch, channels, n)
        places = torch.arange(x.shape[-1], device=x.device)
        inside = places[None] < (self._lengths * (x.shape[-1] // self._longest))[:, None]
        return (x * inside[:, None],)


def build_network(config: VitsConfig) -> Network:
    """An untrained `Vits` that takes the weights of `model.safetensors`."""
    return fold_for_inference(Network(config))


def fold_for_inference(network: Network) -> Network:
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


def _seed(phonemes: str) -> int:
    return int.from_bytes(hashlib.blake2b(phonemes.encode(), digest_size=8).digest(), "big") >> 1
